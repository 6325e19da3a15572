"""Teaches the small network what the model says of structures, right ones and wrong ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nmrtk_refine.codes import BOND_KINDS, DEPTH
from nmrtk_refine.kinds import Isomer, Kind, write_bond_kinds
from nmrtk_refine.network import LEAST_SCALE, MOST_DEGREE, MOST_HYDROGENS, Network, no_network

WIDTH, HIDDEN, READ = 64, 128, 64
EPOCHS = 36
_BATCH_SIZE = 192
_LEARNING_RATE, _WARM_UP, _WEIGHT_DECAY, _MOST_GRADIENT = 3e-3, 0.1, 0.01, 1.0
_SCALES_IN_A_SPREAD = 10.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the model says of one structure: A atoms, E bonds in both directions, S sites.

    Args:
        kinds: (A,).
        hydrogens: (A,), int64.
        degrees: (A,), int64, neighbours.
        sources: (E,), int64, atom from which a bond leads.
        targets: (E,), int64, atom to which it leads.
        bonds: (E,), int64, kind of the bond.
        sites: (S,), int64, atoms that give a line.
        shifts: (S,), float32, in ppm.
        scales: (S,), float32, Laplace scales in ppm.
    """

    kinds: tuple[Kind, ...]
    hydrogens: NDArray[np.int64]
    degrees: NDArray[np.int64]
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    bonds: NDArray[np.int64]
    sites: NDArray[np.int64]
    shifts: NDArray[np.float32]
    scales: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        isomer: Isomer,
        sites: Sequence[int],
        shifts: NDArray[np.float32],
        scales: NDArray[np.float32],
    ) -> Lesson:
        """Of a structure with predicted lines (S,)."""
        graph = isomer.graph()
        write_bond_kinds(graph)
        places = np.arange(graph.neighbours.shape[1]) < graph.degrees[:, None]
        return cls(
            isomer.kinds,
            graph.hydrogens,
            graph.degrees,
            graph.neighbours[places],
            np.repeat(np.arange(len(isomer.kinds)), graph.degrees),
            graph.bond_kinds[places].astype(np.int64),
            np.array(sites, np.int64),
            shifts,
            scales,
        )


class Student(nn.Module):
    """`nmrtk_refine.network.Network` as it is trained.

    Args:
        kinds: of atoms that it is to know.
        units: (3,), centre and spread of the shifts and unit of the scales, in ppm.
    """

    def __init__(self, kinds: Sequence[Kind], units: NDArray[np.float32]) -> None:
        super().__init__()
        self.kinds = sorted(kinds, key=lambda kind: kind.code)
        self.kind_states = nn.Embedding(len(kinds) + 1, WIDTH)
        self.hydrogen_states = nn.Embedding(MOST_HYDROGENS + 1, WIDTH)
        self.degree_states = nn.Embedding(MOST_DEGREE + 1, WIDTH)
        self.gates = nn.Parameter(1 + 0.5 * torch.randn(DEPTH, BOND_KINDS, WIDTH))
        self.offsets = nn.Parameter(0.5 * torch.randn(DEPTH, BOND_KINDS, WIDTH))
        self.wide = nn.ModuleList(nn.Linear(WIDTH, HIDDEN) for _ in range(DEPTH))
        self.narrow = nn.ModuleList(nn.Linear(HIDDEN, WIDTH) for _ in range(DEPTH))
        self.read = nn.Linear(WIDTH, READ)
        self.out = nn.Linear(READ, 2)
        self.units = units

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Shifts and scales (S,) in ppm of the sites of a batch, as `collate` makes it."""
        states = (
            self.kind_states(batch["kinds"])
            + self.hydrogen_states(batch["hydrogens"].clamp(max=MOST_HYDROGENS))
            + self.degree_states(batch["degrees"].clamp(max=MOST_DEGREE))
        )
        bonds, sources = batch["bonds"], batch["sources"]
        for layer, (wide, narrow) in enumerate(zip(self.wide, self.narrow, strict=True)):
            gates = functional.embedding(bonds, self.gates[layer])
            offsets = functional.embedding(bonds, self.offsets[layer])
            messages = torch.relu(functional.embedding(sources, states) * gates + offsets)
            total = states.index_add(0, batch["targets"], messages)
            states = states + narrow(torch.relu(wide(total)))
        out = self.out(torch.relu(self.read(functional.embedding(batch["sites"], states))))
        centre, spread, unit = self.units.tolist()
        return centre + spread * out[:, 0], unit * (LEAST_SCALE + functional.softplus(out[:, 1]))

    def network(self) -> Network:
        """The weights for the inner loop."""
        wide, wide_bias = _stacked(self.wide)
        narrow, narrow_bias = _stacked(self.narrow)
        return Network(
            kinds=np.array([kind.code for kind in self.kinds], np.uint64),
            kind_states=_array(self.kind_states.weight),
            hydrogen_states=_array(self.hydrogen_states.weight),
            degree_states=_array(self.degree_states.weight),
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

    def collate(self, lessons: Sequence[Lesson]) -> dict[str, Tensor]:
        """One graph of all structures, with the lines that are to be learned."""
        rows = {kind: row for row, kind in enumerate(self.kinds)}
        kinds = [rows.get(kind, len(rows)) for one in lessons for kind in one.kinds]
        sizes = np.array([len(one.kinds) for one in lessons])
        starts = (np.cumsum(sizes) - sizes).tolist()
        batch = {"kinds": torch.tensor(kinds)}
        for name in ("hydrogens", "degrees", "bonds", "shifts", "scales"):
            batch[name] = torch.from_numpy(np.concatenate([getattr(one, name) for one in lessons]))
        for name in ("sources", "targets", "sites"):
            parts = [getattr(one, name) + s for one, s in zip(lessons, starts, strict=True)]
            batch[name] = torch.from_numpy(np.concatenate(parts))
        return batch


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
    kinds = {kind for one in lessons for kind in one.kinds}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        student = Student(sorted(kinds), units)
        optimizer = torch.optim.AdamW(student.parameters(), weight_decay=_WEIGHT_DECAY)
        steps = epochs * math.ceil(len(lessons) / _BATCH_SIZE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, _LEARNING_RATE, total_steps=steps, pct_start=_WARM_UP
        )
        random = np.random.default_rng(seed)
        step = 0
        for _ in range(epochs):
            order = random.permutation(len(lessons))
            for start in range(0, len(order), _BATCH_SIZE):
                chosen = order[start : start + _BATCH_SIZE].tolist()
                loss = _loss(student, student.collate([lessons[row] for row in chosen]))
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(student.parameters(), _MOST_GRADIENT)
                optimizer.step()
                schedule.step()
                step += 1
                on_progress(step)
    return student.network()


def _loss(student: Student, batch: dict[str, Tensor]) -> Tensor:
    """Negative log-likelihood, in nats a line, of lines drawn as the model says."""
    shift, scale = student(batch)
    noise = torch.distributions.Laplace(0.0, batch["scales"]).sample()
    errors = (shift - batch["shifts"] - noise).abs()
    loss: Tensor = (errors / scale + torch.log(2 * scale)).mean()
    return loss


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().contiguous().numpy()
    return array


def _stacked(layers: nn.ModuleList) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights (DEPTH, inputs, outputs) and biases (DEPTH, outputs)."""
    weights, biases = zip(*(layer.parameters() for layer in layers), strict=True)
    return _array(torch.stack([weight.T for weight in weights])), _array(torch.stack(biases))
