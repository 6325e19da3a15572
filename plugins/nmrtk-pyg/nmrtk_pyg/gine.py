"""The encoder `pyg-gine`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nmrtk.graph_batch import GraphBatch
from nmrtk.graph_encoder import EdgeTable, GraphEncoder, update_network
from nmrtk_pyg.backend import MessagePassing


class NeighbourSum(MessagePassing):
    """Sum over neighbours j of relu(u_j + e_ij)."""

    def __init__(self) -> None:
        super().__init__(aggr="sum")

    def forward(self, edges: Tensor, states: Tensor, bonds: Tensor) -> Tensor:
        """Edges (2, E), states (A, dim) and embeddings of bonds (E, dim) -> (A, dim)."""
        heard: Tensor = self.propagate(edges, states=states, bonds=bonds)
        return heard

    def message(self, states_j: Tensor, bonds: Tensor) -> Tensor:
        """What is heard along each bond, (E, dim)."""
        return torch.relu(states_j + bonds)

    def propagate(self, edge_index: Tensor, size: None = None, **values: Any) -> Tensor:
        """Messages along the edges, summed.

        PyG rewrites the inherited method into a source file that it leaves in the temporary
        folder, once a process. One that is written here it takes as it is.
        """
        heard: Tensor = super().propagate(edge_index, size, **values)
        return heard


class GineConvolution(nn.Module):
    """h_i -> mlp((1 + epsilon) h_i + sum over neighbours j of relu(W h_j + e_ij)).

    The graph isomorphism network with bonds of Hu et al., Strategies for Pre-training Graph
    Neural Networks, arXiv 1905.12265, and `torch_geometric.nn.GINEConv`, with a linear map W
    before the message. Weights have the names and shapes that they have in `dgl-gin`.

    Args:
        dim: width of the states.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.source = nn.Linear(dim, dim)
        self.bonds = EdgeTable(dim)
        self.epsilon = nn.Parameter(torch.zeros(()))
        self.update = update_network(dim)
        self.neighbours = NeighbourSum()

    def forward(self, edges: Tensor, states: Tensor, bonds: Tensor) -> Tensor:
        """Edges (2, E), states (A, dim) and kinds of bonds (E,) -> (A, dim)."""
        heard = self.neighbours(edges, self.source(states), self.bonds(bonds))
        update: Tensor = self.update((1 + self.epsilon) * states + heard)
        return update


class GineEncoder(GraphEncoder):
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

    def graphs(self, batch: GraphBatch) -> list[Tensor]:
        """The bonds of a batch as PyG takes them, (2, E), from and to; the same for every layer."""
        return [torch.stack([batch.sources, batch.targets])] * self.layers
