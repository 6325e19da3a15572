"""How the networks of the search are fitted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

_WARM_UP, _MOST_GRADIENT = 0.1, 1.0
_LEAST_STEPS = 20  # a schedule of ten steps would divide by zero


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast a network learns.

    Args:
        epochs: times that each example is seen.
        batch_size: examples of a step.
        learning_rate: the highest.
        weight_decay: see AdamW.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float


def fit(
    module: nn.Module,
    examples: int,
    loss_of: Callable[[list[int]], Tensor],
    schedule: Schedule,
    seed: int,
    on_progress: Callable[[int], None],
) -> None:
    """Fit a network by AdamW, with a learning rate that rises and falls once.

    Args:
        module: is changed.
        examples: how many there are, at least one.
        loss_of: of the examples with these numbers.
        schedule: how long and how fast.
        seed: of their order.
        on_progress: is told how many steps are done.
    """
    steps = schedule.epochs * math.ceil(examples / schedule.batch_size)
    optimizer = torch.optim.AdamW(module.parameters(), weight_decay=schedule.weight_decay)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.learning_rate, total_steps=max(steps, _LEAST_STEPS), pct_start=_WARM_UP
    )
    random = np.random.default_rng(seed)
    step = 0
    for _ in range(schedule.epochs):
        order = random.permutation(examples)
        for start in range(0, examples, schedule.batch_size):
            loss = loss_of(order[start : start + schedule.batch_size].tolist())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), _MOST_GRADIENT)
            optimizer.step()
            rates.step()
            step += 1
            on_progress(step)
