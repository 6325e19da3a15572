"""The encoder `dgl-gat`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmrtk.errors import ConfigurationError
from nmrtk.graph_encoder import EdgeTable, check_option, update_network
from nmrtk.nucleus import Nucleus
from nmrtk_dgl.backend import DGLGraph, ops
from nmrtk_dgl.encoder import DglEncoder

_NEGATIVE_SLOPE = 0.2


class AttentionConvolution(nn.Module):
    """h_i -> mlp(h_i + sum over neighbours j of alpha_ij (W h_j + e_ij)), in several heads, with
    alpha_ij = softmax over j of a . leaky_relu(V h_i + W h_j + e_ij).

    Source: Brody et al., How Attentive are Graph Attention Networks?, arXiv 2105.14491, with
    bonds in scores and messages. The weights of an atom's neighbours add up to 1: their number
    reaches the network as a field of the atom.

    Args:
        dim: width of the states, a multiple of `heads`.
        heads: number of attentions side by side.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.source = nn.Linear(dim, dim)
        self.target = nn.Linear(dim, dim)
        self.bonds = EdgeTable(dim)
        self.attention = nn.Parameter(torch.randn(heads, dim // heads) * (heads / dim) ** 0.5)
        self.update = update_network(dim)

    def forward(self, graph: DGLGraph, states: Tensor, bonds: Tensor) -> Tensor:
        """States (A, dim) and kinds of bonds (E,) -> (A, dim)."""
        by_head = (-1, *self.attention.shape)
        messages = ops.u_add_e(graph, self.source(states), self.bonds(bonds))
        pairs = functional.leaky_relu(
            ops.e_add_v(graph, messages, self.target(states)), _NEGATIVE_SLOPE
        )
        scores = (pairs.view(by_head) * self.attention).sum(2, keepdim=True)
        weights = ops.edge_softmax(graph, scores)
        heard = ops.copy_e_sum(graph, (messages.view(by_head) * weights).flatten(1))
        update: Tensor = self.update(states + heard)
        return update


class GatEncoder(DglEncoder):
    """Graph attention network with bonds.

    Args:
        nucleus: whose lines are predicted.
        hidden_dim: width of the states of atoms, a multiple of `heads`.
        layers: number of convolutions; a shift depends on atoms up to so many bonds away.
        heads: number of attentions side by side.
        dropout: share of the entries set to zero in training.
        members: number of networks in the ensemble.
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
        heads: int = 4,
        dropout: float = 0.0,
        members: int = 1,
        pooled_dim: int = 16,
        descriptor_dim: int = 256,
    ) -> None:
        check_option("heads", heads, 1, hidden_dim)
        if hidden_dim % heads:
            raise ConfigurationError(
                f"hidden_dim={hidden_dim} is not a multiple of heads={heads}: each head takes an "
                "equal share of the states"
            )
        self._heads = heads
        super().__init__(
            nucleus,
            hidden_dim=hidden_dim,
            layers=layers,
            dropout=dropout,
            members=members,
            pooled_dim=pooled_dim,
            descriptor_dim=descriptor_dim,
        )

    def convolution(self, hidden_dim: int) -> AttentionConvolution:
        """Attention to the neighbours."""
        return AttentionConvolution(hidden_dim, self._heads)
