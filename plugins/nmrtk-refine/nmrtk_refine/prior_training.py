"""Teaches the prior over structures to tell structures from what a search finds beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmrtk_refine.fitting import Schedule, fit
from nmrtk_refine.graphs import BondGraph
from nmrtk_refine.prior import StructurePrior

EPOCHS = 5

_SCHEDULE = Schedule(EPOCHS, batch_size=16, learning_rate=2e-3, weight_decay=0.05)
_TEMPERATURE = 1.5


@dataclass(frozen=True, slots=True)
class RivalSet:
    """A structure and its rivals: R structures, the right one first.

    Args:
        graphs: (R,).
        energies: (R,), float32, in nats, by counts of environments that do not know the right one.
    """

    graphs: tuple[BondGraph, ...]
    energies: NDArray[np.float32]


def train_prior(
    sets: Sequence[RivalSet],
    epochs: int = EPOCHS,
    seed: int = 0,
    on_progress: Callable[[int], None] = lambda done: None,
) -> StructurePrior:
    """Train a prior to prefer the first of each set, on top of the counts.

    Args:
        sets: of two structures and more each; without any, the prior knows nothing.
        epochs: times that each is seen.
        seed: of weights, order and dropout.
        on_progress: is told how many steps are done.
    """
    kinds = {kind for one in sets for graph in one.graphs for kind in graph.kinds}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        prior = StructurePrior(sorted(kinds)).train()

        def loss_of(rows: list[int]) -> Tensor:
            return _loss(prior, [sets[row] for row in rows])

        if sets:
            fit(prior, len(sets), loss_of, replace(_SCHEDULE, epochs=epochs), seed, on_progress)
    return prior.eval()


def _loss(prior: StructurePrior, sets: Sequence[RivalSet]) -> Tensor:
    """Negative log-probability, in nats a set, of the right structure."""
    odds = prior(prior.collate([graph for one in sets for graph in one.graphs]))
    energies = torch.from_numpy(np.concatenate([one.energies for one in sets]))
    sizes = [len(one.graphs) for one in sets]
    parts = ((odds - energies) / _TEMPERATURE).split(sizes)
    return -torch.stack([torch.log_softmax(part, 0)[0] for part in parts]).mean()
