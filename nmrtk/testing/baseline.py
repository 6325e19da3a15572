"""Contract of baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nmrtk.errors import MoleculeError, UsageError
from nmrtk.interfaces import Baseline, Example, SpectrumCodec
from nmrtk.molecule import Molecule, canonical_smiles
from nmrtk.nucleus import DEFAULT_NUCLEUS, Nucleus
from nmrtk.testing.material import examples as default_examples
from nmrtk.testing.material import odd_molecules
from nmrtk.testing.plain import PlainCodec
from nmrtk.testing.report import TOLERANCES, Report, difference

_SAME = TOLERANCES[torch.float32].same


def check_baseline(
    build: Callable[[SpectrumCodec], Baseline],
    *,
    codec: SpectrumCodec | None = None,
    examples: Sequence[Example] | None = None,
) -> None:
    """Check everything that nmrtk relies on in a baseline.

    Args:
        build: the class, or a function that makes an instance for a codec.
        codec: 44 bins of 5 ppm from 0 for 13C unless given.
        examples: to learn from; 13C spectra of small organic molecules, assigned, unless given.

    Raises:
        AssertionError: a property does not hold; says what was measured and what is allowed.

    Example:
        A test of a plugin is one line: `check_baseline(MyBaseline)`.
    """
    chosen_codec = codec or PlainCodec(Nucleus.parse(DEFAULT_NUCLEUS))
    chosen = list(examples or default_examples(chosen_codec.nucleus))
    molecules = [example.molecule for example in chosen]
    baseline = build(chosen_codec)
    report = Report(baseline)
    report.options(type(baseline), 1)
    report.raises(
        "prediction before fit",
        UsageError,
        lambda: baseline.predict_occupancy(molecules),
        "a baseline that has learned nothing says so with UsageError",
    )
    report.raises(
        "fit on nothing",
        UsageError,
        lambda: build(chosen_codec).fit([]),
        "fit raises UsageError where there is nothing to learn from",
    )
    baseline.fit(chosen)
    scores = _check_scores(report, baseline, molecules)
    _check_rows(report, baseline, molecules, scores)
    _check_learned(report, baseline, chosen, scores)
    again = build(chosen_codec)
    again.fit(chosen)
    report.measure(
        "fitted twice",
        _difference(scores, again.predict_occupancy(molecules)),
        _SAME,
        "the same examples give the same predictions",
    )
    _check_lines(report, baseline, molecules)
    _check_odd_molecules(report, baseline)


def _difference(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    return difference(torch.from_numpy(first), torch.from_numpy(second))


def _check_scores(
    report: Report, baseline: Baseline, molecules: Sequence[Molecule]
) -> NDArray[np.float32]:
    scores = baseline.predict_occupancy(molecules)
    report.require(
        "shape and type of scores",
        scores.shape == (len(molecules), baseline.codec.bin_count) and scores.dtype == np.float32,
        f"{scores.shape} {scores.dtype} for {len(molecules)} molecules and "
        f"{baseline.codec.bin_count} bins",
        "predict_occupancy gives (B, bin_count), float32",
    )
    report.require(
        "scores from 0 to 1",
        bool(((scores >= 0) & (scores <= 1)).all()),
        f"from {scores.min():g} to {scores.max():g}",
        "scores are probabilities",
    )
    none = baseline.predict_occupancy([])
    report.require(
        "no molecules",
        none.shape == (0, baseline.codec.bin_count),
        none.shape,
        "no molecules give no rows",
    )
    return scores


def _check_rows(
    report: Report,
    baseline: Baseline,
    molecules: Sequence[Molecule],
    scores: NDArray[np.float32],
) -> None:
    alone = np.concatenate([baseline.predict_occupancy([molecule]) for molecule in molecules])
    report.measure(
        "row alone and in a batch",
        _difference(scores, alone),
        _SAME,
        "the scores of one molecule do not depend on the others",
    )


def _check_learned(
    report: Report, baseline: Baseline, examples: Sequence[Example], scores: NDArray[np.float32]
) -> None:
    codec = baseline.codec
    targets = torch.from_numpy(np.stack([codec.encode(example.spectrum) for example in examples]))
    occupied = codec.occupied(targets).numpy()
    high, low = float(scores[occupied].mean()), float(scores[~occupied].mean())
    report.require(
        "occupied bins of training above empty ones",
        high > low,
        f"mean scores {high:.3f} of occupied and {low:.3f} of empty bins",
        "fit learns from the examples",
    )


def _check_lines(report: Report, baseline: Baseline, molecules: Sequence[Molecule]) -> None:
    if not baseline.predicts_lines:
        report.raises(
            "no lines",
            UsageError,
            lambda: baseline.predict_spectra(molecules),
            "predict_spectra raises UsageError where predicts_lines is False",
        )
        return
    nucleus = baseline.codec.nucleus
    spectra = baseline.predict_spectra(molecules)
    wanted = [nucleus.sites(molecule) for molecule in molecules]
    found = [sorted(a for p in spectrum.peaks for a in p.atoms) for spectrum in spectra]
    report.require(
        "one line a site",
        (found == wanted or not any(found))
        and all(len(s.peaks) == len(w) for s, w in zip(spectra, wanted, strict=True)),
        f"atoms {found[:2]} instead of {wanted[:2]}",
        "predict_spectra gives one line for each of Nucleus.sites, all with their atom or none",
    )
    sigmas = [peak.sigma for spectrum in spectra for peak in spectrum.peaks]
    given = [sigma for sigma in sigmas if sigma is not None]
    report.require(
        "nucleus and sigma of lines",
        all(spectrum.nucleus == str(nucleus) for spectrum in spectra)
        and len(given) in (0, len(sigmas))
        and all(sigma > 0 for sigma in given),
        "another nucleus, or some lines without a positive sigma",
        "spectra are of the codec's nucleus, and all lines have a sigma or none",
    )


def _check_odd_molecules(report: Report, baseline: Baseline) -> None:
    contract = "an unusual molecule gives finite scores, or MoleculeError"
    for molecule in odd_molecules():
        what = f"odd molecule {canonical_smiles(molecule)[:20]}"
        try:
            scores = baseline.predict_occupancy([molecule])
            if baseline.predicts_lines:
                baseline.predict_spectra([molecule])
        except MoleculeError:
            continue
        except Exception as error:
            report.require(what, False, f"{type(error).__name__}: {error}", contract)
        report.require(what, bool(np.isfinite(scores).all()), "nan or inf", contract)
