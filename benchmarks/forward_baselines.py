"""Baselines that predict lines, each fitted and run in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from forward_runs import Run, Usage
from numpy.typing import NDArray
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.DataStructs import BulkTanimotoSimilarity, ExplicitBitVect

from nmrtk.checkpoint import load_model
from nmrtk.evaluation_data import Plan, read_material
from nmrtk.interfaces import Example
from nmrtk.molecule import Molecule, parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.plugins import build
from nmrtk.spectrum import Peak, Spectrum

NEIGHBOURS = 3
"""Chosen on val; from 1 to 10 the error hardly changes."""


class NearestLines:
    """Lines of the most similar training molecules.

    The lines of one multiplicity are spread over the sites as the quantiles of the neighbours'
    lines of that multiplicity, the mean of neighbours weighted by Tanimoto similarity. So the
    baseline `nearest`, which gives a code only, can be compared in ppm.

    Args:
        nucleus: whose lines.
        examples: with complete spectra.
    """

    def __init__(self, nucleus: Nucleus, examples: Sequence[Example]) -> None:
        self._nucleus = nucleus
        self._morgan = GetMorganGenerator(radius=2, fpSize=2048)
        self._prints: list[ExplicitBitVect] = []
        self._lines: list[dict[str, list[float]]] = []
        usual: defaultdict[str, list[float]] = defaultdict(list)
        for example in examples:
            letters = sorted(nucleus.multiplicities(example.molecule))
            peaks = example.spectrum.peaks
            if not letters or sorted(peak.multiplicity for peak in peaks) != letters:
                continue
            lines: defaultdict[str, list[float]] = defaultdict(list)
            for peak in peaks:
                lines[peak.multiplicity].append(peak.ppm)
            for letter, shifts in lines.items():
                usual[letter].extend(shifts)
            self._prints.append(self._morgan.GetFingerprint(example.molecule))
            self._lines.append(dict(lines))
        self._usual = dict(usual)

    def __call__(self, molecule: Molecule) -> Spectrum:
        """One line a site; which atom of its multiplicity has it stays open."""
        fingerprint = self._morgan.GetFingerprint(molecule)
        similarity = np.array(BulkTanimotoSimilarity(fingerprint, self._prints))
        letters = self._nucleus.multiplicities(molecule)
        peaks = []
        for letter in sorted(set(letters)):
            shifts = self._shifts(letter, letters.count(letter), similarity)
            peaks += [Peak(float(ppm), multiplicity=letter) for ppm in shifts]
        return Spectrum(str(self._nucleus), tuple(peaks), len(peaks))

    def _shifts(
        self, letter: str, count: int, similarity: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        have = [i for i in np.argsort(-similarity).tolist()[:200] if letter in self._lines[i]]
        have = have[:NEIGHBOURS]
        if not have or not similarity[have].any():
            return _quantiles(self._usual.get(letter, [0.0]), count)
        spread = [_quantiles(self._lines[index][letter], count) for index in have]
        return np.average(spread, axis=0, weights=similarity[have])


def run_baselines(model: str, plan: Plan, names: Sequence[str], smiles: Sequence[str]) -> list[Run]:
    """Fit baselines and predict, one after the other.

    Args:
        model: decides about nucleus and splits.
        plan: names the data.
        names: `hose` or `nearest`.
        smiles: the molecules to predict.
    """
    runs = []
    for name in names:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            runs.append(pool.submit(_run, name, model, plan, smiles).result())
    return runs


def _run(name: str, model: str, plan: Plan, smiles: Sequence[str]) -> Run:
    started = time.perf_counter()
    loaded = load_model(model)
    material = read_material(loaded, plan, learns_lines=name == "hose")
    predict: Callable[[Molecule], Spectrum]
    if name == "hose":
        hose = build("baselines", "hose", None, loaded.model.codec)
        hose.fit(material.train if material.assigned_train is None else material.assigned_train)
        predict = lambda molecule: hose.predict_spectra([molecule])[0]  # noqa: E731
    else:
        predict = NearestLines(loaded.model.nucleus, material.train)
    ready = time.perf_counter()
    spectra: list[Spectrum | None] = [predict(parse_smiles(text)) for text in smiles]
    ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Run(name, spectra, len(smiles), Usage(ended - started, peak), ready - started)


def _quantiles(shifts: Sequence[float], count: int) -> NDArray[np.float64]:
    """So many shifts that are spread as these are: the same, where they are as many."""
    return np.quantile(shifts, (np.arange(count) + 0.5) / count, method="hazen")
