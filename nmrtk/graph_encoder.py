"""What encoders that are graph networks have in common: everything but how neighbours speak."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nmrtk.configuration import RELATIONS
from nmrtk.environments import ENVIRONMENTS, EnvironmentDescriptor
from nmrtk.errors import ConfigurationError, MoleculeError
from nmrtk.graph import ATOM_CARDINALITIES, BOND_CARDINALITIES, BOND_KINDS
from nmrtk.graph_batch import (
    ATOM_ROWS,
    GraphBatch,
    PreparedMolecule,
    collate_molecules,
    prepare_molecules,
)
from nmrtk.interfaces import AtomLines, Encoded, Example, StructureEncoder
from nmrtk.molecule import Molecule
from nmrtk.nucleus import Nucleus
from nmrtk.site_classes import SITE_CLASSES, fit_class_shifts

# In units of the spread of shifts, about 20 ppm for 13C: the scale of a line before training,
# and the smallest there is.
_FIRST_SCALE, _LEAST_SCALE = 0.1, 0.0025

_SCALE_HIDDEN = 64


class GraphNetwork(nn.Module):
    """One message-passing network: states of atoms, from them shifts, scales and pooled features.

    u_k = norm(h_k), h_{k+1} = h_k + convolution_k(u_k, bonds); the states u_0 ... u_L together
    describe an atom.

    Args:
        convolutions: modules `(graph, states (A, hidden_dim), bonds (E,)) -> (A, hidden_dim)`.
        hidden_dim: width of the states of atoms.
        dropout: share of the entries set to zero in training, after convolutions and in the heads.
        pooled_dim: number of pooled features.
    """

    def __init__(
        self, convolutions: Sequence[nn.Module], hidden_dim: int, dropout: float, pooled_dim: int
    ) -> None:
        super().__init__()
        self.atom_embedding = nn.EmbeddingBag(ATOM_ROWS, hidden_dim, mode="sum")
        self.convolutions = nn.ModuleList(convolutions)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_dim) for _ in range(len(convolutions) + 1))
        self.dropout = nn.Dropout(dropout)
        joined = hidden_dim * (len(convolutions) + 1)
        # Before training, shifts are the means of their classes and scales _FIRST_SCALE.
        self.shift_head = Head(joined, hidden_dim, dropout, start=0.0)
        self.scale_head = Head(joined, _SCALE_HIDDEN, dropout, start=math.log(math.e - 1))
        self.pooling = nn.Linear(joined, pooled_dim)
        nn.init.normal_(self.atom_embedding.weight, std=len(ATOM_CARDINALITIES) ** -0.5)

    def forward(self, graphs: Sequence[Any], batch: GraphBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Corrections and scales (S,) of shifts, both in units of the spread, and pooled features
        (B, pooled_dim).
        """
        states = self.atom_states(graphs, batch)
        correction, scale = self.read_out(states[batch.sites])
        return correction, scale, self.pool(self.pooling(states), batch)

    def atom_states(self, graphs: Sequence[Any], batch: GraphBatch) -> Tensor:
        """Normed states of all layers side by side, (A, (layers + 1) * hidden_dim)."""
        residual = self.atom_embedding(batch.atoms)
        states = [self.norms[0](residual)]
        for convolution, norm, graph in zip(self.convolutions, self.norms[1:], graphs, strict=True):
            update = convolution(graph, states[-1], batch.edges)
            residual = residual + self.dropout(update)
            states.append(norm(residual))
        return torch.cat(states, dim=1)

    def read_out(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Corrections and scales (N,) from joined states (N, J) of atoms."""
        correction = self.shift_head(states)[:, 0]
        # The scale learns from what the shifts get wrong, but does not shape the states.
        width = functional.softplus(self.scale_head(states.detach())[:, 0])
        return correction, _LEAST_SCALE + _FIRST_SCALE * width

    def pool(self, atoms: Tensor, batch: GraphBatch) -> Tensor:
        """Means (B, pooled_dim) of what pooling makes of atoms (A, pooled_dim)."""
        sums = atoms.new_zeros(len(batch), atoms.shape[1])
        sums = sums.index_add(0, batch.atom_molecules, atoms)
        # Not normed: a norm would put features on a surface, where they have no density.
        return sums / batch.atom_counts[:, None]


class Head(nn.Module):
    """A network with one output that is `start` before training.

    Args:
        inputs: width of the states.
        hidden: width of the hidden layer.
        dropout: share of the hidden entries set to zero in training.
        start: first output.
    """

    def __init__(self, inputs: int, hidden: int, dropout: float, start: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(hidden, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.constant_(self.last.bias, start)

    def forward(self, states: Tensor) -> Tensor:
        """States (S, inputs) of atoms -> (S, 1)."""
        # Smooth: with ReLU the hidden units of the scale died, and most lines got the same sigma.
        hidden = functional.silu(self.hidden(states))
        output: Tensor = self.last(self.dropout(hidden))
        return output


class GraphEncoder(StructureEncoder):
    """Message-passing networks whose atoms give shifts and whose mean gives features.

    Subclasses say how neighbours speak, with `convolution`, and what it needs to know of a batch,
    with `graphs`. shift = mean of the atom's coarse class + spread * network.
    features = (pooled network features, fixed descriptor).

    Several networks side by side are an ensemble: each learns on its own, shifts are their mean,
    and the scale of a line grows by what they disagree. There is no batch norm: the output for a
    molecule does not depend on its neighbours in a batch.

    Args:
        nucleus: whose lines are predicted.
        hidden_dim: width of the states of atoms.
        layers: number of convolutions; a shift depends on atoms up to so many bonds away.
        dropout: share of the entries set to zero in training, after convolutions and in the heads.
        members: number of networks.
        pooled_dim: number of learned features, of each network an equal share.
        descriptor_dim: number of fixed features: counts of atom environments.

    Raises:
        ConfigurationError: an option is out of range.
    """

    predicts_lines = True

    network: ClassVar[type[GraphNetwork]] = GraphNetwork
    """What the ensemble is made of."""

    def __init__(
        self,
        nucleus: Nucleus,
        *,
        hidden_dim: int = 128,
        layers: int = 5,
        dropout: float = 0.0,
        members: int = 1,
        pooled_dim: int = 16,
        descriptor_dim: int = 256,
    ) -> None:
        super().__init__(nucleus)
        check_option("hidden_dim", hidden_dim, 1, 4096)
        check_option("layers", layers, 1, 64)
        check_option("dropout", dropout, 0.0, 0.95)
        check_option("members", members, 1, 64)
        check_option("pooled_dim", pooled_dim, members, 65536)
        check_option("descriptor_dim", descriptor_dim, 0, ENVIRONMENTS)
        if pooled_dim % members:
            raise ConfigurationError(
                f"pooled_dim={pooled_dim} is not a multiple of members={members}: each network "
                "gives an equal share of the features"
            )
        self.networks = nn.ModuleList(
            self.network(
                [self.convolution(hidden_dim) for _ in range(layers)],
                hidden_dim,
                dropout,
                pooled_dim // members,
            )
            for _ in range(members)
        )
        self.descriptor = EnvironmentDescriptor(descriptor_dim)
        self.class_means: Tensor
        self.spread: Tensor
        self.register_buffer("class_means", torch.zeros(SITE_CLASSES))
        self.register_buffer("spread", torch.ones(()))
        self.layers = layers
        self._width = pooled_dim + descriptor_dim

    @abstractmethod
    def convolution(self, hidden_dim: int) -> nn.Module:
        """A module `(graph, states (A, hidden_dim), bonds (E,)) -> (A, hidden_dim)`, where
        `graph` is what the method `graphs` gives for its layer.
        """

    def graphs(self, batch: GraphBatch) -> Sequence[Any]:
        """What the convolution of each layer needs to know of a batch: worked out once for all
        members.
        """
        return [batch] * self.layers

    @property
    def width(self) -> int:
        """Learned and fixed features."""
        return self._width

    def prepare(self, molecule: Molecule) -> PreparedMolecule:
        """The molecular graph, the sites and the environments as small arrays."""
        return prepare_molecules([molecule], self.nucleus)[0]

    def prepare_many(
        self, molecules: Sequence[Molecule]
    ) -> Sequence[PreparedMolecule | MoleculeError]:
        """The same of many at once, in less time."""
        try:
            return prepare_molecules(molecules, self.nucleus)
        except MoleculeError:
            return super().prepare_many(molecules)

    def collate(self, prepared: Sequence[PreparedMolecule]) -> GraphBatch:
        """One graph of all molecules."""
        return collate_molecules(prepared)

    def fit(self, examples: Sequence[Example]) -> None:
        """Set the class means, the spread of shifts, and the descriptor's projection."""
        prepared = [self.prepare(example.molecule) for example in examples]
        shifts = fit_class_shifts(self.nucleus, examples, [one.classes for one in prepared])
        self.class_means.copy_(torch.from_numpy(shifts.means))
        self.spread.fill_(shifts.spread)
        self.descriptor.fit([(one.environments, one.counts) for one in prepared])

    def start_from(self, trained: Sequence[StructureEncoder]) -> None:
        """Take over trained networks: those of one encoder like this, or of several, which
        together have as many as this one.

        Raises:
            ConfigurationError: their number or options differ, or they learned from other data.
        """
        networks = nn.ModuleList()
        for one in trained:
            if not isinstance(one, type(self)):
                raise ConfigurationError(
                    f"{type(self).__name__} cannot start from {type(one).__name__}"
                )
            for name in ("class_means", "spread", "descriptor.projection", "descriptor.offset"):
                ours, theirs = trained[0].get_buffer(name), one.get_buffer(name)
                if ours.shape != theirs.shape or not torch.allclose(ours, theirs, atol=1e-3):
                    raise ConfigurationError(
                        f"encoders that differ in {name} do not make an ensemble: they were "
                        "trained on other data or with other options"
                    )
            networks.extend(one.networks)
        state = {**trained[0].state_dict(), **_prefixed("networks.", networks)} if trained else {}
        state = {name: tensor for name, tensor in state.items() if name in self.state_dict()}
        shapes = {name: tensor.shape for name, tensor in self.state_dict().items()}
        if len(networks) != len(self.networks) or shapes != {n: t.shape for n, t in state.items()}:
            raise ConfigurationError(
                f"{len(self.networks)} networks cannot start from {len(networks)}: set members "
                f"to {len(networks)}, pooled_dim to as many times theirs, and the other options "
                "as they were"
            )
        self.load_state_dict(state)

    def forward(self, batch: GraphBatch) -> Encoded:
        """Features (B, width), and a line for every site."""
        graphs = self.graphs(batch)
        corrections, scales, pooled = zip(
            *(network(graphs, batch) for network in self.networks), strict=True
        )
        described = self.descriptor(
            batch.environments, batch.environment_starts, batch.environment_roots
        )
        means = self.class_means[batch.classes]
        members = tuple(
            AtomLines(means + self.spread * correction, self.spread * scale, batch.site_molecules)
            for correction, scale in zip(corrections, scales, strict=True)
        )
        return Encoded(
            torch.cat([*pooled, described], dim=1),
            members[0] if len(members) == 1 else _joined(members),
            members,
        )


def _prefixed(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in module.state_dict().items()}


def _joined(members: Sequence[AtomLines]) -> AtomLines:
    """Mean shifts; scales whose square is that of the members plus their disagreement."""
    shifts = torch.stack([lines.shift for lines in members])
    scales = torch.stack([lines.scale for lines in members])
    mean = shifts.mean(0)
    # `Tensor.var` warns where there is no site at all.
    disagreement = (shifts - mean).square().mean(0)
    # The variance of a Laplace distribution is twice the square of its scale.
    scale = (scales.square().mean(0) + 0.5 * disagreement).sqrt()
    return AtomLines(mean, scale, members[0].molecule)


class EdgeTable(nn.Module):
    """Embeds edges: bonds as the sum of embeddings of their fields, relations one by one.

    Args:
        dim: width of the embedding.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        embeddings = [nn.Embedding(count, dim) for count in BOND_CARDINALITIES]
        for embedding in embeddings:
            nn.init.normal_(embedding.weight, std=len(embeddings) ** -0.5)
        self.embeddings = nn.ModuleList(embeddings)
        self.relations = nn.Parameter(torch.randn(RELATIONS, dim))
        self.kinds: Tensor
        # The same of torch imports sympy, which takes half a second.
        fields = np.stack(np.unravel_index(np.arange(BOND_KINDS), BOND_CARDINALITIES), axis=1)
        starts = np.cumsum([0, *BOND_CARDINALITIES[:-1]])
        self.register_buffer("kinds", torch.from_numpy(fields + starts), persistent=False)

    def forward(self, edges: Tensor) -> Tensor:
        """Kinds (E,) -> embeddings (E, dim)."""
        # There are far fewer kinds than edges: add up the kinds, then look up the edges.
        return functional.embedding(edges, self.of_kinds())

    def of_kinds(self) -> Tensor:
        """Embeddings of all kinds, (EDGE_KINDS, dim)."""
        weights = torch.cat(list(self.embeddings.parameters()))
        bonds = functional.embedding_bag(self.kinds, weights, mode="sum")
        return torch.cat([bonds, self.relations])


def update_network(dim: int) -> nn.Sequential:
    """What a convolution makes of an atom's state and its neighbours' messages."""
    return nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))


def check_option(name: str, value: float, low: float, high: float) -> None:
    """Refuse an option outside low to high.

    Raises:
        ConfigurationError: says what was given and what is allowed.
    """
    if not low <= value <= high:
        raise ConfigurationError(f"{name}={value} is not allowed: from {low} to {high}")
