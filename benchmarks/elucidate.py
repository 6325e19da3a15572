"""How often the right structure is found for measured lines, and whether probabilities are true.

    python benchmarks/elucidate.py 13c --data c13.h5 -o found/

Searches the molecules of `benchmarks/elucidate_test.json` (ids of the test split), for each setting
and size:

    a  formula, lines with multiplicity, equivalent carbons repeated
    b  formula, lines with multiplicity, each once
    c  formula, bare lines, each once
    d  bare lines alone
    r  bare lines, each once, and a library in which the right structure stands: `--library`, as
       `nmrtk library build` makes it

Beside it, with `--baseline`: `random-isomers`, which the forward direction ranks;
`nearest-spectrum`, the training molecule whose measured spectrum is most alike; and `seed`, the
seed system decoding: `--seed-model` names a training of `examples/recipes/seed.toml` on the same
data.

Every answer is kept in `found/answers.jsonl` as soon as it is there; the same command given again
goes on after it. `--split val` takes val molecules instead, by the same rule, and `--fit` then fits
how much searches miss to their answers and stores it in the model's file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from elucidate_baselines import NearestSpectra, RandomIsomers
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator, rdRascalMCES
from rdkit.DataStructs import TanimotoSimilarity

from nmrtk.checkpoint import LoadedModel, load_model, recalibrate
from nmrtk.coverage import Coverage
from nmrtk.dataset import DataSet
from nmrtk.elucidation import Elucidation, elucidate
from nmrtk.errors import NmrtkError
from nmrtk.formula import Formula
from nmrtk.interfaces import Example
from nmrtk.library import Library
from nmrtk.molecule import Molecule, canonical_smiles, parse_smiles
from nmrtk.options import parse_assignments
from nmrtk.plugins import build
from nmrtk.query import Query
from nmrtk.recipe import SplitChoice
from nmrtk.reliability import measure_reliability
from nmrtk.score_fit import ScoredSet, fit_made_up, scored_set
from nmrtk.score_settings import ScoreSettings
from nmrtk.spectrum import Peak, Spectrum
from nmrtk.tables import Table, fixed, percent

IDS = Path(__file__).with_name("elucidate_test.json")
SIZES = {"6-16": (6, 16), "17-24": (17, 24), "25-36": (25, 36)}
SETTINGS = {
    "a": tuple(SIZES),
    "b": ("6-16",),
    "c": tuple(SIZES),
    "d": ("6-16",),
    "r": tuple(SIZES),
}
MOLECULES = {"a": 40, "b": 30, "c": 40, "d": 30, "r": 40}
RETRIEVAL = "r"
WEIGHTS = ("free_weight", "structure_weight")
BASELINES = ("random-isomers", "nearest-spectrum", "seed")
OURS, LIBRARY = "nmrtk", "library"
SCORED = (OURS, LIBRARY)  # by the model, with probabilities
_SHUFFLE = 20
_MCES_SECONDS = 5
_FINGERPRINT = rdFingerprintGenerator.GetMorganGenerator(radius=2)

Row = dict[str, Any]
Method = Callable[[Query], Elucidation]


@dataclass(frozen=True, slots=True)
class Task:
    """One search to make."""

    method: str
    setting: str
    size: str
    example: Example

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from others."""
        return self.method, self.setting, self.example.id


def main() -> None:
    """Search what is left, then print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="an installed model, or the folder or file of one")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--split", default="test", choices=["val", "test"])
    parser.add_argument("--settings", default="abcd", help="letters of those to search")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument(
        "--molecules", type=int, help="of each setting and size; of test, at most 75"
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="for each molecule")
    parser.add_argument("--library", type=Path, help="for setting r")
    parser.add_argument("--generator", default="refine")
    parser.add_argument("-G", dest="options", action="append", default=[], metavar="KEY=VALUE")
    for name in WEIGHTS:
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=float, help="instead of the fitted one; 0: without"
        )
    parser.add_argument(
        "--baseline", dest="baselines", action="append", default=[], choices=BASELINES
    )
    parser.add_argument("--seed-model", help="a training of the seed's recipe")
    parser.add_argument("--fit", action="store_true", help="store probabilities fitted to val")
    choices = parser.parse_args()
    if choices.fit and choices.split != "val":
        parser.error("--fit goes with --split val: test must not choose anything")
    if RETRIEVAL in choices.settings and choices.library is None:
        parser.error("setting r looks structures up: name a library with --library")

    loaded = load_model(choices.model)
    weights = {name: value for name in WEIGHTS if (value := getattr(choices, name)) is not None}
    if weights:
        score = replace(loaded.calibration.score, **weights)
        loaded = replace(loaded, calibration=replace(loaded.calibration, score=score))
    choices.output.mkdir(parents=True, exist_ok=True)
    answers = choices.output / "answers.jsonl"
    rows = read_rows(answers)
    methods = choose_methods(choices, loaded)
    tasks = [task for method in methods for task in choose_tasks(choices, method)]
    open_tasks = [task for task in tasks if task.key not in rows]
    with answers.open("a", encoding="utf-8") as file:
        for number, task in enumerate(open_tasks, start=1):
            row = answer_row(loaded, methods[task.method], task, choices.seconds)
            file.write(json.dumps(row) + "\n")
            file.flush()
            rows[task.key] = row
            what = f"{task.method} {task.setting} {task.size}"
            print(f"{number}/{len(open_tasks)} {what} rank {row['rank']}", flush=True)
    found = [rows[task.key] for task in tasks]
    ours = [row for row in found if row["method"] in SCORED]
    settings = loaded.calibration.score
    if choices.fit:
        settings = fit_made_up([set_of(row) for row in ours], settings)
        recalibrate(loaded.path, replace(loaded.calibration, score=settings))
        print(f"Stored in {loaded.path}: {settings}")
    tables = [accuracy_table(found), *reliability_tables(ours, settings)]
    text = "\n\n".join(table.to_markdown() for table in tables) + "\n"
    (choices.output / "report.md").write_text(text, encoding="utf-8")
    print(text)


def choose_methods(choices: argparse.Namespace, loaded: LoadedModel) -> dict[str, Method]:
    """What answers the queries, by name."""
    options = parse_assignments(choices.options, "-G")
    searcher = build("candidate_generators", choices.generator, options)
    methods: dict[str, Method] = {
        OURS: lambda query: elucidate(loaded, query, {choices.generator: searcher})
    }
    if RETRIEVAL in choices.settings:
        library = Library(choices.library, loaded)
        finder = build("candidate_generators", "library")
        methods[LIBRARY] = lambda query: elucidate(
            loaded, replace(query, library=library), {"library": finder}
        )
    if "random-isomers" in choices.baselines:
        random = RandomIsomers()
        methods["random-isomers"] = lambda query: elucidate(loaded, query, {"random": random})
    if "nearest-spectrum" in choices.baselines:
        with DataSet(choices.data) as data:
            known = data.examples(SplitChoice(), "train", complete_only=True)
        methods["nearest-spectrum"] = NearestSpectra(loaded.model.codec, known).answer
    if "seed" in choices.baselines:
        if choices.seed_model is None:
            raise SystemExit("--baseline seed: name its training with --seed-model")
        seed = load_model(choices.seed_model)
        decoder = build("candidate_generators", "decode")
        methods["seed"] = lambda query: elucidate(seed, query, {"decode": decoder})
    return methods


def choose_tasks(choices: argparse.Namespace, method: str) -> Iterator[Task]:
    """The searches that were asked for, setting by setting."""
    with DataSet(choices.data) as data:
        examples = data.examples(SplitChoice(), choices.split, complete_only=True)
    chosen = choose_molecules(examples)
    if choices.split == "test":
        by_id = {example.id: example for example in examples}
        wanted = json.loads(IDS.read_text(encoding="utf-8"))
        chosen = {size: [by_id[name] for name in names] for size, names in wanted.items()}
    for setting in choices.settings:
        if (setting == RETRIEVAL) != (method == LIBRARY):
            continue
        for size in SETTINGS[setting]:
            if size in choices.sizes:
                most = choices.molecules or MOLECULES[setting]
                for example in chosen[size][:most]:
                    yield Task(method, setting, size, example)


def choose_molecules(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """Molecules of one part without isotopes and radicals, at random, for each size."""
    order = np.random.default_rng(_SHUFFLE).permutation(len(examples))
    usable = [examples[i] for i in order.tolist() if _is_usual(examples[i].molecule)]
    return {
        size: [one for one in usable if low <= one.molecule.GetNumAtoms() <= high]
        for size, (low, high) in SIZES.items()
    }


def _is_usual(molecule: Molecule) -> bool:
    odd = (atom.GetIsotope() or atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    return len(Chem.GetMolFrags(molecule)) == 1 and not any(odd)


def as_given(spectrum: Spectrum, setting: str) -> Spectrum:
    """The lines of a setting."""
    if setting == "a":
        return spectrum
    letters = setting == "b"
    seen = {(peak.ppm, peak.multiplicity if letters else "") for peak in spectrum.peaks}
    peaks = tuple(Peak(ppm, multiplicity=letter) for ppm, letter in sorted(seen))
    return Spectrum(spectrum.nucleus, peaks)


def answer_row(loaded: LoadedModel, method: Method, task: Task, seconds: float) -> Row:
    """Search one molecule."""
    molecule = task.example.molecule
    lines = as_given(task.example.spectrum, task.setting)
    formula = None if task.setting in "dr" else Formula.of_molecule(molecule)
    truth = canonical_smiles(molecule)
    row: Row = {"method": task.method, "setting": task.setting, "size": task.size}
    row |= {"id": task.example.id, "rank": 0}
    try:
        result = method(Query(task.example.id, lines, formula, seconds=seconds))
    except NmrtkError as error:
        return row | {"error": str(error), "candidates": 0, "probability": 0.0}
    names = [canonical_smiles(parse_smiles(one.smiles)) for one in result.candidates]
    rank = names.index(truth) + 1 if truth in names else 0
    row |= {
        "rank": rank,
        "candidates": len(names),
        "probability": result.candidates[0].probability if names else 0.0,
        "none_of_these": result.none_of_these,
        "seconds": round(result.seconds, 2),
        "of_formula": _share_of_formula(names, formula),
    }
    if names:
        row |= likeness(molecule, parse_smiles(names[0]))
    if task.method not in SCORED:
        return row
    return row | stored_set(result, names, rank, loaded)


def _share_of_formula(names: Iterable[str], formula: Formula | None) -> float | None:
    if formula is None:
        return None
    right = [Formula.of_molecule(parse_smiles(name)) == formula for name in names]
    return fmean(right) if right else None


def likeness(truth: Molecule, first: Molecule) -> Row:
    """Tanimoto similarity, and the number of bonds that are not common to both (MCES)."""
    plain = parse_smiles(canonical_smiles(truth))
    row: Row = {
        "tanimoto": TanimotoSimilarity(
            _FINGERPRINT.GetFingerprint(plain), _FINGERPRINT.GetFingerprint(first)
        )
    }
    options: Any = rdRascalMCES.RascalOptions()
    options.similarityThreshold = 0.0
    options.timeout = _MCES_SECONDS
    results = rdRascalMCES.FindMCES(plain, first, options)
    if results:
        common = len(results[0].bondMatches())
        row["mces"] = plain.GetNumBonds() + first.GetNumBonds() - 2 * common
    return row


def stored_set(result: Elucidation, names: Sequence[str], rank: int, loaded: LoadedModel) -> Row:
    """What a fit of the probabilities needs."""
    right = names[rank - 1] if rank else ""
    one = scored_set(
        result,
        lambda smiles: bool(right) and canonical_smiles(parse_smiles(smiles)) == right,
        loaded.calibration.score,
    )
    return {
        "scores": [round(float(score), 3) for score in one.scores],
        "coverage": asdict(one.coverage),
    }


def set_of(row: Row) -> ScoredSet:
    """The stored set of an answer."""
    scores = np.array(row.get("scores", []), np.float64)
    coverage = Coverage(**row["coverage"]) if "scores" in row else Coverage(0)
    return ScoredSet(scores, row["rank"] - 1, coverage)


def read_rows(path: Path) -> dict[tuple[str, str, str], Row]:
    """Answers that are there already; left out are a line that an interruption cut off, and answers
    of versions that did not store all that a fit needs.
    """
    rows = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if "scores" not in row or "coverage" in row:
                rows[row["method"], row["setting"], row["id"]] = row
    return rows


def accuracy_table(rows: Sequence[Row]) -> Table:
    """A row a method, setting and size."""
    columns = ["", "setting", "heavy atoms", "molecules", "top-1", "top-10", "found"]
    columns += ["of the formula", "Tanimoto", "MCES", "seconds"]
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["setting"], row["size"]), []).append(row)
    lines = []
    for names, group in groups.items():
        ranks = [row["rank"] for row in group]
        lines.append(
            [*names, str(len(group))]
            + [percent(fmean(0 < rank <= most for rank in ranks)) for most in (1, 10, 10**9)]
            + [percent(_mean(group, "of_formula")), fixed(_mean(group, "tanimoto"), 2)]
            + [fixed(_mean(group, "mces"), 1), fixed(_mean(group, "seconds"), 1)]
        )
    note = (
        "The same constitution, without stereo, counts as right. Tanimoto (Morgan, radius 2) and "
        "number of bonds that are not common (MCES) compare the first candidate with the truth."
    )
    return Table("Structures found", columns, lines, (note,))


def reliability_tables(rows: Sequence[Row], settings: ScoreSettings) -> list[Table]:
    """Stated against observed, of each setting.

    Stated is what the settings make of the scores: a fit needs no new search.
    """
    tables = []
    for setting in dict.fromkeys(row["setting"] for row in rows):
        chosen = [row for row in rows if row["setting"] == setting]
        found = measure_reliability(
            [float(set_of(row).probabilities(settings)[:-1].max(initial=0.0)) for row in chosen],
            np.array([row["rank"] == 1 for row in chosen]),
        )
        tables.append(
            Table(
                f"Confidence in setting {setting}",
                ["first candidate", "queries", "stated", "right"],
                found.rows(),
                (found.note,),
            )
        )
    return tables


def _mean(rows: Sequence[Row], name: str) -> float | None:
    values = [row[name] for row in rows if row.get(name) is not None]
    return fmean(values) if values else None


if __name__ == "__main__":
    main()
