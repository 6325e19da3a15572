"""Training: batches, optimisation, selection on val, checkpoints that continue exactly."""

from __future__ import annotations

import hashlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from nmrtk.atomic import write_bytes
from nmrtk.batch import Batch, PreparedExample, collate, prepare_examples
from nmrtk.calibration import calibrate, with_features
from nmrtk.checkpoint import (
    MODEL_FILE,
    Calibration,
    load_model,
    load_state,
    load_tensors,
    save_model,
)
from nmrtk.dataset import DataSet
from nmrtk.errors import CheckpointError, ConfigurationError, UsageError
from nmrtk.interfaces import StructureEncoder
from nmrtk.model import ReversibleModel, build_model
from nmrtk.nucleus import Nucleus
from nmrtk.objective import Objective
from nmrtk.recipe import Recipe
from nmrtk.run_folder import (
    RECIPE_FILE,
    STATE_FILE,
    DataReference,
    Progress,
    Row,
    TrainingState,
    restore_optimizer,
    write_metrics,
)

_MEASURED = ("code", "lines", "scales", "free")
"""Terms of the loss that are measured on val; `generation` needs noise."""

_MOST_PICKS = 2**31

SAVE_SECONDS = 120
"""Longest time between two states on disk."""


class Listener(Protocol):
    """Told how a training goes."""

    def preparing(self, split: str, done: int, total: int) -> None:
        """Molecules of a split are being made ready."""

    def step(self, epoch: int, batch: int, batches: int, loss: float) -> None:
        """A step was made."""

    def epoch(self, row: Row, best: bool) -> None:
        """An epoch has ended; `row` is a line of the metrics file."""

    def note(self, text: str) -> None:
        """Something that the user should know."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training ended.

    Args:
        progress: where it stands.
        interrupted: whether it was asked to stop; `--resume` continues it.
    """

    progress: Progress
    interrupted: bool


def start_training(
    recipe: Recipe, data: Path, run: Path, fabric: Fabric, listener: Listener
) -> Outcome:
    """Train a new model.

    Args:
        recipe: all choices.
        data: an nmrtk data set.
        run: folder for the results; made if missing.
        fabric: launched; decides device and processes.
        listener: told of the progress.

    Raises:
        UsageError: parts, data and recipe do not fit, or the folder holds a training already.
        DataError: the data set cannot be read or the folder cannot be written.
    """
    if (run / STATE_FILE).exists():
        raise UsageError(f"{run} holds a training already: --resume {run} continues it")
    torch.manual_seed(recipe.training.seed)
    model = build_model(recipe)
    if recipe.start:
        model.encoder.start_from([_start_encoder(name, model.nucleus) for name in recipe.start])
    training = _Training(recipe, model, DataReference.of(data), run, fabric, listener)
    training.load_data(fit=not recipe.start)
    return training.go()


def _start_encoder(name: str, nucleus: Nucleus) -> StructureEncoder:
    found = load_model(name).model
    if found.nucleus != nucleus:
        raise UsageError(
            f"the model {name} is for {found.nucleus}, but {nucleus} is to be learned: start from "
            f"models for {nucleus}"
        )
    return found.encoder


def resume_training(run: Path, fabric: Fabric, listener: Listener, data: Path | None) -> Outcome:
    """Continue a training where its last state on disk stands.

    Args:
        run: folder of the training.
        fabric: launched.
        listener: told of the progress.
        data: the data set, where it has moved.

    Raises:
        CheckpointError: there is no state, it is damaged, or the data set is another one.
    """
    state = TrainingState.load(run)
    path = data or Path(state.data.path)
    if not path.is_file():
        raise CheckpointError(f"the data set {path} is gone: say with --data where it is now")
    if DataReference.of(path).sha256 != state.data.sha256:
        raise CheckpointError(f"{path} is not the data set that {run} was trained on")
    torch.manual_seed(state.recipe.training.seed)
    model = build_model(state.recipe)
    load_state(model, state.model, run / STATE_FILE)
    training = _Training(state.recipe, model, state.data, run, fabric, listener)
    training.load_data(fit=False, path=path)
    return training.go(state)


class _Training:
    def __init__(
        self,
        recipe: Recipe,
        model: ReversibleModel,
        data: DataReference,
        run: Path,
        fabric: Fabric,
        listener: Listener,
    ) -> None:
        self.recipe = recipe
        self.model = model
        self.data = data
        self.run = run
        self.fabric = fabric
        self.listener = listener
        self.progress = Progress()
        self.train: list[PreparedExample] = []
        self.val: list[PreparedExample] = []
        self._saved_at = time.monotonic()
        self._stop = threading.Event()

    # --- preparation

    def load_data(self, *, fit: bool, path: Path | None = None) -> None:
        """Read and prepare the examples; with `fit`, set the encoder's constants from them."""
        choice = self.recipe.training
        loaded = {}
        with DataSet(path or Path(self.data.path)) as data:
            data.require_nucleus(self.model.nucleus)
            for split in ("train", "val"):
                loaded[split] = data.examples(
                    self.recipe.split,
                    split,
                    complete_only=choice.incomplete == "skip"
                    or (split == "val" and choice.incomplete == "lines"),
                    other_spectra=split == "train" and choice.other_spectra,
                )
        if choice.limit:
            order = torch.randperm(len(loaded["train"]), generator=_generator(choice.seed, 0))
            loaded["train"] = [loaded["train"][i] for i in order[: choice.limit].tolist()]
        if fit:
            self.model.encoder.fit(loaded["train"])
        for split, examples in loaded.items():
            prepared, rejected = prepare_examples(
                self.model, examples, partial(self._show_preparing, split, len(examples))
            )
            if rejected:
                example, reason = rejected[0]
                self.listener.note(
                    f"{split}: {len(rejected)} of {len(examples)} molecules left out, the first "
                    f"{example.id}: {reason}"
                )
            if not prepared:
                raise UsageError(f"no molecule of the split {split!r} can be used for training")
            if choice.freeze_encoder:
                prepared = with_features(self.model, prepared)
            setattr(self, split, prepared)
        lines = [len(example.lines.shifts) for example in self.train]
        self.objective = Objective(
            self.model,
            self.recipe.loss,
            lines_per_molecule=max(sum(lines) / len(lines), 1.0),
            complete_codes=choice.incomplete == "lines",
        )

    def _show_preparing(self, split: str, total: int, done: int) -> None:
        self.listener.preparing(split, done, total)

    # --- the loop

    def go(self, state: TrainingState | None = None) -> Outcome:
        """Train, or continue from a state, until the end, the patience's end, or a signal."""
        choice = self.recipe.training
        if not self.recipe.loss.reach_backbone:
            self.model.backbone.requires_grad_(False)
        if choice.freeze_encoder:
            self.model.encoder.requires_grad_(False)
        others = nn.ModuleList([self.model.encoder, self.model.codec])
        groups = [
            {"params": _trained(others), "weight_decay": choice.weight_decay},
            {
                "params": _trained(self.model.backbone),
                "weight_decay": choice.backbone_weight_decay,
            },
        ]
        if not any(group["params"] for group in groups):
            raise ConfigurationError(
                "nothing to learn: the encoder is frozen, and no term of the loss reaches the "
                "backbone"
            )
        optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=choice.learning_rate, fused=True
        )
        if state is not None:
            restore_optimizer(optimizer, state.optimizer)
            self.progress = state.progress
            if not self.fabric.is_global_zero:
                # The stored sums are those of all processes: they go on in one.
                self.progress.sums = dict.fromkeys(self.progress.sums, 0.0)
        module, self.optimizer = self.fabric.setup(self.objective, optimizer)
        if state is not None:
            torch.set_rng_state(state.random)
        if self.fabric.is_global_zero:
            write_bytes(self.run / RECIPE_FILE, self.recipe.to_toml().encode())
        with self._stopping_on_signals():
            while not self._finished():
                if not self._train_epoch(module):
                    self._save_state()
                    return Outcome(self.progress, interrupted=True)
                self._end_epoch(module)
        self._finish()
        return Outcome(self.progress, interrupted=False)

    def _finished(self) -> bool:
        choice, progress = self.recipe.training, self.progress
        stale = progress.epoch - progress.best_epoch >= choice.patience
        return progress.epoch >= choice.epochs or (stale and progress.epoch > 0)

    def _train_epoch(self, module: torch.nn.Module) -> bool:
        """Finish the running epoch; False if stopped before its end."""
        choice, progress = self.recipe.training, self.progress
        order = torch.randperm(
            len(self.train), generator=_generator(choice.seed, 1 + progress.epoch)
        )
        batches = order.split(choice.batch_size)
        module.train()
        started, before = time.monotonic(), progress.seconds
        cpu_started, cpu_before = time.process_time(), progress.cpu_seconds
        while progress.batch < len(batches):
            indices = batches[progress.batch].tolist()
            loss = self._step(module, indices, progress.step, len(batches) * choice.epochs)
            progress.batch += 1
            progress.step += 1
            progress.seconds = before + time.monotonic() - started
            progress.cpu_seconds = cpu_before + time.process_time() - cpu_started
            self.listener.step(progress.epoch + 1, progress.batch, len(batches), loss)
            if self._stop_requested():
                return False
            if time.monotonic() - self._saved_at > SAVE_SECONDS and progress.batch < len(batches):
                self._save_state()
        return True

    def _step(self, module: torch.nn.Module, indices: list[int], step: int, steps: int) -> float:
        choice = self.recipe.training
        for group in self.optimizer.param_groups:
            group["lr"] = choice.learning_rate * _schedule(
                choice.schedule, choice.warmup, step, steps
            )
        share = slice(self.fabric.global_rank, None, self.fabric.world_size)
        # A rank without molecules of its own must still take part in the exchange of gradients.
        mine = indices[share] or indices[:1]
        picks, free, features = (
            None if drawn is None else (drawn[share] if indices[share] else drawn[:1])
            for drawn in self._draw(len(indices), step)
        )
        batch = collate(
            self.model,
            [self.train[i] for i in mine],
            picks=None if picks is None else picks.tolist(),
            free_noise=free,
            feature_noise=features,
        )
        with self._reduced_precision():
            terms = module(batch.to(self.fabric.device))
        if not indices[share]:
            terms = {name: term * 0.0 for name, term in terms.items()}
        # Ranks average their gradients; this makes the average the mean over all molecules.
        loss = self.objective.weighted(terms).sum() * self.fabric.world_size / len(indices)
        if not torch.isfinite(loss):
            raise ConfigurationError(
                f"the loss is {loss.item()} at step {step}: lower training.learning_rate"
            )
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        if choice.gradient_clip:
            self.fabric.clip_gradients(module, self.optimizer, max_norm=choice.gradient_clip)
        self.optimizer.step()
        self._add_sums({f"train_{k}": float(t.detach().sum()) for k, t in terms.items()})
        return float(loss.detach())

    def _reduced_precision(self) -> torch.autocast:
        """Where matrix products are in the precision of the recipe."""
        return torch.autocast(
            self.fabric.device.type,
            torch.bfloat16,
            enabled=self.recipe.training.precision == "bfloat16",
        )

    def _draw(self, size: int, step: int) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """What is random in a step, where wanted: the spectrum of each molecule (size,), free
        parts (size, F - K) and noise on features (size, F).

        Drawn for the whole batch, so that they do not depend on the number of processes.
        """
        generator = _generator(self.recipe.training.seed, -1 - step)
        free = torch.randn(size, self.model.free_width, generator=generator)
        features = torch.randn(size, self.model.backbone.width, generator=generator)
        picks = torch.randint(_MOST_PICKS, (size,), generator=generator)
        choice = self.recipe.training
        return (
            picks if choice.other_spectra else None,
            free if self.recipe.loss.generation else None,
            features * choice.feature_noise if choice.feature_noise else None,
        )

    def _end_epoch(self, module: torch.nn.Module) -> None:
        progress = self.progress
        sums = self._reduce(progress.sums)
        row: Row = {"epoch": progress.epoch + 1, "seconds": round(progress.seconds, 3)}
        row["cpu_seconds"] = round(progress.cpu_seconds, 3)
        row |= {name: sums[name] / len(self.train) for name in sorted(sums)}
        row |= self._validate()
        progress.epoch += 1
        progress.batch, progress.seconds, progress.cpu_seconds, progress.sums = 0, 0.0, 0.0, {}
        progress.history.append(row)
        best = row["val_loss"] < progress.best_loss
        if best:
            progress.best_loss, progress.best_epoch = row["val_loss"], progress.epoch
            self._save_model(Calibration(), finished=False)
        if self.fabric.is_global_zero:
            write_metrics(self.run, progress.history)
        self._save_state()
        self.listener.epoch(row, best)

    @torch.no_grad()
    def _validate(self) -> Row:
        self.objective.eval()
        sums: dict[str, float] = {}
        share = self.val[self.fabric.global_rank :: self.fabric.world_size]
        for start in range(0, len(share), self.recipe.training.batch_size):
            batch = collate(self.model, share[start : start + self.recipe.training.batch_size])
            for name, value in self._measure(batch.to(self.fabric.device)).items():
                sums[name] = sums.get(name, 0.0) + value
        total = self._reduce(sums)
        terms = {n: total[n] / len(self.val) for n in _MEASURED if n in total}
        row = {f"val_{name}": value for name, value in terms.items()}
        # Scales are calibrated afterwards: how sure they are does not choose the model.
        weights = self.recipe.loss
        row["val_loss"] = sum(
            getattr(weights, n) * value
            for n, value in terms.items()
            if n != "scales" or not (weights.lines or weights.reach_backbone)
        )
        if "code" in terms:
            row["val_micro_f1"] = 2 * total["hits"] / max(total["marked"], 1.0)
        if total.get("line_count"):
            row["val_mae_ppm"] = total["error"] / total["line_count"]
        return row

    def _measure(self, batch: Batch) -> dict[str, float]:
        prediction = self.objective.predict(batch)
        terms = self.objective.terms(prediction, batch)
        predicted = self.model.codec.occupancy(prediction.code) > 0.5
        observed = self.model.codec.occupied(batch.target)
        sums = {name: float(term.sum()) for name, term in terms.items()}
        sums["hits"] = float((predicted & observed).sum())
        sums["marked"] = float(predicted.sum() + observed.sum())
        if prediction.lines is not None:
            shift, _ = batch.matched(prediction.lines)
            sums["error"] = float((shift - batch.line_shifts).abs().sum())
            sums["line_count"] = float(len(shift))
        return sums

    # --- results

    def _finish(self) -> None:
        """Calibrate the best model on val, and mark it finished."""
        if not self.fabric.is_global_zero:
            return
        tensors, _ = load_tensors(self.run / MODEL_FILE)
        load_state(self.model, tensors, self.run / MODEL_FILE)
        self.model.eval()
        val = [replace(example, features=None) for example in self.val]
        self._save_model(calibrate(self.model, val), finished=True)

    def _save_model(self, calibration: Calibration, *, finished: bool) -> None:
        if not self.fabric.is_global_zero:
            return
        progress = self.progress
        summary = {
            "finished": finished,
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
            "best": progress.history[progress.best_epoch - 1],
            "data": asdict(self.data),
            "train_molecules": len(self.train),
            "val_molecules": len(self.val),
        }
        save_model(self.run / MODEL_FILE, self.model, self.recipe, calibration, summary)

    def _save_state(self) -> None:
        self._saved_at = time.monotonic()
        progress = replace(self.progress, sums=self._reduce(self.progress.sums))
        if not self.fabric.is_global_zero:
            return
        TrainingState(
            self.recipe,
            self.data,
            progress,
            self.model.state_dict(),
            self.optimizer.state_dict()["state"],
            torch.get_rng_state(),
        ).save(self.run)

    # --- small things

    def _add_sums(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.progress.sums[name] = self.progress.sums.get(name, 0.0) + value

    def _reduce(self, values: dict[str, float]) -> dict[str, float]:
        """Sums over the processes."""
        if self.fabric.world_size == 1:
            return dict(values)
        names = sorted(values)
        tensor = torch.tensor([values[name] for name in names], dtype=torch.float64)
        total: Any = self.fabric.all_reduce(tensor, reduce_op="sum")
        return dict(zip(names, total.tolist(), strict=True))

    def _stop_requested(self) -> bool:
        stopped = float(self._stop.is_set())
        return self._reduce({"stop": stopped})["stop"] > 0

    @contextmanager
    def _stopping_on_signals(self) -> Iterator[None]:
        """Ctrl-C and termination end the training at the next step; a second one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            self._stop.set()
            signal.signal(number, before[number])

        before: dict[int, Any] = {
            number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
        }
        for number in before:
            signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _generator(seed: int, stream: int) -> torch.Generator:
    """Random numbers that depend on the seed and the stream alone."""
    digest = hashlib.sha256(f"{seed}:{stream}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def _schedule(kind: str, warmup: float, step: int, steps: int) -> float:
    """Factor of the learning rate at a step."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    if kind == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(steps - rising, 1)))
