"""Teaches the small network what the model says of structures, right ones and wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nmrtk_refine.codes import BOND_KINDS, DEPTH
from nmrtk_refine.fitting import Schedule, fit
from nmrtk_refine.graphs import BondGraph, FirstStates, GraphBatch, with_messages
from nmrtk_refine.kinds import Kind
from nmrtk_refine.network import LEAST_SCALE, Network, no_network

WIDTH, HIDDEN, READ = 64, 128, 64
EPOCHS = 36
_SCHEDULE = Schedule(EPOCHS, batch_size=192, learning_rate=3e-3, weight_decay=0.01)
_SCALES_IN_A_SPREAD = 10.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the model says of one structure: S sites.

    Args:
        graph: the structure.
        sites: (S,), int64, atoms that give a line.
        shifts: (S,), float32, in ppm.
        scales: (S,), float32, Laplace scales in ppm.
    """

    graph: BondGraph
    sites: NDArray[np.int64]
    shifts: NDArray[np.float32]
    scales: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Lessons together: S sites of one graph."""

    graph: GraphBatch
    sites: Tensor
    shifts: Tensor
    scales: Tensor


class Student(nn.Module):
    """`nmrtk_refine.network.Network` as it is trained.

    Args:
        kinds: of atoms that it is to know.
        units: (3,), centre and spread of the shifts and unit of the scales, in ppm.
    """

    def __init__(self, kinds: Sequence[Kind], units: NDArray[np.float32]) -> None:
        super().__init__()
        self.kinds = sorted(kinds, key=lambda kind: kind.code)
        self.first = FirstStates(len(kinds), WIDTH)
        self.gates = nn.Parameter(1 + 0.5 * torch.randn(DEPTH, BOND_KINDS, WIDTH))
        self.offsets = nn.Parameter(0.5 * torch.randn(DEPTH, BOND_KINDS, WIDTH))
        self.wide = nn.ModuleList(nn.Linear(WIDTH, HIDDEN) for _ in range(DEPTH))
        self.narrow = nn.ModuleList(nn.Linear(HIDDEN, WIDTH) for _ in range(DEPTH))
        self.read = nn.Linear(WIDTH, READ)
        self.out = nn.Linear(READ, 2)
        self.units = units

    def forward(self, batch: _Batch) -> tuple[Tensor, Tensor]:
        """Shifts and scales (S,) in ppm of the sites of a batch, as `collate` makes it."""
        states = self.first(batch.graph)
        for layer, (wide, narrow) in enumerate(zip(self.wide, self.narrow, strict=True)):
            total = with_messages(states, batch.graph, self.gates[layer], self.offsets[layer])
            states = states + narrow(torch.relu(wide(total)))
        out = self.out(torch.relu(self.read(functional.embedding(batch.sites, states))))
        centre, spread, unit = self.units.tolist()
        return centre + spread * out[:, 0], unit * (LEAST_SCALE + functional.softplus(out[:, 1]))

    def network(self) -> Network:
        """The weights for the inner loop."""
        wide, wide_bias = _stacked(self.wide)
        narrow, narrow_bias = _stacked(self.narrow)
        return Network(
            kinds=np.array([kind.code for kind in self.kinds], np.uint64),
            kind_states=_array(self.first.kinds.weight),
            hydrogen_states=_array(self.first.hydrogens.weight),
            degree_states=_array(self.first.degrees.weight),
            gates=_array(self.gates),
            offsets=_array(self.offsets),
            wide=wide,
            wide_bias=wide_bias,
            narrow=narrow,
            narrow_bias=narrow_bias,
            read=_array(self.read.weight.T),
            read_bias=_array(self.read.bias),
            out=_array(self.out.weight.T),
            out_bias=_array(self.out.bias),
            units=self.units,
        )

    def collate(self, lessons: Sequence[Lesson]) -> _Batch:
        """One graph of all structures, with the lines that are to be learned."""
        rows = {kind: row for row, kind in enumerate(self.kinds)}
        graph = GraphBatch.of([one.graph for one in lessons], rows)
        sites = [one.sites + s for one, s in zip(lessons, graph.starts, strict=True)]
        return _Batch(
            graph,
            torch.from_numpy(np.concatenate(sites)),
            torch.from_numpy(np.concatenate([one.shifts for one in lessons])),
            torch.from_numpy(np.concatenate([one.scales for one in lessons])),
        )


def train_network(
    lessons: Sequence[Lesson],
    epochs: int = EPOCHS,
    seed: int = 0,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Network:
    """Train a network on lessons with sites.

    It learns where the measured line would lie: the model's scale is part of its own.

    Args:
        lessons: in any order; those without sites are left out.
        epochs: times that each is seen.
        seed: of weights, order and noise.
        on_progress: is told how many steps are done.
    """
    lessons = [one for one in lessons if len(one.sites)]
    if not lessons:
        return no_network()
    shifts = np.concatenate([one.shifts for one in lessons])
    spread = max(float(shifts.std()), 1e-3)
    scales = np.concatenate([one.scales for one in lessons])
    unit = max(spread / _SCALES_IN_A_SPREAD, float(scales.mean()))
    units = np.array([shifts.mean(), spread, unit], np.float32)
    kinds = {kind for one in lessons for kind in one.graph.kinds}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        student = Student(sorted(kinds), units)

        def loss_of(rows: list[int]) -> Tensor:
            return _loss(student, student.collate([lessons[row] for row in rows]))

        schedule = replace(_SCHEDULE, epochs=epochs)
        fit(student, len(lessons), loss_of, schedule, seed, on_progress)
    return student.network()


def _loss(student: Student, batch: _Batch) -> Tensor:
    """Negative log-likelihood, in nats a line, of lines drawn as the model says."""
    shift, scale = student(batch)
    noise = torch.distributions.Laplace(0.0, batch.scales).sample()
    errors = (shift - batch.shifts - noise).abs()
    loss: Tensor = (errors / scale + torch.log(2 * scale)).mean()
    return loss


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().contiguous().numpy()
    return array


def _stacked(layers: nn.ModuleList) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights (DEPTH, inputs, outputs) and biases (DEPTH, outputs)."""
    weights, biases = zip(*(layer.parameters() for layer in layers), strict=True)
    return _array(torch.stack([weight.T for weight in weights])), _array(torch.stack(biases))
