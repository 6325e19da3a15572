"""The encoder `dgl-gin`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmrtk.nucleus import Nucleus
from nmrtk_dgl.backend import DGLGraph, ops
from nmrtk_dgl.encoder import BondTable, GraphEncoder, check_option, update_network


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
        self.bonds = BondTable(dim)
        self.epsilon = nn.Parameter(torch.zeros(()))
        self.update = update_network(dim)

    def forward(self, graph: DGLGraph, states: Tensor, bonds: Tensor) -> Tensor:
        """States (A, dim) and kinds of bonds (E,) -> (A, dim)."""
        messages = torch.relu(ops.u_add_e(graph, self.source(states), self.bonds(bonds)))
        update: Tensor = self.update((1 + self.epsilon) * states + ops.copy_e_sum(graph, messages))
        return update


class GinEncoder(GraphEncoder):
    """Graph isomorphism network with bonds.

    Args:
        nucleus: whose lines are predicted.
        hidden_dim: width of the states of atoms.
        layers: number of convolutions; a shift depends on atoms up to so many bonds away.
        dropout: share of the entries set to zero in training.
        pooled_dim: number of learned features.
        descriptor_dim: number of fixed features: counts of atom environments.

    Raises:
        ConfigurationError: an option is out of range.
    """

    def __init__(
        self,
        nucleus: Nucleus,
        *,
        hidden_dim: int = 128,
        layers: int = 5,
        dropout: float = 0.0,
        pooled_dim: int = 16,
        descriptor_dim: int = 256,
    ) -> None:
        check_option("hidden_dim", hidden_dim, 1, 4096)
        check_option("layers", layers, 1, 64)
        super().__init__(
            nucleus,
            [GineConvolution(hidden_dim) for _ in range(layers)],
            hidden_dim=hidden_dim,
            dropout=dropout,
            pooled_dim=pooled_dim,
            descriptor_dim=descriptor_dim,
        )
