"""The codec `binary-128`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

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

_NAME = "binary-128"

_NOISE_FLOOR = 1e-4
"""Probability of a line where none is predicted, and of none where one is certain."""

_DISTANCES = 9
"""Distances to the nearest line that `embed` tells apart, in bins: 0 to 7, and all beyond."""

_MOST_SCALES = 80.0
"""Distance from a line in units of its scale beyond which float32 holds no tail."""

_SPREAD_BINS = 4
"""How far from its bin a line is sought when its sigma is worked out, in bins."""


class BinaryCodec(SpectrumCodec):
    """Bits that say which bins hold at least one line.

    A bin's probability is `sigmoid(logit_scale * (code - logit_center))`. The first bin also
    holds every line below it, the last every line above. Source of the defaults and of the loss:
    Kuhn et al., arXiv 2602.03875.

    Args:
        nucleus: whose lines are binned.
        start: lower end of the first bin in ppm; None for that of the nucleus (13C: 0).
        bin_width: in ppm; None for that of the nucleus (13C: 1.6).
        bins: K = N, the number of bins.
        loss: `distance` weights a bin by 1 / (1 + bins to the nearest one that holds a line), so
            that empty bins far from any line count little; `plain` weights all alike.
        positive_weight: multiplies the weight of bins that hold a line.
        levels: codes to invert from: `measured` takes what the trained model puts out on average
            for a bin at so many bins from the nearest that holds a line; `bits` takes 1 where a
            line is and 0 elsewhere, as the seed does.
        logit_scale: logits per unit of code.
        logit_center: code of even odds.

    Raises:
        UsageError: an option is out of range, or `start` and `bin_width` are left out for a
            nucleus that has no default.

    Example:
        >>> from nmrtk.spectrum import spectrum_of_shifts
        >>> codec = BinaryCodec(Nucleus.parse("13C"))
        >>> codec.encode(spectrum_of_shifts("13C", [18.1, 57.8])).nonzero()[0].tolist()
        [11, 36]
    """

    reads_lines = True

    def __init__(
        self,
        nucleus: Nucleus,
        *,
        start: float | None = None,
        bin_width: float | None = None,
        bins: int = 128,
        loss: Literal["distance", "plain"] = "plain",
        positive_weight: float = 1.0,
        levels: Literal["measured", "bits"] = "measured",
        logit_scale: float = 1.0,
        logit_center: float = 0.0,
    ) -> None:
        super().__init__(nucleus)
        self.grid = Grid.of(_NAME, nucleus, start, bin_width, bins)
        require_positive(_NAME, "positive_weight", positive_weight)
        require_positive(_NAME, "logit_scale", logit_scale)
        if loss not in ("distance", "plain"):
            raise UsageError(f"{_NAME}: loss is {loss!r}, allowed are 'distance' and 'plain'")
        if levels not in ("measured", "bits"):
            raise UsageError(f"{_NAME}: levels is {levels!r}, allowed are 'measured' and 'bits'")
        if not math.isfinite(logit_center):
            raise UsageError(f"{_NAME}: logit_center is {logit_center}, it must be a finite number")
        self.start = self.grid.start
        self.bin_width = self.grid.bin_width
        self.bins = bins
        self.weights_by_distance = loss == "distance"
        self.positive_weight = positive_weight
        self.measures_levels = levels == "measured"
        self.logit_scale = logit_scale
        self.logit_center = logit_center
        self.levels: Tensor
        self.register_buffer("levels", torch.zeros(_DISTANCES).index_fill(0, torch.tensor(0), 1.0))

    @property
    def unit(self) -> float:
        """That of the nucleus, in ppm."""
        return self.grid.unit

    @property
    def width(self) -> int:
        """K, the number of bins."""
        return self.bins

    @property
    def bin_count(self) -> int:
        """N, the number of bins."""
        return self.bins

    def encode(self, spectrum: Spectrum) -> NDArray[np.float32]:
        """Bits (K,) of one spectrum.

        Raises:
            SpectrumError: the spectrum is of another nucleus or has no lines.
        """
        bins = np.floor(self.grid.positions(spectrum)).astype(np.int64)
        target = np.zeros(self.bins, dtype=np.float32)
        target[np.clip(bins, 0, self.bins - 1)] = 1.0
        return target

    def loss(self, code: Tensor, target: Tensor) -> Tensor:
        """Weighted binary cross-entropy (B,), the mean over bins, from code and target (B, K)."""
        weight = torch.where(target > 0.5, self.positive_weight, 1.0)
        if self.weights_by_distance:
            weight = weight / (1.0 + _bins_to_nearest(target > 0.5))
        entropy = functional.binary_cross_entropy_with_logits(
            self._logits(code), target, reduction="none"
        )
        return (weight * entropy).mean(-1)

    def occupancy(self, code: Tensor) -> Tensor:
        """Probability (B, N) that each bin holds a line, from codes (B, K)."""
        return torch.sigmoid(self._logits(code))

    def occupied(self, target: Tensor) -> Tensor:
        """Whether each bin holds a line, bool (B, N), from targets (B, K)."""
        return target > 0.5

    def embed(self, target: Tensor) -> Tensor:
        """Codes (B, K) of targets (B, K), by the distance to the nearest bin that holds a line."""
        return self.levels[self._distance_classes(target)]

    def fit_embedding(self, code: Tensor, target: Tensor) -> None:
        """Measure the levels on the codes (B, K) of a trained model for targets (B, K)."""
        if not self.measures_levels:
            return
        classes = self._distance_classes(target).flatten()
        sums = code.new_zeros(_DISTANCES).index_add(0, classes, code.detach().flatten())
        counts = torch.bincount(classes, minlength=_DISTANCES)
        # A distance that does not occur keeps the level it had.
        self.levels.copy_(torch.where(counts > 0, sums / counts.clamp(min=1), self.levels))

    def _distance_classes(self, target: Tensor) -> Tensor:
        """Bins to the nearest that holds a line, (B, K), at most `_DISTANCES - 1`."""
        return _bins_to_nearest(target > 0.5).long().clamp(max=_DISTANCES - 1)

    def log_likelihood(self, code: Tensor, target: Tensor) -> Tensor:
        """Log-probability (B,) in nats of the bits (B, K), each an independent Bernoulli variable
        with the probability that codes (B, K) give; leading dimensions broadcast.
        """
        logits = self._logits(code)
        return (target * logits - functional.softplus(logits)).sum(-1)

    def decode(self, code: Tensor, line_counts: Sequence[int]) -> list[Spectrum]:
        """Lines at the centres of the bins that codes (B, K) make most likely.

        Each line in turn goes to the bin where its probability divided by one more than its lines
        so far is greatest. So every bin above 0.5 gets one line before any gets its second, and
        lines left over, of equivalent atoms, repeat the most certain bins. The variance of a line
        is that within a bin, plus that of the probability nearby which no line has claimed.

        Args:
            code: (B, K).
            line_counts: number of lines of each spectrum, (B,).

        Returns:
            One spectrum a row, every line with sigma in ppm.
        """
        occupancy = self.occupancy(code.detach()).double().cpu().numpy()
        return [
            self._decode_row(row, count) for row, count in zip(occupancy, line_counts, strict=True)
        ]

    def expected(self, lines: AtomLines, batch_size: int) -> Tensor:
        """Code (B, K) whose occupancy is the probability that a bin holds at least one of the
        lines, between 1e-4 and 1 - 1e-4.

        Lines are independent and Laplace distributed: p = 1 - product over lines of (1 - q), with
        q from the distribution function at the edges of the bin. A floor of 1e-4 is mixed in, so
        that a line far from all predicted ones costs 9 nats and not infinity.

        Args:
            lines: of all molecules of the batch, (A,).
            batch_size: B; a molecule without lines gets empty bins.
        """
        lambdas = lines.shift.new_zeros(batch_size, self.bins)
        lambdas = lambdas.index_add(0, lines.molecule, -self._log_miss(lines))
        span = 1.0 - 2.0 * _NOISE_FLOOR
        hit = _NOISE_FLOOR - span * torch.expm1(-lambdas)
        miss = _NOISE_FLOOR + span * torch.exp(-lambdas)
        return (hit.log() - miss.log()) / self.logit_scale + self.logit_center

    def _log_miss(self, lines: AtomLines) -> Tensor:
        """Log-probability (A, K) that a line is not in a bin, exact also where that is tiny."""
        inner = torch.arange(1, self.bins, device=lines.shift.device, dtype=lines.shift.dtype)
        edges = self.start + self.bin_width * inner
        offset = (edges - lines.shift[:, None]) / lines.scale[:, None]
        tail = 0.5 * torch.exp(-offset.abs().clamp(max=_MOST_SCALES))
        # The outer bins are open: the tail beyond their outer edge is empty.
        low = functional.pad(tail, (1, 0))
        high = functional.pad(tail, (0, 1))
        below = functional.pad(offset < 0, (1, 0), value=True)
        above = functional.pad(offset >= 0, (0, 1), value=True)
        # Where the line lies in the bin, the two tails are what misses it. Where it lies beside
        # it, their difference is what hits it.
        inside = below & above
        miss = torch.where(inside, low + high, 1.0)
        hit = torch.where(inside, 0.0, (low - high).abs())
        return miss.log() + torch.log1p(-hit)

    def _logits(self, code: Tensor) -> Tensor:
        return self.logit_scale * (code - self.logit_center)

    def _decode_row(self, occupancy: NDArray[np.float64], count: int) -> Spectrum:
        chosen = np.zeros(self.bins, dtype=np.int64)
        for _ in range(count):
            chosen[np.argmax(occupancy / (chosen + 1))] += 1
        peaks: list[Peak] = []
        for index in np.flatnonzero(chosen).tolist():
            near = np.arange(max(0, index - _SPREAD_BINS), min(self.bins, index + _SPREAD_BINS + 1))
            mass = np.where((chosen[near] == 0) | (near == index), occupancy[near], 0.0)
            # A probability may have underflowed to 0, in which case it tells nothing.
            total = max(mass.sum(), np.finfo(np.float64).tiny)
            variance = 1 / 12 + (mass * (near - index) ** 2).sum() / total
            center = self.start + (index + 0.5) * self.bin_width
            peak = Peak(center, sigma=self.bin_width * math.sqrt(variance))
            peaks += [peak] * int(chosen[index])
        return Spectrum(str(self.nucleus), tuple(peaks))


def _bins_to_nearest(occupied: Tensor) -> Tensor:
    """Distance in bins (B, K) to the nearest occupied one; K or more where none is."""
    bins = occupied.shape[-1]
    index = torch.arange(bins, device=occupied.device)
    left = torch.where(occupied, index, -bins).cummax(-1).values
    right = torch.where(occupied, index, 2 * bins).flip(-1).cummin(-1).values.flip(-1)
    return torch.minimum(index - left, right - index)
