"""Evaluating a trained model: all sections of the report, with baselines in the same run."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import nmrtk
from nmrtk import seed_paper
from nmrtk.accuracy import CodeSection, LineSection, evaluate_code, evaluate_lines
from nmrtk.atomic import file_sha256
from nmrtk.checkpoint import LoadedModel
from nmrtk.cohort import Cohort, Report, make_cohort, representable, run_forward
from nmrtk.competitors import Competitor, bins_of, measure_baseline
from nmrtk.dataset import DataSet
from nmrtk.errors import UsageError
from nmrtk.generation import (
    GenerationSection,
    RetrievalSection,
    evaluate_generation,
    evaluate_retrieval,
)
from nmrtk.interfaces import Baseline, Example
from nmrtk.plugins import build, registry
from nmrtk.reversibility import (
    FreeSection,
    ReversibilitySection,
    evaluate_free,
    evaluate_reversibility,
)
from nmrtk.splits import rows_of_split, skeleton_of
from nmrtk.tables import Table

LEAST_DRAWS = 2
"""Fewer draws for a spectrum have no variation."""

Progress = Callable[[str, int, int], None]
"""Told the stage, and how many of how many items are done."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to evaluate, and on what.

    Args:
        data: an nmrtk data set.
        split: `train`, `val` or `test`, under the model's own rule.
        baselines: names of baselines to fit and measure beside the model.
        baseline_data: data set with assigned lines, from which baselines that predict lines
            learn instead; only molecules with a skeleton of the train split are taken.
        limit: evaluate so many molecules, chosen at random; 0 for all.
        draws: free parts for each spectrum.
        seed: of everything random.
    """

    data: Path
    split: str = "test"
    baselines: tuple[str, ...] = ()
    baseline_data: Path | None = None
    limit: int = 0
    draws: int = 100
    seed: int = 0


@dataclass(slots=True)
class Evaluation:
    """All figures of one run.

    Args:
        about: what was evaluated with what, ready for JSON.
        code: which bins hold a line.
        lines: errors of predicted lines; None where nobody predicts any.
        reversibility: round trips.
        free: the free part; None where there is none.
        generation: structures from spectra.
        retrieval: molecules found from spectra.
        seconds: of each stage.
        notes: what a reader of the figures must know.
    """

    about: dict[str, Any]
    code: CodeSection
    lines: LineSection | None
    reversibility: ReversibilitySection
    free: FreeSection | None
    generation: GenerationSection
    retrieval: RetrievalSection
    seconds: dict[str, float]
    notes: list[str]

    def tables(self) -> list[Table]:
        """The sections as tables, in the order of the report."""
        sections = (
            *(self.code, self.lines, self.reversibility),
            *(self.free, self.generation, self.retrieval),
        )
        return [section.table() for section in sections if section is not None]

    def to_json(self) -> str:
        """The report as JSON; figures that do not exist are null."""
        document = {**self.about, "seed_paper": seed_paper.CITATION}
        names = ("code", "lines", "reversibility", "free", "generation", "retrieval")
        for name in names:
            section = getattr(self, name)
            document[name] = None if section is None else asdict(section)
        document |= {"seconds": self.seconds, "notes": self.notes}
        return json.dumps(_finite(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def heading(self) -> str:
        """One paragraph that says what was evaluated."""
        about, counts = self.about, self.about["counts"]
        return (
            f"{about['model']['path']} on the split {about['split']['name']!r} of "
            f"{about['data']['path']}: {counts['evaluated']} of {counts['in_split']} molecules. "
            f"Figures of the seed paper, for {seed_paper.DATA}: {seed_paper.CITATION}."
        )

    def to_markdown(self) -> str:
        """The report as Markdown."""
        parts = [self.heading(), *(table.to_markdown() for table in self.tables())]
        if self.notes:
            parts.append("\n".join(["### Notes", "", *(f"- {note}" for note in self.notes)]))
        return "\n\n".join(parts) + "\n"


@dataclass(slots=True)
class _Clock:
    """Times the stages, and reports their progress."""

    on_progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[Report]:
        started = time.perf_counter()
        self.on_progress(name, 0, 1)
        yield lambda done, total: self.on_progress(name, done, total)
        self.on_progress(name, 1, 1)
        self.seconds[name] = round(time.perf_counter() - started, 3)


@dataclass(frozen=True, slots=True)
class _Material:
    """Examples of the splits that an evaluation needs."""

    data: DataSet
    chosen: list[Example]
    in_split: int
    train: list[Example]
    val: list[Example]
    assigned: list[Example] | None


def evaluate(
    loaded: LoadedModel, plan: Plan, on_progress: Progress = lambda stage, done, total: None
) -> Evaluation:
    """Measure a model in both directions, and baselines on the same molecules.

    Args:
        loaded: as `nmrtk.load` gives it.
        plan: what to do.
        on_progress: told of the progress.

    Raises:
        UsageError: an unknown or empty split, an unknown baseline, one that lacks data, or a
            model that can represent none of the molecules.
        DataError: a data set cannot be read, or holds another nucleus than the model is for.
    """
    if plan.draws < LEAST_DRAWS:
        raise UsageError(f"draws is {plan.draws}: at least {LEAST_DRAWS} are needed")
    model, clock = loaded.model, _Clock(on_progress)
    baselines = _build_baselines(loaded, plan)
    with clock.stage("reading"):
        material = _read(loaded, plan)
    with clock.stage("preparing") as report:
        cohort = make_cohort(model, material.chosen, plan.split, report)
        train = representable(model, material.train, report)
        material = replace(material, train=train)
    with clock.stage("forward") as report:
        forward = run_forward(model, cohort, report)
    competitors = _measure_baselines(loaded, plan, baselines, material, cohort, clock)
    with clock.stage("code and lines"):
        threshold = loaded.calibration.occupancy_threshold
        bins = bins_of(model.codec, material.train)
        code = evaluate_code(model.codec, threshold, forward, bins, competitors, plan.seed)
        lines = evaluate_lines(
            loaded.calibration.sigma_factor, cohort, forward, model.nucleus, competitors
        )
    with clock.stage("round trips") as report:
        reversibility = evaluate_reversibility(model, forward, plan.seed, report)
    with clock.stage("free part"):
        skeletons = [example.skeleton or example.id for example in cohort.examples]
        free = evaluate_free(forward, model.codec.width, skeletons, plan.seed)
    with clock.stage("generation") as report:
        generation, means = evaluate_generation(
            model, cohort, forward, plan.draws, plan.seed, report
        )
    with clock.stage("retrieval"):
        retrieval = evaluate_retrieval(model, cohort, forward, means)
    about = _describe(loaded, plan, material, cohort, competitors)
    return Evaluation(
        *(about, code, lines, reversibility, free, generation, retrieval, clock.seconds),
        notes=_notes(loaded, plan, about, cohort),
    )


def _build_baselines(loaded: LoadedModel, plan: Plan) -> dict[str, Baseline]:
    """Baselines by name, so that a misspelt one is found before the work starts."""
    codec = loaded.model.codec
    built = {name: build("baselines", name, None, codec) for name in plan.baselines}
    if plan.baseline_data is not None and not any(b.predicts_lines for b in built.values()):
        raise UsageError(
            "the data set for baselines is only used by baselines that predict lines: name one "
            "with --baseline, such as hose"
        )
    return built


def _read(loaded: LoadedModel, plan: Plan) -> _Material:
    """Read the splits."""
    rule, complete = loaded.recipe.split, loaded.recipe.training.complete_only
    with DataSet(plan.data) as data:
        data.require_nucleus(loaded.model.nucleus)
        examples = data.examples(rule, plan.split, complete_only=complete)
        train = data.examples(rule, "train", complete_only=complete)
        val = data.examples(rule, "val", complete_only=complete) if plan.baselines else []
        assigned = None
        if plan.baseline_data is not None:
            assigned = _read_assigned(loaded, data, plan.baseline_data)
    chosen = examples
    if 0 < plan.limit < len(examples):
        order = np.random.default_rng(plan.seed).permutation(len(examples))
        chosen = [examples[i] for i in np.sort(order[: plan.limit])]
    return _Material(data, chosen, len(examples), train, val, assigned)


def _read_assigned(loaded: LoadedModel, main: DataSet, path: Path) -> list[Example]:
    """Spectra with assigned lines, of molecules whose skeleton is in train and nowhere else.

    Raises:
        UsageError: there are none.
    """
    skeletons, splits, rule = main.skeletons(), main.splits(), loaded.recipe.split
    rows = rows_of_split(rule, "train", splits, skeletons)
    train = {skeletons[row] for row in rows}
    allowed = train - {skeletons[row] for row in set(range(len(main))) - set(rows.tolist())}
    with DataSet(path) as data:
        data.require_nucleus(loaded.model.nucleus)
        wanted = [row for row, skeleton in enumerate(data.skeletons()) if skeleton in allowed]
        found = [
            Example(record.id, record.molecule, spectrum, skeleton_of(record.inchikey))
            for record in data.records(wanted)
            for spectrum in record.spectra
            if any(peak.atoms for peak in spectrum.peaks)
        ]
    if not found:
        raise UsageError(
            f"{path} holds no assigned {loaded.model.nucleus} lines of molecules of the train "
            f"split of {main.path}: import assigned records, such as the SD file of nmrshiftdb2"
        )
    return found


def _measure_baselines(
    loaded: LoadedModel,
    plan: Plan,
    baselines: dict[str, Baseline],
    material: _Material,
    cohort: Cohort,
    clock: _Clock,
) -> list[Competitor]:
    if not baselines:
        return []
    with clock.stage("preparing val") as report:
        val = cohort
        if plan.split != "val" or plan.limit:
            val = make_cohort(loaded.model, material.val, "val", report)
    competitors = []
    for name, baseline in baselines.items():
        training: Sequence[Example] = material.train
        if baseline.predicts_lines and material.assigned is not None:
            training = material.assigned
        with clock.stage(f"baseline {name}"):
            competitors.append(measure_baseline(name, baseline, training, val, cohort))
    return competitors


def _describe(
    loaded: LoadedModel,
    plan: Plan,
    material: _Material,
    cohort: Cohort,
    competitors: Sequence[Competitor],
) -> dict[str, Any]:
    """Everything that is needed to repeat the run."""
    recipe = loaded.recipe
    parts = {
        "structure_encoders": recipe.encoder.name,
        "spectrum_codecs": recipe.codec.name,
        "invertible_backbones": recipe.backbone.name,
    }
    owners = {name: registry().versions(kind, name) for kind, name in parts.items()}
    owners |= {name: registry().versions("baselines", name) for name in plan.baselines}
    return {
        "versions": {
            "nmrtk": nmrtk.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "rdkit", "scikit-learn")},
            "parts": owners,
        },
        "model": {
            "path": str(loaded.path),
            "sha256": file_sha256(loaded.path),
            "parameters": sum(p.numel() for p in loaded.model.parameters()),
            "recipe": recipe.model_dump(),
            "calibration": asdict(loaded.calibration),
            "training": loaded.training,
        },
        "data": {
            "path": str(plan.data),
            "sha256": file_sha256(plan.data),
            "nucleus": str(material.data.nucleus),
            "provenance": material.data.provenance,
        },
        "split": {"name": plan.split, **recipe.split.model_dump()},
        "counts": {
            "in_split": material.in_split,
            "chosen": len(material.chosen),
            "evaluated": len(cohort),
            "left_out": cohort.left_out,
            "first_left_out": cohort.first_reason,
            "train": len(material.train),
        },
        "baselines": {c.name: {"learned_from": c.learned_from} for c in competitors},
        "baseline_data": None if plan.baseline_data is None else str(plan.baseline_data),
        "limit": plan.limit,
        "draws": plan.draws,
        "seed": plan.seed,
    }


def _notes(loaded: LoadedModel, plan: Plan, about: dict[str, Any], cohort: Cohort) -> list[str]:
    notes = []
    if cohort.left_out:
        notes.append(
            f"{cohort.left_out} molecules were left out for all competitors, because the model "
            f"cannot represent them; the first, {cohort.first_reason}"
        )
    if plan.split == "val":
        notes.append(
            "Thresholds and sigmas were tuned on val, on which the model was also selected: the "
            "figures at the tuned threshold and the coverage flatter all competitors."
        )
    if plan.split == "train":
        notes.append("The split is train: these figures say how well was learned by heart.")
    trained_on = loaded.training.get("data", {}).get("sha256")
    if trained_on is not None and trained_on != about["data"]["sha256"]:
        leak = loaded.recipe.split.kind == "random"
        notes.append(
            "The data set is not the one that the model was trained on"
            + (": its random split may hold molecules that trained the model." if leak else ".")
        )
    if limit := loaded.recipe.training.limit:
        notes.append(f"The model learned from {limit} molecules of train, baselines from all.")
    return notes


def _finite(value: Any) -> Any:
    """The same, with None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
