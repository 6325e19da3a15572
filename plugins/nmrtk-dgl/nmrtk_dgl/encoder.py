"""What the encoders on DGL have in common: everything but how neighbours speak."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmrtk.errors import ConfigurationError
from nmrtk.graph import ATOM_CARDINALITIES, BOND_CARDINALITIES, BOND_KINDS
from nmrtk.interfaces import AtomLines, Encoded, Example, StructureEncoder
from nmrtk.molecule import Molecule
from nmrtk.nucleus import Nucleus
from nmrtk.site_classes import SITE_CLASSES, fit_class_shifts
from nmrtk_dgl.backend import DGLGraph, dgl
from nmrtk_dgl.descriptor import ENVIRONMENTS, EnvironmentDescriptor
from nmrtk_dgl.graphs import GraphBatch, PreparedMolecule, collate_molecules, prepare_molecule

# In units of the spread of shifts, about 20 ppm for 13C: the scale of a line before training,
# and the smallest there is.
_FIRST_SCALE, _LEAST_SCALE = 0.1, 0.0025


class GraphEncoder(StructureEncoder):
    """A message-passing network whose atoms give shifts and whose mean gives features.

    u_k = norm(h_k), h_{k+1} = h_k + convolution_k(u_k, bonds); the states u_0 ... u_L together
    describe an atom. shift = mean of the atom's coarse class + spread * network(u).
    features = (pooled network features, fixed descriptor).

    There is no batch norm: the output for a molecule does not depend on its neighbours in a batch.

    Args:
        nucleus: whose lines are predicted.
        convolutions: modules `(graph, states (A, hidden_dim), bonds (E,)) -> (A, hidden_dim)`.
        hidden_dim: width of the states of atoms.
        dropout: share of the entries set to zero in training, after convolutions and in the heads.
        pooled_dim: number of learned features.
        descriptor_dim: number of fixed features.
    """

    predicts_lines = True

    def __init__(
        self,
        nucleus: Nucleus,
        convolutions: Sequence[nn.Module],
        *,
        hidden_dim: int,
        dropout: float,
        pooled_dim: int,
        descriptor_dim: int,
    ) -> None:
        super().__init__(nucleus)
        check_option("dropout", dropout, 0.0, 0.95)
        check_option("pooled_dim", pooled_dim, 1, 65536)
        check_option("descriptor_dim", descriptor_dim, 0, ENVIRONMENTS)
        self.atom_embedding = nn.EmbeddingBag(sum(ATOM_CARDINALITIES), hidden_dim, mode="sum")
        self.convolutions = nn.ModuleList(convolutions)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_dim) for _ in range(len(convolutions) + 1))
        self.dropout = nn.Dropout(dropout)
        joined = hidden_dim * (len(convolutions) + 1)
        # Before training, shifts are the means of their classes and scales _FIRST_SCALE.
        self.shift_head = _head(joined, hidden_dim, dropout, start=0.0)
        self.scale_head = _head(joined, hidden_dim, dropout, start=math.log(math.e - 1))
        self.pooling = nn.Linear(joined, pooled_dim)
        self.descriptor = EnvironmentDescriptor(descriptor_dim)
        self.class_means: Tensor
        self.spread: Tensor
        self.register_buffer("class_means", torch.zeros(SITE_CLASSES))
        self.register_buffer("spread", torch.ones(()))

        nn.init.normal_(self.atom_embedding.weight, std=len(ATOM_CARDINALITIES) ** -0.5)

    @property
    def width(self) -> int:
        """Learned and fixed features."""
        return self.pooling.out_features + self.descriptor.projection.shape[1]

    def prepare(self, molecule: Molecule) -> PreparedMolecule:
        """The molecular graph, the sites and the environments as small arrays."""
        return prepare_molecule(molecule, self.nucleus)

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

    def forward(self, batch: GraphBatch) -> Encoded:
        """Features (B, width), and a line for every site."""
        states = self.atom_states(batch)
        return Encoded(self._features(states, batch), self._lines(states[batch.sites], batch))

    def atom_states(self, batch: GraphBatch) -> Tensor:
        """Normed states of all layers side by side, (A, (layers + 1) * hidden_dim)."""
        graph = _dgl_graph(batch)
        residual = self.atom_embedding(batch.atoms)
        states = [self.norms[0](residual)]
        for convolution, norm in zip(self.convolutions, self.norms[1:], strict=True):
            residual = residual + self.dropout(convolution(graph, states[-1], batch.bonds))
            states.append(norm(residual))
        return torch.cat(states, dim=1)

    def _features(self, states: Tensor, batch: GraphBatch) -> Tensor:
        atoms = self.pooling(states)
        sums = atoms.new_zeros(len(batch), atoms.shape[1])
        sums = sums.index_add(0, batch.atom_molecules, atoms)
        # Not normed: a norm would put features on a surface, where they have no density.
        pooled = sums / batch.atom_counts[:, None]
        described = self.descriptor(
            batch.environments, batch.environment_starts, batch.environment_roots
        )
        return torch.cat([pooled, described], dim=1)

    def _lines(self, states: Tensor, batch: GraphBatch) -> AtomLines:
        correction = self.shift_head(states)[:, 0]
        # The scale learns from what the shifts get wrong, but does not shape the states.
        width = functional.softplus(self.scale_head(states.detach())[:, 0])
        return AtomLines(
            self.class_means[batch.classes] + self.spread * correction,
            self.spread * (_LEAST_SCALE + _FIRST_SCALE * width),
            batch.site_molecules,
        )


class BondTable(nn.Module):
    """Embeds bonds as the sum of embeddings of their fields.

    Args:
        dim: width of the embedding.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        embeddings = [nn.Embedding(count, dim) for count in BOND_CARDINALITIES]
        for embedding in embeddings:
            nn.init.normal_(embedding.weight, std=len(embeddings) ** -0.5)
        self.embeddings = nn.ModuleList(embeddings)
        self.kinds: Tensor
        kinds = torch.stack(torch.unravel_index(torch.arange(BOND_KINDS), BOND_CARDINALITIES))
        self.register_buffer("kinds", kinds, persistent=False)

    def forward(self, bonds: Tensor) -> Tensor:
        """Kinds (E,) -> embeddings (E, dim)."""
        # There are far fewer kinds than bonds: add up the kinds, then look up the bonds.
        table = torch.stack([e(k) for e, k in zip(self.embeddings, self.kinds, strict=True)]).sum(0)
        return functional.embedding(bonds, table)


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


def _head(inputs: int, hidden: int, dropout: float, start: float) -> nn.Sequential:
    """A network with one output that is `start` before training."""
    last = nn.Linear(hidden, 1)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, start)
    # Smooth: with ReLU the hidden units of the scale died, and most lines got the same sigma.
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Dropout(dropout), last)


def _dgl_graph(batch: GraphBatch) -> DGLGraph:
    try:
        return dgl.graph((batch.sources, batch.targets), num_nodes=len(batch.atoms))
    except dgl.DGLError as error:
        raise ConfigurationError(
            f"DGL {dgl.__version__} cannot compute on {batch.atoms.device}: its build on PyPI is "
            "for the CPU; choose the device cpu or another encoder"
        ) from error
