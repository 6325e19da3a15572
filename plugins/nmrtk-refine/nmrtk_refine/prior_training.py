"""Teaches the prior over structures to tell structures from what a search finds beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nmrtk_refine.graphs import BondGraph
from nmrtk_refine.prior import StructurePrior

EPOCHS = 5

_BATCH_SIZE = 16
_LEARNING_RATE, _WARM_UP, _WEIGHT_DECAY, _MOST_GRADIENT = 2e-3, 0.1, 0.05, 1.0
_LEAST_STEPS = 20  # a schedule of ten steps would divide by zero
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
        steps = epochs * math.ceil(len(sets) / _BATCH_SIZE)
        if not steps:
            return prior.eval()
        optimizer = torch.optim.AdamW(prior.parameters(), weight_decay=_WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, _LEARNING_RATE, total_steps=max(steps, _LEAST_STEPS), pct_start=_WARM_UP
        )
        random = np.random.default_rng(seed)
        step = 0
        for _ in range(epochs):
            order = random.permutation(len(sets))
            for start in range(0, len(order), _BATCH_SIZE):
                loss = _loss(prior, [sets[row] for row in order[start : start + _BATCH_SIZE]])
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(prior.parameters(), _MOST_GRADIENT)
                optimizer.step()
                schedule.step()
                step += 1
                on_progress(step)
    return prior.eval()


def _loss(prior: StructurePrior, sets: Sequence[RivalSet]) -> Tensor:
    """Negative log-probability, in nats a set, of the right structure."""
    odds = prior(prior.collate([graph for one in sets for graph in one.graphs]))
    energies = torch.from_numpy(np.concatenate([one.energies for one in sets]))
    sizes = [len(one.graphs) for one in sets]
    parts = ((odds - energies) / _TEMPERATURE).split(sizes)
    return -torch.stack([torch.log_softmax(part, 0)[0] for part in parts]).mean()
