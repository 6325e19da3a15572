"""What a training leaves in its folder: the state to continue from, the recipe, the metrics."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from nmrtk.atomic import file_sha256, write_bytes
from nmrtk.checkpoint import load_tensors, save_tensors
from nmrtk.errors import CheckpointError
from nmrtk.recipe import Recipe, make_recipe

STATE_FILE = "last.safetensors"
METRICS_FILE = "metrics.csv"
RECIPE_FILE = "recipe.toml"

Row = dict[str, float]
"""A line of the metrics file."""


@dataclass(frozen=True, slots=True)
class DataReference:
    """Which data set a training used.

    Args:
        path: where it was.
        sha256: of the file.
    """

    path: str
    sha256: str

    @classmethod
    def of(cls, path: Path) -> DataReference:
        """Reference to a file.

        Raises:
            DataError: it cannot be read.
        """
        return cls(str(path.resolve()), file_sha256(path))


@dataclass(slots=True)
class Progress:
    """Where a training stands; with the tensors, all that continuing needs.

    Args:
        epoch: epochs completed.
        batch: batches of the running epoch done.
        step: optimiser steps done.
        best_loss: lowest validation loss so far.
        best_epoch: when it was reached, counted from 1.
        sums: of the terms over the molecules of the running epoch.
        seconds: spent in training the running epoch.
        cpu_seconds: the same in time of the processor, all threads of the first process.
        history: rows of the metrics file.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_loss: float = math.inf
    best_epoch: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    history: list[Row] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TrainingState:
    """All that a training needs to continue with the same numbers.

    Args:
        recipe: its choices.
        data: what it learns from.
        progress: where it stands.
        model: tensors of the model.
        optimizer: tensors of the optimiser, by number of the parameter and name.
        random: state of torch's random numbers on the CPU.
    """

    recipe: Recipe
    data: DataReference
    progress: Progress
    model: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]]
    random: Tensor

    def save(self, run: Path) -> None:
        """Write the state file, atomically.

        Raises:
            DataError: it cannot be written.
        """
        tensors = {f"model.{name}": tensor for name, tensor in self.model.items()}
        for number, values in self.optimizer.items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in values.items()}
        tensors["random"] = self.random
        header = {
            "recipe": self.recipe.model_dump(),
            "data": asdict(self.data),
            "progress": asdict(self.progress),
        }
        save_tensors(run / STATE_FILE, tensors, header)

    @classmethod
    def load(cls, run: Path) -> TrainingState:
        """Read the state file.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        path = run / STATE_FILE
        if not path.is_file():
            raise CheckpointError(f"{run} holds no {STATE_FILE}: there is nothing to resume")
        tensors, header = load_tensors(path)
        model: dict[str, Tensor] = {}
        optimizer: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            if part == "model":
                model[name] = tensor
            elif part == "optimizer":
                number, _, name = name.partition(".")
                optimizer.setdefault(int(number), {})[name] = tensor
        try:
            return cls(
                make_recipe(header["recipe"], str(path)),
                DataReference(**header["data"]),
                Progress(**header["progress"]),
                model,
                optimizer,
                tensors["random"],
            )
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is not the state of a training: {error}") from error


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[int, dict[str, Tensor]]
) -> None:
    """Set what an optimiser has gathered about its parameters."""
    optimizer.load_state_dict({**optimizer.state_dict(), "state": tensors})


def write_metrics(run: Path, history: list[Row]) -> None:
    """Write the metrics file.

    Raises:
        DataError: it cannot be written.
    """
    text = io.StringIO()
    # A training that an older nmrtk began has fewer columns in its first rows.
    columns = list(dict.fromkeys(name for row in history for name in row))
    writer = csv.DictWriter(text, fieldnames=columns)
    writer.writeheader()
    writer.writerows(history)
    write_bytes(run / METRICS_FILE, text.getvalue().encode())
