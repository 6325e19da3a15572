"""The encoder `dgl-gin`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmrtk.graph_encoder import EdgeTable, update_network
from nmrtk_dgl.backend import DGLGraph, ops
from nmrtk_dgl.encoder import DglEncoder


class GineConvolution(nn.Module):
    """h_i -> mlp((1 + epsilon) h_i + sum over neighbours j of relu(W h_j + e_ij)).

    The graph isomorphism network with bonds of Hu et al., Strategies for Pre-training Graph
    Neural Networks, arXiv 1905.12265, and `dgl.nn.GINEConv`, with a linear map W before the
    message. It runs on DGL's compiled operators, and takes graphs without any bond.

    Args:
        dim: width of the states.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.source = nn.Linear(dim, dim)
        self.bonds = EdgeTable(dim)
        self.epsilon = nn.Parameter(torch.zeros(()))
        self.update = update_network(dim)

    def forward(self, graph: DGLGraph, states: Tensor, bonds: Tensor) -> Tensor:
        """States (A, dim) and kinds of bonds (E,) -> (A, dim)."""
        messages = torch.relu(ops.u_add_e(graph, self.source(states), self.bonds(bonds)))
        update: Tensor = self.update((1 + self.epsilon) * states + ops.copy_e_sum(graph, messages))
        return update


class GinEncoder(DglEncoder):
    """Graph isomorphism network with bonds.

    Args:
        nucleus: whose lines are predicted.
        hidden_dim: width of the states of atoms.
        layers: number of convolutions; a shift depends on atoms up to so many bonds away.
        dropout: share of the entries set to zero in training.
        members: number of networks in the ensemble.
        pooled_dim: number of learned features.
        descriptor_dim: number of fixed features: counts of atom environments.

    Raises:
        ConfigurationError: an option is out of range.
    """

    def convolution(self, hidden_dim: int) -> GineConvolution:
        """Sum over the neighbours."""
        return GineConvolution(hidden_dim)
