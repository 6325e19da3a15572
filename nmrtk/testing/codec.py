"""Contract of spectrum codecs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from nmrtk.errors import SpectrumError, UsageError
from nmrtk.interfaces import AtomLines, SpectrumCodec
from nmrtk.nucleus import DEFAULT_NUCLEUS, Nucleus
from nmrtk.spectrum import Spectrum, spectrum_of_shifts
from nmrtk.testing.material import examples
from nmrtk.testing.report import TOLERANCES, Report, difference, has_gradient, same_after_reload

_SAME = TOLERANCES[torch.float32].same
# Share of pairs of an occupied and an empty bin that a code may order wrongly: codes that blur
# lines over their neighbours confuse a few.
_WRONG_PAIRS = 0.02
# Share of the mean distance between spectra by which lines decoded from another code may be
# nearer: a coarse code cannot tell all spectra apart.
_EXCESS = 0.1


def check_spectrum_codec(
    build: Callable[[Nucleus], SpectrumCodec],
    *,
    spectra: Sequence[Spectrum] | None = None,
    nucleus: str = DEFAULT_NUCLEUS,
) -> None:
    """Check everything that nmrtk relies on in a spectrum codec.

    Args:
        build: the class, or a function that makes an instance for a nucleus.
        spectra: at least three, clearly different, with lines in the range of the codec. 13C
            spectra of small organic molecules unless given.
        nucleus: to build it for.

    Raises:
        AssertionError: a property does not hold; says what was measured and what is allowed.
        UsageError: the nucleus is not 13C and no spectra are given.

    Example:
        A test of a plugin is one line: `check_spectrum_codec(MyCodec)`.
    """
    torch.manual_seed(0)
    context = Nucleus.parse(nucleus)
    codec = build(context).eval()
    report = Report(codec)
    report.options(type(codec), 1)
    chosen = list(spectra) if spectra else [e.spectrum for e in examples(context)]
    _check_refusals(report, codec)
    report.require(
        "unit of shifts",
        0 < codec.unit < float("inf"),
        f"{codec.unit:g}",
        "unit is a positive number of ppm",
    )
    targets = _check_targets(report, codec, chosen)
    codes = _check_codes(report, codec, targets)
    # Rows with the target of their neighbour say nothing about right and wrong.
    differ = (targets != torch.roll(targets, 1, dims=0)).any(dim=1)
    report.require(
        "spectra that differ",
        int(differ.sum()) >= 2,
        "spectra that all have one target",
        "a check needs spectra that the codec can tell apart: give it `spectra`",
    )
    _check_loss(report, codec, codes, targets, differ)
    _check_likelihood(report, codec, codes, targets, differ)
    _check_decode(report, codec, codes, codec.occupied(targets), chosen)
    _check_expected(report, codec, chosen, targets, differ)
    same_after_reload(report, codec, build(context), lambda part: part.occupancy(codes))


def _check_refusals(report: Report, codec: SpectrumCodec) -> None:
    contract = "encode raises SpectrumError for another nucleus and for a spectrum without lines"
    # No element has two of its isotopes in use here, so that the mass number marks a stranger.
    stranger = str(Nucleus(codec.nucleus.mass_number + 1, codec.nucleus.element))
    report.raises(
        "another nucleus",
        SpectrumError,
        lambda: codec.encode(spectrum_of_shifts(stranger, [1.0, 50.0])),
        contract,
    )
    empty = spectrum_of_shifts(str(codec.nucleus), [])
    report.raises("no lines", SpectrumError, lambda: codec.encode(empty), contract)
    far = spectrum_of_shifts(str(codec.nucleus), [-4000.0, 4000.0])
    try:
        fine = bool(np.isfinite(codec.encode(far)).all())
    except SpectrumError:
        fine = True
    except Exception as error:
        report.require("far lines", False, f"{type(error).__name__}: {error}", contract)
    report.require(
        "far lines", fine, "a target that is not finite", "a spectrum is encoded or refused"
    )


def _check_targets(report: Report, codec: SpectrumCodec, spectra: Sequence[Spectrum]) -> Tensor:
    rows = [codec.encode(spectrum) for spectrum in spectra]
    report.require(
        "shape and type of targets",
        all(row.shape == (codec.width,) and row.dtype == np.float32 for row in rows),
        f"{rows[0].shape} {rows[0].dtype} for width {codec.width}",
        "encode gives (width,), float32",
    )
    targets = torch.from_numpy(np.stack(rows))
    report.require(
        "finite targets", bool(torch.isfinite(targets).all()), "nan or inf", "all are finite"
    )
    occupied = codec.occupied(targets)
    report.require(
        "shape and type of occupied",
        occupied.shape == (len(spectra), codec.bin_count) and occupied.dtype == torch.bool,
        f"{tuple(occupied.shape)} {occupied.dtype} for {codec.bin_count} bins",
        "occupied gives bool (B, bin_count)",
    )
    counts = occupied.sum(dim=1).tolist()
    report.require(
        "a spectrum occupies bins",
        all(1 <= n <= len(spectrum.peaks) for n, spectrum in zip(counts, spectra, strict=True)),
        f"{counts} bins for {[len(spectrum.peaks) for spectrum in spectra]} lines",
        "every spectrum occupies at least one bin and at most one for each line",
    )
    return targets


def _check_codes(report: Report, codec: SpectrumCodec, targets: Tensor) -> Tensor:
    codes = codec.embed(targets)
    report.require(
        "shape and type of codes",
        codes.shape == targets.shape and codes.dtype == torch.float32,
        f"{tuple(codes.shape)} {codes.dtype}",
        "embed gives (B, width), float32",
    )
    report.require("finite codes", bool(torch.isfinite(codes).all()), "nan or inf", "all finite")
    noise = 3.0 * torch.randn_like(codes)
    for what, code in (("targets", codes), ("noise", noise)):
        occupancy = codec.occupancy(code)
        report.require(
            f"occupancy of {what}",
            occupancy.shape == (len(targets), codec.bin_count)
            and bool(((occupancy >= 0) & (occupancy <= 1)).all()),
            f"{tuple(occupancy.shape)}, from {occupancy.min():g} to {occupancy.max():g}",
            "occupancy gives (B, bin_count), each from 0 to 1",
        )
    report.measure(
        "occupied bins above empty ones in embedded targets, share of pairs not so",
        _wrong_pairs(codec.occupancy(codes), codec.occupied(targets)),
        _WRONG_PAIRS,
        "in the code that stands for a target, its occupied bins have the higher occupancy",
    )
    return codes


def _wrong_pairs(occupancy: Tensor, occupied: Tensor) -> float:
    """Share of pairs of an occupied and an empty bin of a row that are not told apart."""
    pairs = occupied[:, :, None] & ~occupied[:, None, :]
    wrong = occupancy[:, :, None] <= occupancy[:, None, :]
    return ((pairs & wrong).sum() / pairs.sum()).item()


def _others(codes: Tensor) -> Tensor:
    """For each row the code of its neighbour."""
    return torch.roll(codes, 1, dims=0)


def _check_loss(
    report: Report,
    codec: SpectrumCodec,
    codes: Tensor,
    targets: Tensor,
    differ: Tensor,
) -> None:
    right, wrong = codec.loss(codes, targets), codec.loss(_others(codes), targets)
    report.require(
        "loss, one value a row",
        right.shape == (len(targets),) and bool(torch.isfinite(right).all()),
        f"{tuple(right.shape)} for {len(targets)} rows, or values that are not finite",
        "loss gives (B,), finite",
    )
    report.require(
        "loss lower for the right code",
        bool((right < wrong)[differ].all()),
        f"{right[differ].tolist()} for the right and {wrong[differ].tolist()} for others",
        "the code that stands for a target has a lower loss than that of another target",
    )
    alone = torch.cat([codec.loss(codes[i : i + 1], targets[i : i + 1]) for i in range(len(codes))])
    report.measure(
        "loss alone and in a batch",
        difference(right.detach(), alone.detach()),
        _SAME,
        "the loss of one row does not depend on the others",
    )
    noise = torch.randn_like(codes).requires_grad_(True)
    loss = codec.loss(noise, targets)
    report.require(
        "gradient of the loss",
        has_gradient(loss, noise),
        "none, or one that is not finite",
        "the loss is differentiable in the code",
    )
    (gradient,) = torch.autograd.grad(loss.sum(), noise)
    with torch.no_grad():
        lower = codec.loss(noise - 1e-3 * gradient, targets) < loss
    report.require(
        "a step against the gradient lowers the loss",
        bool(lower.all()),
        f"only {int(lower.sum())} of {len(lower)} rows go down",
        "the gradient of the loss is its slope",
    )


def _check_likelihood(
    report: Report,
    codec: SpectrumCodec,
    codes: Tensor,
    targets: Tensor,
    differ: Tensor,
) -> None:
    right, wrong = (
        codec.log_likelihood(codes, targets),
        codec.log_likelihood(_others(codes), targets),
    )
    report.require(
        "log-likelihood, one value a row",
        right.shape == (len(targets),) and bool(torch.isfinite(right).all()),
        f"{tuple(right.shape)} for {len(targets)} rows, or values that are not finite",
        "log_likelihood gives (B,), finite",
    )
    report.require(
        "log-likelihood higher for the right code",
        bool((right > wrong)[differ].all()),
        f"{right[differ].tolist()} for the right and {wrong[differ].tolist()} for others",
        "the code that stands for a target makes it likelier than the code of another does",
    )
    table = codec.log_likelihood(codes[:, None, :], targets[None, :, :])
    report.measure(
        "log-likelihood of all pairs and of rows",
        difference(table.diagonal(), right) if table.ndim == 2 else np.inf,
        _SAME,
        "the leading dimensions of code and target broadcast",
    )


def _check_decode(
    report: Report,
    codec: SpectrumCodec,
    codes: Tensor,
    occupied: Tensor,
    spectra: Sequence[Spectrum],
) -> None:
    for what, counts in (
        ("the observed number of lines", [len(spectrum.peaks) for spectrum in spectra]),
        ("one line", [1] * len(spectra)),
        ("more lines than bins", [codec.bin_count + 1] * len(spectra)),
    ):
        found = codec.decode(codes, counts)
        report.require(
            f"decode {what}",
            [len(spectrum.peaks) for spectrum in found] == counts,
            [len(spectrum.peaks) for spectrum in found],
            "decode gives each spectrum the number of lines asked for",
        )
        peaks = [peak for spectrum in found for peak in spectrum.peaks]
        report.require(
            f"decode {what}: nucleus and sigma",
            all(spectrum.nucleus == str(codec.nucleus) for spectrum in found)
            and all(peak.sigma is not None and peak.sigma > 0 for peak in peaks),
            "another nucleus, or a line without a positive sigma",
            "decoded spectra are of the codec's nucleus and every line has its sigma",
        )
    # With as many lines as bins are occupied, since a code need not know how many share a bin.
    decoded = codec.decode(codes, occupied.sum(dim=1).tolist())
    table = np.array([[_distance(found, wanted) for wanted in spectra] for found in decoded])
    worst = (table.diagonal() - table.min(axis=0)).max()
    report.measure(
        "distance of decoded lines from the spectrum of their code, beyond the nearest code's",
        float(worst / max(table.mean(), np.finfo(float).tiny)),
        _EXCESS,
        "the lines decoded from the code of a spectrum resemble it more than other spectra",
    )


def _distance(first: Spectrum, second: Spectrum) -> float:
    """Mean distance in ppm of each line from the nearest line of the other spectrum."""
    gaps = np.abs(np.subtract.outer(first.shifts, second.shifts))
    return float(gaps.min(axis=0).mean() + gaps.min(axis=1).mean()) / 2


def _check_expected(
    report: Report,
    codec: SpectrumCodec,
    spectra: Sequence[Spectrum],
    targets: Tensor,
    differ: Tensor,
) -> None:
    shift = torch.tensor([ppm for spectrum in spectra for ppm in spectrum.shifts])
    rows = torch.repeat_interleave(
        torch.arange(len(spectra)), torch.tensor([len(spectrum.peaks) for spectrum in spectra])
    )
    # Lines as sure as a hundredth of the spread of all shifts.
    scale = torch.full_like(shift, float(shift.std()) / 100)
    lines = AtomLines(shift.requires_grad_(True), scale, rows)
    if not codec.reads_lines:
        report.raises(
            "no code from lines",
            UsageError,
            lambda: codec.expected(lines, len(spectra)),
            "expected raises UsageError where reads_lines is False",
        )
        return
    codes = codec.expected(lines, len(spectra))
    report.require(
        "shape of the code from lines",
        codes.shape == targets.shape and bool(torch.isfinite(codes).all()),
        f"{tuple(codes.shape)}, or values that are not finite",
        "expected gives (B, width), finite",
    )
    right, wrong = codec.loss(codes, targets), codec.loss(_others(codes), targets)
    report.require(
        "code from lines has the lower loss for their spectrum",
        bool((right < wrong)[differ].all()),
        f"{right[differ].tolist()} for the right and {wrong[differ].tolist()} for others",
        "the code that lines imply stands for their spectrum",
    )
    report.require(
        "gradient of the code from lines",
        has_gradient(right, shift),
        "none, or one that is not finite",
        "expected is differentiable in the shifts",
    )
