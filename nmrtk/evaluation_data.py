"""What an evaluation is about: the plan, and the examples of the splits that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nmrtk.checkpoint import LoadedModel
from nmrtk.dataset import DataSet
from nmrtk.errors import UsageError
from nmrtk.interfaces import Example
from nmrtk.molecule import Molecule
from nmrtk.splits import rows_of_split, skeleton_of


@dataclass(frozen=True, slots=True)
class Plan:
    """What to evaluate, and on what.

    Args:
        data: an nmrtk data set.
        split: `train`, `val` or `test`, under the model's own rule.
        baselines: names of baselines to fit and measure beside the model.
        assigned: data set with assigned lines. Its molecules of the split show the errors at the
            true atoms; from those of train, baselines that can use them learn. None takes the
            assigned lines of `data`.
        limit: evaluate so many molecules, chosen at random; 0 for all.
        draws: free parts for each spectrum.
        seed: of everything random.
    """

    data: Path
    split: str = "test"
    baselines: tuple[str, ...] = ()
    assigned: Path | None = None
    limit: int = 0
    draws: int = 100
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Material:
    """Examples of the splits that an evaluation needs.

    Args:
        data: the data set.
        chosen: those to evaluate.
        in_split: how many the split has.
        train: what baselines learn from.
        known: the molecules that the model may have learned from.
        val: empty where nothing is tuned.
        assigned: those of the split with assigned lines.
        assigned_train: those of train; None where baselines learn from `train`.
    """

    data: DataSet
    chosen: list[Example]
    in_split: int
    train: list[Example]
    known: list[Molecule]
    val: list[Example]
    assigned: list[Example]
    assigned_train: list[Example] | None


def read_material(loaded: LoadedModel, plan: Plan, *, learns_lines: bool) -> Material:
    """Read the splits.

    Args:
        loaded: the model to evaluate.
        plan: what to evaluate, and on what.
        learns_lines: whether a baseline learns from assigned lines.

    Raises:
        UsageError: a split is unknown or empty, or no assigned line can be used.
        DataError: a data set cannot be read, or holds another nucleus than the model is for.
    """
    model, rule, incomplete = loaded.model, loaded.recipe.split, loaded.recipe.training.incomplete
    complete = incomplete != "all"
    with DataSet(plan.data) as data:
        data.require_nucleus(model.nucleus)
        examples = data.examples(rule, plan.split, complete_only=complete)
        train = data.examples(rule, "train", complete_only=complete)
        learned = train
        if incomplete == "lines":
            learned = data.examples(rule, "train", complete_only=False)
        val = []
        if plan.baselines or model.codec.reads_lines:
            try:
                val = data.examples(rule, "val", complete_only=complete)
            except UsageError:
                # Only baselines cannot do without.
                if plan.baselines:
                    raise
        assigned = [example for example in examples if _is_assigned(example)]
        assigned_train = None
        if plan.assigned is not None:
            assigned = _read_assigned(loaded, data, plan.assigned, plan.split)
            needed = plan.split, assigned
            if learns_lines:
                assigned_train = _read_assigned(loaded, data, plan.assigned, "train")
                needed = "train", assigned_train
            if not needed[1]:
                raise UsageError(
                    f"{plan.assigned} holds no assigned {data.nucleus} lines of molecules of the "
                    f"{needed[0]} split of {plan.data}: import assigned records, such as the SD "
                    "file of nmrshiftdb2"
                )
    return Material(
        data=data,
        chosen=_choose(examples, plan),
        in_split=len(examples),
        train=train,
        known=[example.molecule for example in learned],
        val=val,
        assigned=_choose(assigned, plan),
        assigned_train=assigned_train,
    )


def _choose(examples: Sequence[Example], plan: Plan) -> list[Example]:
    """As many as the limit allows, at random."""
    if not 0 < plan.limit < len(examples):
        return list(examples)
    order = np.random.default_rng(plan.seed).permutation(len(examples))
    return [examples[i] for i in np.sort(order[: plan.limit])]


def _read_assigned(loaded: LoadedModel, main: DataSet, path: Path, split: str) -> list[Example]:
    """Spectra with assigned lines, of molecules whose skeleton is in a split and in no other."""
    skeletons, splits, rule = main.skeletons(), main.splits(), loaded.recipe.split
    rows = rows_of_split(rule, split, splits, skeletons)
    inside = {skeletons[row] for row in rows}
    allowed = inside - {skeletons[row] for row in set(range(len(main))) - set(rows.tolist())}
    with DataSet(path) as data:
        data.require_nucleus(loaded.model.nucleus)
        wanted = [row for row, skeleton in enumerate(data.skeletons()) if skeleton in allowed]
        found = [
            Example(record.id, record.molecule, spectrum, skeleton_of(record.inchikey))
            for record in data.records(wanted)
            for spectrum in record.spectra
        ]
    return [example for example in found if _is_assigned(example)]


def _is_assigned(example: Example) -> bool:
    return any(peak.atoms for peak in example.spectrum.peaks)
