"""One training and its measurement, in a process of its own.

A process for each training has its own peak of memory, is not slowed by what others left behind,
and may be ended by the system without ending the comparison.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import torch

import nmrtk
from nmrtk.atomic import write_bytes
from nmrtk.checkpoint import MODEL_FILE, load_model, load_tensors
from nmrtk.comparison.measurement import Measurement, measure
from nmrtk.errors import CheckpointError, NmrtkError, UsageError
from nmrtk.fabric import launch_fabric
from nmrtk.recipe import Part, Recipe, make_recipe
from nmrtk.run_folder import STATE_FILE, DataReference, Row
from nmrtk.training import Outcome, resume_training, start_training

COST_FILE = "cost.json"
ERROR_FILE = "error.txt"

_PAUSE = 0.2
"""Seconds between two messages of progress."""

_PREPARED, _TRAINED = 0.1, 0.9
"""Shares of the work that are done when training begins and when it ends, roughly."""

MessageKind = Literal["progress", "note", "done", "interrupted", "failed"]
Message = tuple[MessageKind, float, str]
"""What it is about, the share of the work that is done, and a text."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a process shall do.

    Args:
        recipe: with the seed.
        data: the data set.
        run: folder for the results.
        split: to measure on.
        codec: of the common bins.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        threads: of the CPU; None for torch's choice.
    """

    recipe: Recipe
    data: DataReference
    run: Path
    split: str
    codec: Part
    accelerator: str
    threads: int | None

    @property
    def measurement_file(self) -> Path:
        """Where the measurement goes."""
        return measurement_file(self.run, self.split)


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """What a training took.

    Args:
        seconds: in the epochs, without preparation and validation.
        cpu_seconds: the same in time of the processor, all threads.
        peak_memory_mib: most memory that its process held until it ended, libraries and data
            included; None where the system does not tell.
        peak_gpu_memory_mib: likewise of the GPU; None without one.
        device: such as `cpu`.
        threads: of the CPU.
        nmrtk: version.
        torch: version.
    """

    seconds: float
    cpu_seconds: float
    peak_memory_mib: float | None
    peak_gpu_memory_mib: float | None
    device: str
    threads: int
    nmrtk: str
    torch: str

    @classmethod
    def load(cls, run: Path) -> TrainingCost:
        """Of a finished training.

        Raises:
            CheckpointError: it is not finished, or the file is damaged.
        """
        path = run / COST_FILE
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error


def measurement_file(run: Path, split: str) -> Path:
    """Where the measurement of a training on a split is."""
    return run / f"measured-{split}.safetensors"


def is_done(task: Task) -> bool:
    """Whether a task was finished before; a damaged measurement is made again.

    Raises:
        UsageError: the model that is there came from another recipe or data set.
        CheckpointError: it is damaged.
    """
    if (task.run / MODEL_FILE).is_file():
        _require_own_model(task)
    if not (task.run / COST_FILE).is_file():
        return False
    try:
        measured = Measurement.load(task.measurement_file)
    except CheckpointError:
        return False
    return measured.common_codec == task.codec.model_dump()


def _require_own_model(task: Task) -> None:
    path = task.run / MODEL_FILE
    remedy = f"remove {task.run} to train anew, or choose another folder with -o"
    try:
        _, header = load_tensors(path)
        trained_on = header["training"]["data"]["sha256"]
        recipe = make_recipe(header["recipe"], str(path))
    except (CheckpointError, KeyError, TypeError) as error:
        raise CheckpointError(f"{error}; or {remedy}") from error
    if trained_on != task.data.sha256:
        raise UsageError(f"{path} was trained on another data set than {task.data.path}: {remedy}")
    if recipe != task.recipe:
        raise UsageError(f"{path} was trained by another recipe: {remedy}")


def work(task: Task, connection: Connection) -> None:
    """Train, or go on, and measure; tell of it through the connection."""
    # Ctrl-C reaches all processes of a terminal: the first one tells this one to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reporter = _Reporter(connection, task.recipe.training.epochs)
    try:
        if task.threads is not None:
            torch.set_num_threads(task.threads)
        if not (task.run / COST_FILE).is_file() and _train(task, reporter).interrupted:
            reporter.send("interrupted", 0.0, "")
            return
        loaded = load_model(task.run)
        measure(loaded, Path(task.data.path), task.split, task.codec, reporter.measuring).save(
            task.measurement_file
        )
    except NmrtkError as error:
        reporter.send("failed", 0.0, str(error))
    except Exception as error:  # of a plugin: the other trainings go on
        write_bytes(task.run / ERROR_FILE, traceback.format_exc().encode())
        where = f"see {task.run / ERROR_FILE}"
        reporter.send("failed", 0.0, f"{type(error).__name__}: {error} ({where})")
    else:
        reporter.send("done", 1.0, "")


def _train(task: Task, reporter: _Reporter) -> Outcome:
    fabric = launch_fabric(1, task.accelerator)
    if (task.run / STATE_FILE).is_file():
        outcome = resume_training(task.run, fabric, reporter, Path(task.data.path))
    else:
        outcome = start_training(task.recipe, Path(task.data.path), task.run, fabric, reporter)
    if not outcome.interrupted:
        history = outcome.progress.history
        cost = TrainingCost(
            round(sum(row["seconds"] for row in history), 3),
            round(sum(row["cpu_seconds"] for row in history), 3),
            _peak_memory_mib(),
            _peak_gpu_memory_mib(fabric.device),
            str(fabric.device),
            torch.get_num_threads(),
            nmrtk.__version__,
            torch.__version__,
        )
        write_bytes(task.run / COST_FILE, (json.dumps(asdict(cost), indent=1) + "\n").encode())
    return outcome


class _Reporter:
    """Listens to a training and passes on what matters."""

    def __init__(self, connection: Connection, epochs: int) -> None:
        self._connection = connection
        self._epochs = epochs
        self._sent_at = 0.0

    def preparing(self, split: str, done: int, total: int) -> None:
        """Molecules are being made ready."""
        self._progress(_PREPARED * done / max(total, 1), f"preparing {split}")

    def step(self, epoch: int, batch: int, batches: int, loss: float) -> None:
        """A step was made."""
        done = (epoch - 1 + batch / batches) / self._epochs
        share = _PREPARED + (_TRAINED - _PREPARED) * done
        self._progress(share, f"epoch {epoch} of {self._epochs}, loss {loss:.3f}")

    def epoch(self, row: Row, best: bool) -> None:
        """Nothing: the metrics file has it."""

    def note(self, text: str) -> None:
        """Something that the user should know."""
        self.send("note", 0.0, text)

    def measuring(self, share: float) -> None:
        """The trained model is being measured."""
        self._progress(_TRAINED + (1 - _TRAINED) * share, "measuring")

    def send(self, kind: MessageKind, share: float, text: str) -> None:
        """Tell the first process; where that is gone, ask the training to stop and save."""
        try:
            self._connection.send((kind, share, text))
        except OSError:
            os.kill(os.getpid(), signal.SIGTERM)

    def _progress(self, share: float, text: str) -> None:
        now = time.monotonic()
        if now - self._sent_at >= _PAUSE:
            self._sent_at = now
            self.send("progress", share, text)


def _peak_memory_mib() -> float | None:
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts kibibytes, macOS bytes.
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def _peak_gpu_memory_mib(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    return round(torch.cuda.max_memory_allocated(device) / (1 << 20), 1)
