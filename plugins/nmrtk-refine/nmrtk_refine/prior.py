"""A prior over structures: what tells one from those that a search finds beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nmrtk_refine.codes import BOND_KINDS
from nmrtk_refine.graphs import BondGraph, FirstStates, GraphBatch, with_messages
from nmrtk_refine.kinds import Isomer, Kind

WIDTH, LAYERS, READ = 96, 5, 128
DROPOUT = 0.1

_BATCH_SIZE = 128
_PREFIX = "prior."


class StructurePrior(nn.Module):
    """Log-odds of structures beside what the counts of their environments say.

    A sum over the atoms of what a network makes of their surroundings. Only differences between
    isomers have a meaning.

    Args:
        kinds: of atoms that it is to know.
    """

    def __init__(self, kinds: Sequence[Kind]) -> None:
        super().__init__()
        self.kinds = sorted(kinds)
        self.first = FirstStates(len(kinds), WIDTH)
        self.gates = nn.Parameter(1 + 0.5 * torch.randn(LAYERS, BOND_KINDS, WIDTH))
        self.offsets = nn.Parameter(0.5 * torch.randn(LAYERS, BOND_KINDS, WIDTH))
        self.updates = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.ReLU(), nn.Linear(2 * WIDTH, WIDTH))
            for _ in range(LAYERS)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(LAYERS + 1))
        self.dropout = nn.Dropout(DROPOUT)
        self.read = nn.Linear((LAYERS + 1) * WIDTH, READ)
        self.out = nn.Linear(READ, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, batch: GraphBatch) -> Tensor:
        """Log-odds (B,) in nats of the structures of a batch, as `collate` makes it."""
        total = self.first(batch)
        states = [self.norms[0](total)]
        layers = zip(self.gates, self.offsets, self.updates, self.norms[1:], strict=True)
        for gates, offsets, update, norm in layers:
            total = total + self.dropout(update(with_messages(states[-1], batch, gates, offsets)))
            states.append(norm(total))
        read = self.dropout(torch.relu(self.read(torch.cat(states, dim=1))))
        atoms = self.out(read)[:, 0]
        odds: Tensor = atoms.new_zeros(len(batch.starts)).index_add(0, batch.owners, atoms)
        return odds

    def collate(self, graphs: Sequence[BondGraph]) -> GraphBatch:
        """Structures as one graph."""
        return GraphBatch.of(graphs, {kind: row for row, kind in enumerate(self.kinds)})

    @torch.no_grad()
    def log_odds(self, isomers: Sequence[Isomer]) -> NDArray[np.float64]:
        """Of structures (B,), in nats."""
        graphs = [BondGraph.of(isomer) for isomer in isomers]
        parts = [
            self(self.collate(graphs[start : start + _BATCH_SIZE])).double().numpy()
            for start in range(0, len(graphs), _BATCH_SIZE)
        ]
        return np.concatenate([np.zeros(0), *parts])


def prior_tensors(prior: StructurePrior) -> dict[str, Tensor]:
    """For a file, weights as 16-bit floats."""
    return {_PREFIX + name: weight.half() for name, weight in prior.state_dict().items()}


def prior_of(tensors: Mapping[str, Tensor], kinds: Sequence[Kind]) -> StructurePrior:
    """What `prior_tensors` wrote.

    Raises:
        RuntimeError: something is missing or of another shape.
    """
    prior = StructurePrior(kinds)
    weights = {
        name.removeprefix(_PREFIX): weight.float()
        for name, weight in tensors.items()
        if name.startswith(_PREFIX)
    }
    prior.load_state_dict(weights)
    return prior.eval()
