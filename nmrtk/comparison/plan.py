"""What is compared: recipes, seeds, data; checked as a whole before any training starts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmrtk import __version__
from nmrtk.atomic import cause_of, file_sha256, write_bytes
from nmrtk.checkpoint import find_model
from nmrtk.dataset import DataSet
from nmrtk.errors import DataError, NmrtkError, UsageError
from nmrtk.model import build_model
from nmrtk.nucleus import Nucleus
from nmrtk.plugins import build
from nmrtk.recipe import Part, Recipe, make_recipe, read_recipe
from nmrtk.run_folder import DataReference
from nmrtk.splits import rows_of_split

PLAN_FILE = "comparison.json"
RUNS_FOLDER = "runs"
MEASURED_SPLITS = ("val", "test")
"""Those that a model has not learned from."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A recipe that takes part.

    Args:
        name: of its file, without the ending.
        recipe: its choices.
        parameters: of the model that it builds.
    """

    name: str
    recipe: Recipe
    parameters: int

    def with_seed(self, seed: int) -> Recipe:
        """Its recipe with another seed for the training."""
        training = self.recipe.training.model_copy(update={"seed": seed})
        return self.recipe.model_copy(update={"training": training})

    def choices(self) -> dict[str, Any]:
        """Every choice but the seed, by dotted name, such as `encoder.hidden_dim`."""
        found = dict(_flat(self.recipe.model_dump(mode="json")))
        del found["training.seed"]
        return found


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """What to train and to measure.

    Args:
        contenders: the first is what the others are compared with.
        data: the data set of all.
        folder: for trainings and results.
        seeds: number of trainings of each recipe; their seeds are 0, 1, ...
        split: on which the trained models are measured.
        codec: into its bins go the lines of all.
    """

    contenders: tuple[Contender, ...]
    data: DataReference
    folder: Path
    seeds: int
    split: str
    codec: Part

    def runs(self) -> Iterator[tuple[Contender, int]]:
        """All trainings, seed by seed: after the first round every recipe has a figure."""
        for seed in range(self.seeds):
            for contender in self.contenders:
                yield contender, seed

    def run_folder(self, contender: Contender, seed: int) -> Path:
        """Where a training leaves its results."""
        return self.folder / RUNS_FOLDER / contender.name / f"seed-{seed}"


def read_contenders(paths: Sequence[Path]) -> tuple[Contender, ...]:
    """Read recipe files, each named after its file.

    Raises:
        UsageError: a file cannot be read, is no recipe, its parts do not fit, a model that it
            starts from is missing, or two have the same name.
    """
    found: dict[str, Path] = {}
    contenders = []
    for path in paths:
        name = path.stem
        if name in found:
            raise UsageError(
                f"{found[name]} and {path} are both called {name!r}: results go by the name of "
                "the file, rename one"
            )
        found[name] = path
        recipe = make_recipe(read_recipe(path), f"recipe {path}")
        try:
            model = build_model(recipe)
            for start in recipe.start:
                find_model(start)
        except NmrtkError as error:
            raise UsageError(f"recipe {path}: {error}") from error
        parameters = sum(tensor.numel() for tensor in model.parameters())
        contenders.append(Contender(name, recipe, parameters))
    return tuple(contenders)


def make_plan(
    recipes: Sequence[Path],
    data: Path,
    folder: Path,
    *,
    seeds: int = 3,
    split: str = "test",
    codec: str | None = None,
) -> ComparisonPlan:
    """Check everything that can be checked before training, and plan it.

    Args:
        recipes: files.
        data: an nmrtk data set.
        folder: for trainings and results.
        seeds: number of trainings of each recipe.
        split: on which the trained models are measured.
        codec: name of the codec into whose bins the lines of all go; None takes that of the first
            recipe, with its options.

    Raises:
        UsageError: a recipe cannot be read or its parts do not fit, two have one name or are not
            for the same nucleus and split, or the split is empty or neither val nor test.
        DataError: the data set cannot be read or holds another nucleus.
    """
    if split not in MEASURED_SPLITS:
        raise UsageError(
            f"{split!r} is no split to compare on: choose {' or '.join(MEASURED_SPLITS)}"
        )
    contenders = read_contenders(recipes)
    _require_common_ground(contenders)
    first = contenders[0].recipe
    common = first.codec if codec is None else Part(name=codec)
    build("spectrum_codecs", common.name, common.options, Nucleus.parse(first.nucleus))
    with DataSet(data) as opened:
        opened.require_nucleus(first.nucleus)
        for name in dict.fromkeys(("train", "val", split)):
            rows_of_split(first.split, name, opened.splits(), opened.skeletons())
    return ComparisonPlan(contenders, DataReference.of(data), folder, seeds, split, common)


def claim_folder(plan: ComparisonPlan) -> None:
    """Note in the folder what it is for; trainings that are there already must be for the same.

    More seeds and further recipes may join those that are there.

    Raises:
        UsageError: a recipe or the data set has changed, or the folder holds something else.
        DataError: the folder cannot be read or written.
    """
    path = plan.folder / PLAN_FILE
    recipes = {one.name: _identity(one) for one in plan.contenders}
    known = _read_claim(path)
    if known is None:
        if plan.folder.is_dir() and any(plan.folder.iterdir()):
            raise UsageError(
                f"{plan.folder} holds other files and no comparison: choose another folder with -o"
            )
    else:
        if known["data"]["sha256"] != plan.data.sha256:
            raise UsageError(
                f"{plan.folder} compares recipes on another data set, {known['data']['path']}, "
                f"than {plan.data.path} is: choose another folder with -o"
            )
        for name, identity in recipes.items():
            changes = _changes(known["recipes"].get(name, identity), identity)
            if changes:
                raise UsageError(
                    f"the recipe {name!r} is not the one that was trained in {plan.folder}: "
                    f"{'; '.join(changes)}. Give it another name, choose another folder with -o, "
                    f"or remove {plan.folder / RUNS_FOLDER / name} and its entry in {PLAN_FILE}"
                )
        recipes = {**known["recipes"], **recipes}
    document = {
        "nmrtk": __version__,
        "data": {"path": plan.data.path, "sha256": plan.data.sha256},
        "recipes": recipes,
    }
    write_bytes(path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())


def differing_choices(one: Contender, other: Contender) -> dict[str, tuple[Any, Any]]:
    """Choices, the seed aside, that differ between two recipes: name, both values; None stands
    for what a recipe does not say.
    """
    ours, theirs = one.choices(), other.choices()
    names = dict.fromkeys([*ours, *theirs])
    pairs = {name: (ours.get(name), theirs.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _require_common_ground(contenders: Sequence[Contender]) -> None:
    """What would have recipes measured on different molecules or lines must be the same."""
    first = contenders[0]
    for other in contenders[1:]:
        differing = [
            name
            for name in differing_choices(first, other)
            if name == "nucleus" or name.startswith("split.")
        ]
        whole = [one.recipe.training.incomplete == "all" for one in (first, other)]
        if whole[0] != whole[1]:
            differing.append("training.incomplete")
        if differing:
            texts = [
                f"{name} is {first.choices()[name]!r} in {first.name!r} and "
                f"{other.choices()[name]!r} in {other.name!r}"
                for name in differing
            ]
            raise UsageError(
                f"{'; '.join(texts)}: recipes are compared on the same lines of the same molecules"
            )


def _identity(contender: Contender) -> dict[str, Any]:
    """What makes trainings of two recipes the same: their choices, and the models they start
    from.
    """
    starts = {f"start {name}": file_sha256(find_model(name)) for name in contender.recipe.start}
    return {**contender.choices(), **starts}


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = [name for name in dict.fromkeys([*before, *now]) if before.get(name) != now.get(name)]
    return [f"{name} was {before.get(name)!r} and is {now.get(name)!r}" for name in names]


def _read_claim(path: Path) -> dict[str, Any] | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {cause_of(error)}") from error
    try:
        document: dict[str, Any] = json.loads(text)
        document["data"]["sha256"], document["data"]["path"], document["recipes"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({error!r}): choose another folder with -o") from error
    return document


def _flat(tables: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tables.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
