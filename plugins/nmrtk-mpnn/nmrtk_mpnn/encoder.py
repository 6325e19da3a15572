"""The encoder `mpnn`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmrtk.graph_batch import GraphBatch
from nmrtk.graph_encoder import EdgeTable, GraphEncoder, GraphNetwork, update_network
from nmrtk.nucleus import Nucleus
from nmrtk.precision import as_read_by
from nmrtk_mpnn.layers import LayerGraph, all_atoms, shared

_BONDS_AT_ONCE = 1024  # outside training; the messages of so many stay in a processor's cache


class GatedConvolution(nn.Module):
    """u_i -> mlp(u_i + sum over neighbours j of relu(u_j * gate_ij + offset_ij)).

    Gate and offset are embeddings of the bond: a bond decides which channels of a neighbour pass.
    There is no linear map before the message, so that nearly all multiplications are those of the
    atoms' own networks, which run at the full speed of the machine.

    Args:
        dim: width of the states.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gates = EdgeTable(dim)
        self.offsets = EdgeTable(dim)
        self.update = update_network(dim)

    def forward(self, graph: LayerGraph, states: Tensor, bonds: Tensor) -> Tensor:
        """States (N, dim) of the layer before and kinds of bonds (E,) -> (U, dim)."""
        if graph.shares:
            heard, bonds = functional.embedding(graph.own, states), bonds[graph.bonds]
            size = _BONDS_AT_ONCE
        else:
            heard, size = states.clone(), max(len(bonds), 1)
        gates, offsets = self.gates.of_kinds(), self.offsets.of_kinds()
        parts = zip(
            *(rows.split(size) for rows in (graph.sources, graph.targets, bonds)), strict=True
        )
        for sources, targets, kinds in parts:
            neighbours = functional.embedding(sources, states)
            passing = functional.embedding(kinds, gates)
            # In place: most of the time outside the matrix products goes into these rows.
            messages = functional.embedding(kinds, offsets).addcmul_(neighbours, passing).relu_()
            heard.index_add_(0, targets, messages)
        update: Tensor = self.update(heard)
        return update


class MpnnNetwork(GraphNetwork):
    """A network that computes what atoms have in common once, except in training."""

    def forward(
        self, graphs: Sequence[LayerGraph], batch: GraphBatch
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `GraphNetwork`."""
        if not graphs[-1].shares:
            return super().forward(graphs, batch)
        residual = self.atom_embedding(batch.atoms)
        states = [self.norms[0](residual)]
        for convolution, norm, graph in zip(self.convolutions, self.norms[1:], graphs, strict=True):
            update = convolution(graph, states[-1], batch.edges)
            residual = functional.embedding(graph.own, residual) + update
            states.append(norm(residual))

        last = graphs[-1]
        rows = [last.atoms, *(graph.environments[last.atoms] for graph in graphs)]
        readers = [self.pooling, self.shift_head.hidden, self.scale_head.hidden]
        states = [as_read_by(readers, one) for one in states]
        joined = torch.cat(
            [functional.embedding(row, one) for row, one in zip(rows, states, strict=True)], dim=1
        )
        sites = last.environments[batch.sites]
        needed, places = torch.unique(sites, return_inverse=True)
        correction, scale = self.read_out(joined[needed])
        pooled = functional.embedding(last.environments, self.pooling(joined))
        return correction[places], scale[places], self.pool(pooled, batch)


class MpnnEncoder(GraphEncoder):
    """Gated message passing in plain torch: needs no graph library, runs wherever torch does.

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

    network = MpnnNetwork

    def __init__(
        self,
        nucleus: Nucleus,
        *,
        hidden_dim: int = 256,
        layers: int = 6,
        dropout: float = 0.1,
        members: int = 1,
        pooled_dim: int = 16,
        descriptor_dim: int = 256,
    ) -> None:
        super().__init__(
            nucleus,
            hidden_dim=hidden_dim,
            layers=layers,
            dropout=dropout,
            members=members,
            pooled_dim=pooled_dim,
            descriptor_dim=descriptor_dim,
        )

    def graphs(self, batch: GraphBatch) -> list[LayerGraph]:
        """Bonds for each layer. Outside training, atoms with the same surroundings as far as a
        layer sees are computed once.
        """
        # In training dropout makes molecules differ.
        return all_atoms(batch, self.layers) if self.training else shared(batch, self.layers)

    def convolution(self, hidden_dim: int) -> GatedConvolution:
        """Neighbours behind gates."""
        return GatedConvolution(hidden_dim)
