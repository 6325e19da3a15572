"""Backbones side by side, trained alike on the same features and measured on val.

python benchmarks/backbones.py examples/backbones/*.toml --data DATA.h5 -o TABLE.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import kurtosis, skew
from torch import Tensor

from nmrtk import load
from nmrtk.batch import PreparedExample, collate, prepare_examples
from nmrtk.calibration import with_features
from nmrtk.dataset import DataSet
from nmrtk.model import ReversibleModel, build_model
from nmrtk.objective import Objective
from nmrtk.recipe import Recipe, SplitChoice, make_recipe, read_recipe
from nmrtk.scoring import best_threshold, score_code

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


class Race:
    """What all backbones share: molecules, and the features that a trained encoder gives them.

    Args:
        start: trained model.
        data: data set.
        limit: of training molecules; 0 for all.
    """

    def __init__(self, start: str, data: Path, limit: int) -> None:
        model = load(start).model
        self.examples: dict[str, list[PreparedExample]] = {}
        with DataSet(data) as opened:
            for split in ("train", "val"):
                examples = opened.examples(SplitChoice(), split)
                if split == "train" and limit:
                    order = np.random.default_rng(0).permutation(len(examples))[:limit]
                    examples = [examples[i] for i in order]
                prepared, _ = prepare_examples(model, examples)
                self.examples[split] = with_features(model, prepared)

    def run(self, name: str, recipe: Recipe) -> Result:
        """Train the backbone of a recipe, and measure it."""
        torch.manual_seed(recipe.training.seed)
        model = build_model(recipe)
        objective = Objective(model, recipe.loss, lines_per_molecule=1.0, complete_codes=False)
        seconds = self._train(model, objective, recipe)
        return self._measure(name, model.eval(), objective, seconds, recipe.training.batch_size)

    def _train(self, model: ReversibleModel, objective: Objective, recipe: Recipe) -> float:
        choice, train = recipe.training, self.examples["train"]
        steps = choice.epochs * -(-len(train) // choice.batch_size)
        groups = [
            {
                "params": list(model.backbone.parameters()),
                "weight_decay": choice.backbone_weight_decay,
            },
            {"params": list(model.codec.parameters()), "weight_decay": choice.weight_decay},
        ]
        groups = [group for group in groups if group["params"]]
        optimizer = torch.optim.AdamW(groups, lr=choice.learning_rate)
        peak = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, choice.learning_rate, steps, pct_start=choice.warmup, cycle_momentum=False
        )
        generator = torch.Generator().manual_seed(choice.seed)
        started = time.process_time()
        for _ in range(choice.epochs):
            for rows in torch.randperm(len(train), generator=generator).split(choice.batch_size):
                noise = torch.randn(len(rows), model.backbone.width, generator=generator)
                batch = collate(
                    model, [train[i] for i in rows], feature_noise=choice.feature_noise * noise
                )
                optimizer.zero_grad()
                objective.weighted(objective(batch)).mean().backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), choice.gradient_clip)
                optimizer.step()
                peak.step()
        return (time.process_time() - started) / choice.epochs

    def _measure(
        self,
        name: str,
        model: ReversibleModel,
        objective: Objective,
        seconds: float,
        batch_size: int,
    ) -> Result:
        batch = collate(model, self.examples["val"])
        with torch.no_grad():
            prediction = objective.predict(batch)
            terms = objective.terms(prediction, batch)
            occupancy = model.codec.occupancy(prediction.code).numpy()
            observed = model.codec.occupancy(model.codec.embed(batch.target)).numpy() > 0.5
        free = prediction.free.double().numpy()
        score = score_code(occupancy > best_threshold(occupancy, observed), observed)
        trained = _trip(model, prediction.features, batch.condition)
        first = collate(model, self.examples["val"][:batch_size])
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
    parser.add_argument("-o", "--output", type=Path, help="all figures, as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipes = {path.stem: make_recipe(read_recipe(path), str(path)) for path in arguments.recipes}
    (start,) = {recipe.start for recipe in recipes.values()}
    race = Race(start[0], arguments.data, arguments.limit)
    print(", ".join(f"{len(part)} {split}" for split, part in race.examples.items()), flush=True)
    results = []
    for name, recipe in recipes.items():
        results.append(race.run(name, recipe))
        print("\n".join(table(results[-1:])), flush=True)
        if arguments.output:
            arguments.output.write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n")
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
