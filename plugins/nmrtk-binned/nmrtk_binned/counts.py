"""The codec `counts-128`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nmrtk.errors import UsageError
from nmrtk.interfaces import AtomLines, SpectrumCodec
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Peak, Spectrum
from nmrtk_binned.grid import Grid, require_positive

_NAME = "counts-128"

_NOISE_FLOOR = 1e-4
"""Lines expected at a knot that no line is near."""

_EDGE_MARGIN = 1e-3
"""Least distance of an encoded line from the edges of its bin, in knots: every line leaves a
trace at the centre of its bin, where `occupied` finds it."""

_MOST_SCALES = 80.0
"""Distance from a line in units of its scale beyond which float32 holds no tail."""

_WIDEST = 100.0
"""Largest scale of a line in knots: all wider ones are spread over the whole axis."""

_SMALL_RATE = 1e-8
"""Count below which a softplus is its exponential."""

_BLURS = (0.25, 1.0, 3.0, 9.0)
"""Scales in knots of the lines that `embed` mixes codes of."""

_COVERAGE, _COVERAGE_SIGMAS = 0.8, 1.28
"""Share of lines that lie within this many sigmas: those of a normal distribution."""


class CountsCodec(SpectrumCodec):
    """How many lines are where, on knots half a bin apart: the edges and centres of the bins.

    A line's unit of count is shared by the two knots beside it, in proportion to its nearness,
    so that counts resolve ppm: their sums are integrals, their balance is the place. The target
    holds the sums of all lines. A code is an expected count at every knot, `softplus(code)`, and
    the likelihood is that of lines which fall on knots independently, with these proportions,
    while their number follows a Laplace distribution about the expected total.

    Why so: the log-likelihood is linear in the target, and for a line between two knots linear
    in its place, as is the logarithm of a Laplace distribution: nothing of the predicted lines'
    shape is lost but their peaks. Every number of the code matters to it, the empty knots'
    too; an offset for each bin would mean nothing wherever there is no line, which is nearly
    everywhere, and would be free to hide the structure from an inversion. The number of lines is
    known better than the root of it that Poisson counts would allow, since every atom has one.
    Softplus keeps gradients bounded: it is the exponential where little is expected, so that
    ratios count, and the identity where much is.

    Args:
        nucleus: whose lines are counted.
        start: lower end of the first bin in ppm; None for that of the nucleus (13C: 0).
        bin_width: in ppm, None for that of the nucleus (13C: 1.6); knots are half of it apart.
        bins: N, the bins of `occupancy` and `occupied`: those of `binary-128`.
        below: bins below the first that have knots too; for `occupancy` they are of the first.
        above: bins above the last that have knots too: 13C lines of ketones reach 220 ppm. Lines
            beyond all knots are counted at the outermost.
        count_spread: scale of the Laplace distribution of the number of lines.

    Attributes:
        blur_weights: of the codes that `embed` mixes, and last a constant; what it starts with
            gives sharp lines, `fit_embedding` what the trained model puts out.
        sigma_factor: of `decode`, so that 80 % of lines lie within 1.28 sigma.

    Raises:
        UsageError: an option is out of range, or `start` and `bin_width` are left out for a
            nucleus that has no default.

    Example:
        >>> from nmrtk.spectrum import spectrum_of_shifts
        >>> codec = CountsCodec(Nucleus.parse("13C"), below=0, above=0)
        >>> target = codec.encode(spectrum_of_shifts("13C", [1.0, 57.8, 57.8]))
        >>> {int(knot): round(float(target[knot]), 2) for knot in target.nonzero()[0]}
        {1: 0.75, 2: 0.25, 72: 1.5, 73: 0.5}
    """

    reads_lines = True

    def __init__(
        self,
        nucleus: Nucleus,
        *,
        start: float | None = None,
        bin_width: float | None = None,
        bins: int = 128,
        below: int = 4,
        above: int = 12,
        count_spread: float = 0.5,
    ) -> None:
        super().__init__(nucleus)
        self.grid = Grid.of(_NAME, nucleus, start, bin_width, bins)
        for name, value in (("below", below), ("above", above)):
            if value < 0:
                raise UsageError(f"{_NAME}: {name} is {value}, it must be 0 or more")
        require_positive(_NAME, "count_spread", count_spread)
        self.below = below
        self.above = above
        self.count_spread = count_spread
        self.spacing = self.grid.bin_width / 2
        self.first_knot = self.grid.start - below * self.grid.bin_width
        self.blur_weights: Tensor
        weights = torch.zeros(len(_BLURS) + 1)
        self.register_buffer("blur_weights", weights.index_fill(0, torch.tensor(0), 1.0))
        self.sigma_factor: Tensor
        self.register_buffer("sigma_factor", torch.ones(()))
        self._blurs: Tensor
        self.register_buffer("_blurs", self._make_blurs(), persistent=False)

    @property
    def unit(self) -> float:
        """That of the nucleus, in ppm."""
        return self.grid.unit

    @property
    def width(self) -> int:
        """K, two knots for each bin, those below and above included."""
        return 2 * (self.below + self.grid.bins + self.above)

    @property
    def bin_count(self) -> int:
        """N, the number of bins."""
        return self.grid.bins

    def encode(self, spectrum: Spectrum) -> NDArray[np.float32]:
        """Counts (K,) of one spectrum.

        Raises:
            SpectrumError: the spectrum is of another nucleus or has no lines.
        """
        position = self.grid.positions(spectrum) + self.below
        edge = np.clip(np.floor(position), 0, self.width // 2 - 1)
        offset = np.clip(2 * (position - edge), _EDGE_MARGIN, 2 - _EDGE_MARGIN)
        # Above the last centre there is no knot.
        place = np.minimum(2 * edge + offset, self.width - 1)
        left = np.minimum(place.astype(np.int64), self.width - 2)
        target = np.zeros(self.width)
        np.add.at(target, left, left + 1 - place)
        np.add.at(target, left + 1, place - left)
        return target.astype(np.float32)

    def loss(self, code: Tensor, target: Tensor) -> Tensor:
        """Negative log-likelihood (B,) in nats a knot, from code and target (B, K)."""
        return -self.log_likelihood(code, target) / self.width

    def log_likelihood(self, code: Tensor, target: Tensor) -> Tensor:
        """Log-likelihood (B,) in nats of the lines of targets (B, K), each at its place and as
        many as there are, under codes (B, K); leading dimensions broadcast.

        A line between two knots counts as either, with the shares that its count has there.
        """
        rate = functional.softplus(code)
        # The logarithm of a softplus is less than the code, and where that is small the same:
        # so it can be had where the softplus itself underflows.
        log_rate = torch.minimum(code, rate.clamp(min=_SMALL_RATE).log())
        total, count = rate.sum(-1), target.sum(-1)
        places = (target * log_rate).sum(-1) - count * total.clamp(min=_SMALL_RATE).log()
        excess = (total - count).abs() / self.count_spread
        return places - excess - math.log(2 * self.count_spread)

    def occupancy(self, code: Tensor) -> Tensor:
        """Probability (B, N) that each bin holds a line, from codes (B, K)."""
        edges, centers = functional.softplus(code).unflatten(-1, (-1, 2)).unbind(-1)
        # Half of what is counted at an edge lies in the bin above it; below the first is nothing.
        upper = functional.pad(edges[..., 1:] / 2, (1, 0)) + functional.pad(
            edges[..., :1], (0, edges.shape[-1] - 1)
        )
        lower = functional.pad(edges[..., 1:] / 2, (0, 1))
        rate = lower + centers + upper
        return -torch.expm1(-self._joined(rate, Tensor.sum))

    def occupied(self, target: Tensor) -> Tensor:
        """Whether each bin holds a line, bool (B, N), from targets (B, K)."""
        return self._joined(target[..., 1::2] > 0, Tensor.any)

    def embed(self, target: Tensor) -> Tensor:
        """Codes (B, K) of targets (B, K): mixed of those of their lines in several scales."""
        parts = self._blurred_codes(target)
        return parts @ self.blur_weights[:-1] + self.blur_weights[-1]

    def fit_embedding(self, code: Tensor, target: Tensor) -> None:
        """Fit what `embed` mixes to the codes (B, K) of a trained model for targets (B, K), by
        least squares, and sigma to the distance of their lines.
        """
        parts = self._blurred_codes(target).flatten(0, 1).double()
        parts = functional.pad(parts, (0, 1), value=1.0)
        # Where the targets are poor the scales say the same: a trace of ridge decides.
        square = parts.T @ parts
        square += 1e-6 * len(parts) * torch.eye(len(square), device=square.device)
        wanted = parts.T @ code.detach().flatten().double()
        self.blur_weights.copy_(torch.linalg.solve(square, wanted))
        ratios = []
        for rates, counts in zip(self._rates(code), self._rows(target), strict=True):
            count = round(counts.sum())
            shift, half_width = self._place(rates, count)
            ratios.append(np.abs(shift - self._place(counts, count)[0]) / half_width)
        reached = np.quantile(np.concatenate(ratios), _COVERAGE)
        self.sigma_factor.fill_(float(reached) / _COVERAGE_SIGMAS)

    def decode(self, code: Tensor, line_counts: Sequence[int]) -> list[Spectrum]:
        """Lines at equal steps of the counts that codes (B, K) expect, summed over the axis.

        Line i of n stands where (i - 1/2) / n of all counts are reached, which is where it comes
        nearest to the i-th observed line. Its sigma tells how far apart (i - 0.9) / n and
        (i - 0.1) / n are.

        Args:
            code: (B, K).
            line_counts: number of lines of each spectrum, (B,).

        Returns:
            One spectrum a row, every line with sigma in ppm.
        """
        factor = float(self.sigma_factor)
        spectra = []
        for rates, count in zip(self._rates(code), line_counts, strict=True):
            shifts, half_widths = self._place(rates, count)
            peaks = [
                Peak(ppm, sigma=factor * half_width)
                for ppm, half_width in zip(shifts.tolist(), half_widths.tolist(), strict=True)
            ]
            spectra.append(Spectrum(str(self.nucleus), tuple(peaks)))
        return spectra

    def expected(self, lines: AtomLines, batch_size: int) -> Tensor:
        """Code (B, K) of the counts that Laplace distributed lines have on average, and at least
        1e-4 at every knot, so that a line far from all predicted ones costs 9 nats or more and
        not infinity.

        Args:
            lines: of all molecules of the batch, (A,).
            batch_size: B; a molecule without lines gets the least counts.
        """
        counts = lines.shift.new_zeros(batch_size, self.width)
        counts = counts.index_add(0, lines.molecule, self._counts(lines.shift, lines.scale))
        return _inverse_softplus(counts.clamp(min=0.0) + _NOISE_FLOOR)

    def _counts(self, shift: Tensor, scale: Tensor) -> Tensor:
        """Mean count (A, K) at each knot of Laplace distributed lines (A,).

        The count at a knot falls from 1 to 0 over the spacing to either side, so its mean is the
        difference of the means that the distribution function has over those two stretches; its
        integral is (x - shift)+ + scale / 2 * exp(-|x - shift| / scale). In float32 that is good
        to a small part of the least count.
        """
        scale = scale.clamp(max=_WIDEST * self.spacing)[:, None]
        distance = self._knots(shift) - shift[:, None]
        tail = torch.exp(-(distance.abs() / scale).clamp(max=_MOST_SCALES))
        passed = (distance[:, 1:] / self.spacing).clamp(0.0, 1.0)
        below = passed + scale / (2 * self.spacing) * (tail[:, 1:] - tail[:, :-1])
        # The outer knots also count what lies beyond them.
        return functional.pad(below, (0, 1), value=1.0) - functional.pad(below, (1, 0))

    def _knots(self, like: Tensor) -> Tensor:
        index = torch.arange(self.width, device=like.device, dtype=like.dtype)
        return self.first_knot + self.spacing * index

    def _make_blurs(self) -> Tensor:
        """Mean counts (R, K, K) at each knot of a line at each knot, for every scale."""
        knots = self._knots(torch.zeros(()))
        scales = torch.tensor(_BLURS) * self.spacing
        return torch.stack([self._counts(knots, scale.expand_as(knots)) for scale in scales])

    def _blurred_codes(self, target: Tensor) -> Tensor:
        """Codes (B, K, R) of targets (B, K) whose lines have each of the scales."""
        counts = torch.einsum("...j,rjk->...kr", target, self._blurs)
        return _inverse_softplus(counts.clamp(min=0.0) + _NOISE_FLOOR)

    def _joined(self, values: Tensor, join: Callable[[Tensor, int], Tensor]) -> Tensor:
        """Values (..., N) of the bins, from those of all, the outer ones joined to the ends."""
        last = values.shape[-1] - self.above
        ends = join(values[..., : self.below + 1], -1), join(values[..., last - 1 :], -1)
        inner = values[..., self.below + 1 : last - 1]
        return torch.cat([ends[0][..., None], inner, ends[1][..., None]], -1)

    def _rates(self, code: Tensor) -> NDArray[np.float64]:
        return self._rows(functional.softplus(code.cpu().double()))

    @staticmethod
    def _rows(values: Tensor) -> NDArray[np.float64]:
        return np.asarray(values.detach().double().cpu().numpy())

    def _place(
        self, counts: NDArray[np.float64], line_count: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shifts of lines and their half widths in ppm, (line_count,), from counts (K,)."""
        knots = self.first_knot + self.spacing * np.arange(self.width)
        # Of a knot's count half lies to each side: so a lone line is found just where it was.
        reached = np.cumsum(counts) - counts / 2
        total = max(counts.sum(), np.finfo(np.float64).tiny)
        steps = np.arange(line_count)[:, None] + [0.1, 0.5, 0.9]
        low, middle, high = np.interp(steps / max(line_count, 1) * total, reached, knots).T
        # No line is known better than the knots can tell.
        least = self.spacing / math.sqrt(12)
        return middle, np.maximum((high - low) / 2 / _COVERAGE_SIGMAS, least)


def _inverse_softplus(count: Tensor) -> Tensor:
    return count + (-torch.expm1(-count)).log()
