"""What codecs keep of a spectrum: the same predicted lines, written in the code of each.

    python benchmarks/spectrum_codecs.py MODEL --data DATA.h5 [--split val] [--codecs NAME ...]

Three questions about each codec. Does the code that the lines of a structure imply find the
structure again by its observed spectrum? How far from the observed lines are those read from a
code? Does it tell which bins hold a line? Beside them stand the lines themselves, and the code that
leaves the backbone of the model, where its codec is among those asked for.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmrtk.checkpoint import LoadedModel, load_model
from nmrtk.cohort import make_cohort, run_forward
from nmrtk.dataset import DataSet
from nmrtk.errors import UsageError
from nmrtk.formula import Formula
from nmrtk.interfaces import AtomLines, Example, SpectrumCodec
from nmrtk.plugins import build
from nmrtk.recipe import Part
from nmrtk.scoring import best_threshold, rank_of, score_code, score_lines, score_ranks
from nmrtk.spectrum import Spectrum
from nmrtk.tables import Table, fixed, percent

FloatArray = NDArray[np.floating]

LINES = "lines, none of it a code"
_OUTLIERS, _OUTLIER_SCALE = 1e-3, 30.0
"""Share of the lines that may lie anywhere, and how far: else one wrong line decides a rank."""


@dataclass(frozen=True, slots=True)
class Written:
    """The cohort in the code of one codec.

    Args:
        name: of the row.
        codec: that made it.
        code: (B, K), of the predicted lines or from the backbone.
        target: (B, K), of the observed lines.
        sharp: (B, K), the code that stands for the target in a codec that was fitted to nothing.
    """

    name: str
    codec: SpectrumCodec
    code: Tensor
    target: Tensor
    sharp: Tensor


def write(
    name: str, examples: Sequence[Example], lines: AtomLines, loaded: LoadedModel, outputs: Tensor
) -> list[Written]:
    """What one codec makes of the predicted lines, and what the model's backbone puts out for it.

    Raises:
        UsageError: it makes no code from lines.
    """
    codec: SpectrumCodec = build("spectrum_codecs", name, None, loaded.model.nucleus)
    target = torch.from_numpy(np.stack([codec.encode(one.spectrum) for one in examples]))
    sharp = codec.embed(target)
    implied = codec.expected(lines, len(examples))
    found = [Written(f"{name}, of the lines", codec, implied, target, sharp)]
    if loaded.recipe.codec == Part(name=name):
        own = loaded.model.codec
        code = outputs[:, : own.width]
        found.append(Written(f"{name}, of the model", own, code, target, sharp))
    return found


def retrieval(written: Sequence[Written], examples: Sequence[Example], lines: AtomLines) -> Table:
    """Rank of the true molecule among all, and among those of its formula."""
    formulas = np.array([str(Formula.of_molecule(example.molecule)) for example in examples])
    same = formulas[:, None] == formulas[None, :]
    isomers = same.sum(1) > 1
    answers = np.arange(len(examples))
    rows = []

    def add(name: str, scores: FloatArray, rate: str) -> None:
        ranks = score_ranks(rank_of(scores, answers))
        among = np.where(same, scores, -np.inf)[isomers]
        known = score_ranks(rank_of(among, answers[isomers])) if isomers.any() else None
        rows.append(
            [
                name,
                percent(ranks.top_1),
                percent(ranks.top_10),
                fixed(ranks.mean_reciprocal_rank, 3),
                percent(known.top_1 if known else None),
                fixed(known.mean_reciprocal_rank if known else None, 3),
                rate,
            ]
        )

    for one in written:
        scores, rate = _likelihoods(one)
        add(one.name, scores, f"{rate:,.0f}")
    add(LINES, _line_likelihoods(examples, lines), fixed(None))
    return Table(
        f"Retrieval: {len(examples)} spectra, each among all these molecules",
        ["code", "top-1", "top-10", "MRR", "formula: top-1", "formula: MRR", "codes/s"],
        rows,
        (
            f"formula: among the molecules of its formula, for the {isomers.sum()} spectra that "
            f"have such, {same[isomers].sum(1).mean() if isomers.any() else 0:.1f} molecules each.",
            "codes/s: log-likelihoods of one target in a second of one core.",
            f"{LINES}: sorted and compared one by one, with molecules of as many lines only.",
        ),
    )


def _likelihoods(written: Written) -> tuple[FloatArray, float]:
    """Log-likelihood (B, B) of each target under each code, and how many a second."""
    start = time.process_time()
    rows = [written.codec.log_likelihood(written.code, target) for target in written.target]
    seconds = time.process_time() - start
    scores: FloatArray = torch.stack(rows).double().numpy()
    return scores, scores.size / seconds


def _line_likelihoods(examples: Sequence[Example], lines: AtomLines) -> FloatArray:
    """Log-likelihood (B, B) of the observed lines of each molecule under the predicted ones of
    each, in order; -inf where their numbers differ.
    """
    size = len(examples)
    shifts, scales = _by_molecule(lines, size)
    observed = [np.array(example.spectrum.shifts) for example in examples]
    predicted_counts = np.array([len(one) for one in shifts])
    observed_counts = np.array([len(one) for one in observed])
    scores = np.full((size, size), -np.inf)
    for count in np.unique(observed_counts):
        rows = np.flatnonzero(observed_counts == count)
        columns = np.flatnonzero(predicted_counts == count)
        if not len(columns):
            continue
        shift = np.stack([shifts[i] for i in columns])
        scale = np.stack([scales[i] for i in columns])
        gaps = np.abs(np.stack([observed[i] for i in rows])[:, None] - shift)
        density = (1 - _OUTLIERS) * _laplace(gaps, scale) + _OUTLIERS * _laplace(
            gaps, np.float64(_OUTLIER_SCALE)
        )
        scores[np.ix_(rows, columns)] = np.log(density).sum(-1)
    return scores


def _laplace(gap: FloatArray, scale: FloatArray | np.float64) -> FloatArray:
    density: FloatArray = np.exp(-gap / scale) / (2 * scale)
    return density


def _by_molecule(lines: AtomLines, size: int) -> tuple[list[FloatArray], list[FloatArray]]:
    """Shifts of each molecule, ascending, and their scales."""
    ends = np.searchsorted(lines.molecule.numpy(), np.arange(1, size))
    shifts = np.split(lines.shift.double().numpy(), ends)
    scales = np.split(lines.scale.double().numpy(), ends)
    orders = [np.argsort(one, kind="stable") for one in shifts]
    pairs = zip(shifts, scales, orders, strict=True)
    sorted_pairs = [(shift[order], scale[order]) for shift, scale, order in pairs]
    return [shift for shift, _ in sorted_pairs], [scale for _, scale in sorted_pairs]


def decoding(written: Sequence[Written], examples: Sequence[Example], lines: AtomLines) -> Table:
    """How far lines read from codes are from the observed ones."""
    counts = [len(example.spectrum.peaks) for example in examples]
    rows = []

    def add(name: str, source: str, found: Sequence[Spectrum]) -> None:
        errors, sigmas = [], []
        for example, spectrum in zip(examples, found, strict=True):
            errors.append(np.subtract(spectrum.shifts, example.spectrum.shifts))
            sigmas.append(np.array([peak.sigma for peak in spectrum.peaks], np.float64))
        score = score_lines(np.concatenate(errors), np.concatenate(sigmas), {0.8: 1.28})
        assert score.coverage is not None
        rows.append(
            [
                name,
                source,
                fixed(score.mae, 2),
                fixed(score.median, 2),
                percent(score.within_1),
                percent(score.within_2),
                percent(score.coverage["0.8"]),
            ]
        )

    for one in written:
        embedded = one.codec.embed(one.target)
        add(one.name, "code", one.codec.decode(one.code, counts))
        add(one.name, "embedded target", one.codec.decode(embedded, counts))
        add(one.name, "sharp target", one.codec.decode(one.sharp, counts))
    shifts, _ = _by_molecule(lines, len(examples))
    complete = [i for i, one in enumerate(shifts) if len(one) == counts[i]]
    errors = [shifts[i] - np.array(examples[i].spectrum.shifts) for i in complete]
    score = score_lines(np.concatenate(errors))
    rows.append(
        [
            LINES,
            fixed(None),
            fixed(score.mae, 2),
            fixed(score.median, 2),
            percent(score.within_1),
            percent(score.within_2),
            fixed(None),
        ]
    )
    return Table(
        "Decoding: as many lines as observed, both sorted over the molecule, ppm",
        ["code", "read from", "MAE", "median", "≤ 1 ppm", "≤ 2 ppm", "≤ 1.28 sigma"],
        rows,
        (
            "embedded target: the code that stands for the observed spectrum when the model runs "
            "backwards, fitted to the codes of these same molecules; sharp target: the same in a "
            "codec that was not fitted, which is as far as it resolves ppm.",
        ),
    )


def bins(written: Sequence[Written]) -> Table:
    """How well occupancy tells the bins that hold a line."""
    rows = []
    for one in written:
        occupancy = one.codec.occupancy(one.code).numpy()
        observed = one.codec.occupied(one.target).numpy()
        threshold = best_threshold(occupancy, observed)
        score = score_code(occupancy > threshold, observed)
        rows.append([one.name, fixed(threshold, 3), fixed(score.micro_f1), fixed(score.macro_f1)])
    return Table(
        "Occupied bins",
        ["code", "threshold", "micro-F1", "macro-F1"],
        rows,
        ("At the threshold that gives the best micro-F1 on these same molecules.",),
    )


@torch.no_grad()
def main() -> None:
    """Print three tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a training's folder, a checkpoint or an installed model")
    parser.add_argument("--data", type=Path, required=True, help="data set")
    parser.add_argument("--split", default="val", help="whose molecules")
    parser.add_argument("--codecs", nargs="+", default=["binary-128", "counts-128"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load_model(arguments.model)
    with DataSet(arguments.data) as data:
        data.require_nucleus(loaded.model.nucleus)
        examples = data.examples(loaded.recipe.split, arguments.split)
    cohort = make_cohort(loaded.model, examples, arguments.split, lambda done, total: None)
    forward = run_forward(loaded.model, cohort, lambda done, total: None)
    if forward.lines is None:
        raise UsageError(f"the encoder of {arguments.model} predicts no lines")
    written = []
    for name in arguments.codecs:
        written += write(name, cohort.examples, forward.lines, loaded, forward.outputs)
    for one in written:
        one.codec.fit_embedding(one.code, one.target)
    tables = (
        retrieval(written, cohort.examples, forward.lines),
        decoding(written, cohort.examples, forward.lines),
        bins(written),
    )
    print("\n\n".join(table.to_markdown() for table in tables))


if __name__ == "__main__":
    main()
