"""Backbones side by side, trained alike on the same features and measured on val.

    python benchmarks/backbones.py examples/backbones/*.toml --data DATA.h5 -o backbones/

The recipes start from one trained model, whose encoder stays as it is. Each is trained in a folder
of its own in `-o`; the same command given again trains what is left. All figures go to
`backbones/table.json`.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import kurtosis, skew
from torch import Tensor

from nmrtk.batch import PreparedExample, collate, prepare_examples
from nmrtk.calibration import with_features
from nmrtk.checkpoint import load_model
from nmrtk.dataset import DataSet
from nmrtk.fabric import launch_fabric
from nmrtk.model import ReversibleModel
from nmrtk.objective import Objective
from nmrtk.recipe import Recipe, make_recipe, read_recipe
from nmrtk.run_folder import METRICS_FILE, STATE_FILE, Row
from nmrtk.scoring import best_threshold, score_code
from nmrtk.training import resume_training, start_training

_MIB = 2**20
_ENLARGED = 3.0  # factor of all weights in the second look at the round trip


@dataclass(frozen=True, slots=True)
class Trip:
    """A round trip in float32.

    Args:
        error: largest of inverse(forward(x)) - x, for the features x of val.
        exact: whether the x that came back comes back again to the last bit, one by one.
    """

    error: float
    exact: bool


@dataclass(frozen=True, slots=True)
class Result:
    """One backbone; figures of val.

    Args:
        name: of the recipe.
        parameters: of the backbone.
        micro_f1: of the code, at the threshold that is best on val.
        macro_f1: likewise.
        code_loss: of the codec.
        free_loss: of the free part z, nats a dimension.
        mean: of z, over molecules and dimensions.
        std: likewise.
        dimension_std: of single dimensions of z: 5th percentile, median, 95th percentile.
        skewness: of a dimension of z, median size; 0 for a normal.
        kurtosis: excess, of a dimension of z, median; 0 for a normal.
        trained: round trip with the trained weights.
        enlarged: round trip with all weights three times as large.
        epoch: CPU seconds of a pass over the training molecules.
        saved: bytes kept for the backward pass of one batch.
    """

    name: str
    parameters: int
    micro_f1: float
    macro_f1: float
    code_loss: float
    free_loss: float
    mean: float
    std: float
    dimension_std: tuple[float, float, float]
    skewness: float
    kurtosis: float
    trained: Trip
    enlarged: Trip
    epoch: float
    saved: int


class Epochs:
    """Prints the epochs of a training."""

    def preparing(self, split: str, done: int, total: int) -> None:
        """Nothing."""

    def step(self, epoch: int, batch: int, batches: int, loss: float) -> None:
        """Nothing."""

    def epoch(self, row: Row, best: bool) -> None:
        """Print the validation loss."""
        print(f"epoch {row['epoch']}  val loss {row['val_loss']:.4f}", flush=True)

    def note(self, text: str) -> None:
        """Print it."""
        print(text, flush=True)


def train(recipe: Recipe, data: Path, run: Path) -> float:
    """Train what is left; returns CPU seconds of an epoch."""
    fabric = launch_fabric(1, "cpu")
    if not (run / STATE_FILE).exists():
        interrupted = start_training(recipe, data, run, fabric, Epochs()).interrupted
    elif not load_model(run).training["finished"]:
        interrupted = resume_training(run, fabric, Epochs(), data).interrupted
    else:
        interrupted = False
    if interrupted:
        raise SystemExit("stopped: the same command goes on")
    with (run / METRICS_FILE).open(encoding="utf-8", newline="") as file:
        return float(np.mean([float(row["cpu_seconds"]) for row in csv.DictReader(file)]))


def measure(
    name: str, model: ReversibleModel, recipe: Recipe, val: list[PreparedExample], seconds: float
) -> Result:
    """Figures of val, whose examples have their features."""
    objective = Objective(model, recipe.loss, lines_per_molecule=1.0, complete_codes=False)
    batch = collate(model, val)
    with torch.no_grad():
        prediction = objective.predict(batch)
        terms = objective.terms(prediction, batch)
        occupancy = model.codec.occupancy(prediction.code).numpy()
        observed = model.codec.occupancy(model.codec.embed(batch.target)).numpy() > 0.5
    free = prediction.free.double().numpy()
    score = score_code(occupancy > best_threshold(occupancy, observed), observed)
    trained = _trip(model, prediction.features, batch.condition)
    first = collate(model, val[: recipe.training.batch_size])
    saved = _saved_bytes(model, lambda: objective.weighted(objective(first)).mean())
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.mul_(_ENLARGED)
    low, middle, high = np.percentile(free.std(axis=0), (5, 50, 95))
    return Result(
        name,
        sum(p.numel() for p in model.backbone.parameters()),
        score.micro_f1,
        score.macro_f1,
        float(terms["code"].mean()),
        float(terms["free"].mean()),
        float(free.mean()),
        float(free.std()),
        (float(low), float(middle), float(high)),
        float(np.median(np.abs(skew(free)))),
        float(np.median(kurtosis(free))),
        trained,
        _trip(model, prediction.features, batch.condition),
        seconds,
        saved,
    )


def _trip(model: ReversibleModel, features: Tensor, vectors: Tensor) -> Trip:
    backbone, condition = model.backbone, model.condition(vectors)
    with torch.no_grad():
        back = backbone.inverse(backbone(features, condition), condition)
        outputs = backbone(back, condition)
        again = [
            backbone.inverse(
                outputs[row : row + 1], None if condition is None else condition[row : row + 1]
            )
            for row in range(min(len(outputs), 100))
        ]
    return Trip(float((back - features).abs().max()), torch.equal(torch.cat(again), back[:100]))


def _saved_bytes(model: ReversibleModel, loss: Callable[[], Tensor]) -> int:
    own = {parameter.data_ptr() for parameter in model.parameters()}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            saved[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss()
    return sum(saved.values())


def table(results: Sequence[Result]) -> Iterator[str]:
    """Lines of Markdown."""
    columns: dict[str, Callable[[Result], str]] = {
        "backbone": lambda r: r.name,
        "parameters / 1000": lambda r: f"{r.parameters / 1000:.0f}",
        "micro-F1": lambda r: f"{r.micro_f1:.4f}",
        "macro-F1": lambda r: f"{r.macro_f1:.4f}",
        "code loss": lambda r: f"{r.code_loss:.4f}",
        "free loss": lambda r: f"{r.free_loss:.3f}",
        "z mean": lambda r: f"{r.mean:.3f}",
        "z std": lambda r: f"{r.std:.2f}",
        "std of a dimension": lambda r: " / ".join(f"{std:.2f}" for std in r.dimension_std),
        "skewness": lambda r: f"{r.skewness:.2f}",
        "excess kurtosis": lambda r: f"{r.kurtosis:.2f}",
        "round trip": lambda r: _shown(r.trained),
        "weights x 3": lambda r: _shown(r.enlarged),
        "CPU s an epoch": lambda r: f"{r.epoch:.1f}",
        "saved / MiB": lambda r: f"{r.saved / _MIB:.1f}",
    }
    yield "| " + " | ".join(columns) + " |"
    yield "|---" + "|--:" * (len(columns) - 1) + "|"
    for result in results:
        yield "| " + " | ".join(show(result) for show in columns.values()) + " |"


def _shown(trip: Trip) -> str:
    return f"{trip.error:.1e}{', exact' if trip.exact else ''}"


def main() -> None:
    """Print a table, one row a recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", type=Path, nargs="+", help="TOML files, one a backbone")
    parser.add_argument("--data", type=Path, required=True, help="data set")
    parser.add_argument("--limit", type=int, default=0, help="training molecules; 0 for all")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    val: list[PreparedExample] = []
    results = []
    for path in arguments.recipes:
        recipe = make_recipe(read_recipe(path), str(path))
        training = recipe.training.model_copy(update={"limit": arguments.limit})
        recipe = recipe.model_copy(update={"training": training})
        run = arguments.output / path.stem
        seconds = train(recipe, arguments.data, run)
        model = load_model(run).model.eval()
        if not val:
            # The encoder is the same in all of them.
            with DataSet(arguments.data) as data:
                examples = data.examples(recipe.split, "val")
            val = with_features(model, prepare_examples(model, examples)[0])
        results.append(measure(path.stem, model, recipe, val, seconds))
        print("\n".join(table(results[-1:])), flush=True)
    text = json.dumps([asdict(result) for result in results], indent=1)
    (arguments.output / "table.json").write_text(text + "\n", encoding="utf-8")
    print(f"{len(val)} molecules of val")
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
