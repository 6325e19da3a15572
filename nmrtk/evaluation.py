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
from typing import Any

import nmrtk
from nmrtk import seed_paper
from nmrtk.accuracy import MODEL_NAME, CodeSection, evaluate_code
from nmrtk.atomic import file_sha256
from nmrtk.checkpoint import LoadedModel
from nmrtk.cohort import Cohort, Report, cohort_of, make_cohort, representable, run_forward
from nmrtk.competitors import Competitor, bins_of, measure_baseline, occupied_bins
from nmrtk.errors import UsageError
from nmrtk.evaluation_data import Material, Plan, read_material
from nmrtk.generation import (
    GenerationSection,
    RetrievalSection,
    evaluate_generation,
    evaluate_retrieval,
)
from nmrtk.interfaces import Baseline, Example
from nmrtk.line_accuracy import LinePredictions, LineSection, evaluate_lines
from nmrtk.model import ReversibleModel
from nmrtk.molecule import Molecule
from nmrtk.molecule_groups import (
    MoleculeGroup,
    element_groups,
    nearest_similarity,
    novelty_groups,
    size_groups,
)
from nmrtk.plugins import build, registry
from nmrtk.prediction import predicted_spectra
from nmrtk.reliability import ConfidenceSection, evaluate_confidence
from nmrtk.reversibility import (
    FreeSection,
    ReversibilitySection,
    evaluate_free,
    evaluate_reversibility,
)
from nmrtk.scoring import best_threshold
from nmrtk.spectrum import Spectrum
from nmrtk.tables import Table

LEAST_DRAWS = 2
"""Fewer draws for a spectrum have no variation."""

Progress = Callable[[str, int, int], None]
"""Told the stage, and how many of how many items are done."""


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
        confidence: whether the probabilities of candidates are true.
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
    confidence: ConfidenceSection
    seconds: dict[str, float]
    notes: list[str]

    def tables(self) -> list[Table]:
        """The sections as tables, in the order of the report."""
        others = (
            *(self.reversibility, self.free, self.generation, self.retrieval),
            self.confidence,
        )
        return [
            self.code.table(),
            *(self.lines.tables() if self.lines is not None else []),
            *(section.table() for section in others if section is not None),
        ]

    def to_json(self) -> str:
        """The report as JSON; figures that do not exist are null."""
        document = {**self.about, "seed_paper": seed_paper.CITATION}
        names = (
            *("code", "lines", "reversibility", "free", "generation", "retrieval"),
            "confidence",
        )
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
        learns_lines = any(baseline.learns_atoms for baseline in baselines.values())
        material = read_material(loaded, plan, learns_lines=learns_lines)
    with clock.stage("preparing") as report:
        cohort = make_cohort(model, material.chosen, plan.split, report)
        train = representable(model, material.train, report)
        material = replace(material, train=train)
    with clock.stage("forward") as report:
        forward = run_forward(model, cohort, report)
    with clock.stage("val") as report:
        val = _val_cohort(loaded, plan, material, cohort, report)
        implied_threshold = _implied_threshold(model, val, report) if val else None
    with clock.stage("assigned lines") as report:
        assigned, assigned_spectra = _predict_assigned(loaded, material.assigned, report)
    competitors = _measure_baselines(baselines, material, val, cohort, assigned, clock)
    with clock.stage("code and lines"):
        spectra = None
        if forward.lines is not None:
            prediction = forward.prediction(model.codec.width)
            spectra = predicted_spectra(loaded, prediction, cohort.molecules)
        code = evaluate_code(
            *(model.codec, loaded.calibration.occupancy_threshold, forward),
            *(bins_of(model.codec, material.train), competitors, plan.seed),
            *(spectra, implied_threshold),
        )
        predictions = [
            LinePredictions(c.name, c.spectra, c.assigned_spectra or ())
            for c in competitors
            if c.spectra is not None
        ]
        if spectra is not None:
            predictions.insert(0, LinePredictions(MODEL_NAME, spectra, assigned_spectra))
    with clock.stage("lines by molecule"):
        lines = None
        if predictions:
            groups = _groups(cohort.molecules, material.known)
            lines = evaluate_lines(
                *(model.nucleus, cohort.examples, predictions, assigned, groups),
                unit=model.codec.unit,
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
    with clock.stage("confidence") as report:
        confidence = evaluate_confidence(loaded, cohort, forward, report)
    about = _describe(loaded, plan, material, cohort, competitors)
    return Evaluation(
        *(about, code, lines, reversibility, free, generation, retrieval, confidence),
        seconds=clock.seconds,
        notes=_notes(loaded, plan, about, cohort),
    )


def _build_baselines(loaded: LoadedModel, plan: Plan) -> dict[str, Baseline]:
    """Baselines by name, so that a misspelt one is found before the work starts."""
    codec = loaded.model.codec
    return {name: build("baselines", name, None, codec) for name in plan.baselines}


def _val_cohort(
    loaded: LoadedModel, plan: Plan, material: Material, cohort: Cohort, report: Report
) -> Cohort | None:
    """What is tuned on; None where there is nothing to tune, or no such split."""
    if not material.val:
        return None
    if plan.split == "val" and not plan.limit:
        return cohort
    return make_cohort(loaded.model, material.val, "val", report)


def _implied_threshold(model: ReversibleModel, val: Cohort, report: Report) -> float | None:
    """The best threshold for the code that predicted lines imply; None where they imply none."""
    forward = run_forward(model, val, report)
    if forward.implied is None:
        return None
    occupancy = model.codec.occupancy(forward.implied).numpy()
    return best_threshold(occupancy, occupied_bins(model.codec, forward.target))


def _predict_assigned(
    loaded: LoadedModel, examples: Sequence[Example], report: Report
) -> tuple[list[Example], list[Spectrum]]:
    """The examples that the model can represent, and the spectra that its lines are; no spectra
    where it predicts no lines.
    """
    model = loaded.model
    cohort = cohort_of(model, examples, report)
    if not cohort.examples:
        return [], []
    forward = run_forward(model, cohort, report)
    if forward.lines is None:
        return cohort.examples, []
    prediction = forward.prediction(model.codec.width)
    return cohort.examples, predicted_spectra(loaded, prediction, cohort.molecules)


def _measure_baselines(
    baselines: dict[str, Baseline],
    material: Material,
    val: Cohort | None,
    cohort: Cohort,
    assigned: Sequence[Example],
    clock: _Clock,
) -> list[Competitor]:
    if val is None:
        return []
    competitors = []
    for name, baseline in baselines.items():
        training: Sequence[Example] = material.train
        if baseline.learns_atoms and material.assigned_train is not None:
            training = material.assigned_train
        with clock.stage(f"baseline {name}"):
            competitors.append(measure_baseline(name, baseline, training, val, cohort, assigned))
    return competitors


def _groups(molecules: Sequence[Molecule], known: Sequence[Molecule]) -> list[MoleculeGroup]:
    similarities = nearest_similarity(molecules, known)
    return [
        *size_groups(molecules),
        *element_groups(molecules),
        *novelty_groups(similarities),
    ]


def _describe(
    loaded: LoadedModel,
    plan: Plan,
    material: Material,
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
            "assigned": len(material.assigned),
        },
        "baselines": {c.name: {"learned_from": c.learned_from} for c in competitors},
        "assigned": None if plan.assigned is None else str(plan.assigned),
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
