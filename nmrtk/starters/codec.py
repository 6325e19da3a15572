"""Stretches of the ppm axis that hold a line or not."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from nmrtk.errors import SpectrumError, UsageError
from nmrtk.interfaces import AtomLines, SpectrumCodec
from nmrtk.nucleus import DEFAULT_NUCLEUS, Nucleus
from nmrtk.spectrum import Peak, Spectrum

_DEFAULT_LOW, _DEFAULT_HIGH = 0.0, 220.0
"""Range of the default nucleus in ppm."""

_SURE = 4.0
"""Logit of the bins of an observed spectrum, where an inversion starts from."""

_FLOOR = 1e-3
"""Probability of a line that nothing predicts, and of none where one is certain."""


class BinsCodec(SpectrumCodec):
    """Bins of equal width, occupied or not; a code holds their logits.

    Lines beyond the ends belong to the end bins.

    Args:
        nucleus: whose spectra it takes.
        low: lower end of the first bin in ppm.
        high: upper end of the last bin in ppm.
        bins: K = N, their number.

    Raises:
        UsageError: there is no bin, no room for one, or the nucleus is not the one that the
            defaults are for, and both ends are left at them.
    """

    reads_lines = True

    def __init__(
        self,
        nucleus: Nucleus,
        *,
        low: float = _DEFAULT_LOW,
        high: float = _DEFAULT_HIGH,
        bins: int = 44,
    ) -> None:
        super().__init__(nucleus)
        if str(nucleus) != DEFAULT_NUCLEUS and (low, high) == (_DEFAULT_LOW, _DEFAULT_HIGH):
            raise UsageError(
                f"bins: from {low:g} to {high:g} ppm is for {DEFAULT_NUCLEUS}: give low and high "
                f"for {nucleus}"
            )
        if not (math.isfinite(high - low) and high > low and bins >= 1):
            raise UsageError(
                f"bins: low={low:g}, high={high:g}, bins={bins}: high must be above low, and "
                "bins at least 1"
            )
        self._edges = np.linspace(low, high, bins + 1)

    @property
    def width(self) -> int:
        """K."""
        return len(self._edges) - 1

    @property
    def bin_count(self) -> int:
        """N, which is K."""
        return self.width

    def encode(self, spectrum: Spectrum) -> NDArray[np.float32]:
        """Ones (K,) where there is a line.

        Raises:
            SpectrumError: the spectrum is of another nucleus or has no lines.
        """
        if spectrum.nucleus != str(self.nucleus):
            raise SpectrumError(f"the spectrum is of {spectrum.nucleus}, not {self.nucleus}")
        if not spectrum.peaks:
            raise SpectrumError("the spectrum has no lines")
        target = np.zeros(self.width, np.float32)
        target[np.searchsorted(self._edges[1:-1], spectrum.shifts, side="right")] = 1.0
        return target

    def loss(self, code: Tensor, target: Tensor) -> Tensor:
        """Binary cross-entropy (B,), the mean over bins."""
        return -self.log_likelihood(code, target) / self.width

    def occupancy(self, code: Tensor) -> Tensor:
        """Probability (B, N) that each bin holds a line."""
        return torch.sigmoid(code)

    def occupied(self, target: Tensor) -> Tensor:
        """Whether each bin holds a line, bool (B, N)."""
        return target > 0.5

    def embed(self, target: Tensor) -> Tensor:
        """Logits (B, K) of what was observed."""
        return (2.0 * target - 1.0) * _SURE

    def log_likelihood(self, code: Tensor, target: Tensor) -> Tensor:
        """Log-probability (B,) in nats of independent bins."""
        code, target = torch.broadcast_tensors(code, target)
        return -binary_cross_entropy_with_logits(code, target, reduction="none").sum(dim=-1)

    def decode(self, code: Tensor, line_counts: Sequence[int]) -> list[Spectrum]:
        """Lines in the middle of the bins above even odds, in turn, likeliest first."""
        centres = (self._edges[1:] + self._edges[:-1]) / 2
        sigma = float(self._edges[1] - self._edges[0])
        spectra = []
        for row, count in zip(code, line_counts, strict=True):
            chosen = max(1, int((row > 0).sum()))
            best = torch.argsort(row, descending=True)[:chosen].tolist()
            places = [best[line % chosen] for line in range(count)]
            peaks = tuple(Peak(float(centres[place]), sigma=sigma) for place in places)
            spectra.append(Spectrum(str(self.nucleus), peaks))
        return spectra

    def expected(self, lines: AtomLines, batch_size: int) -> Tensor:
        """Logits (B, K) of the probability that at least one of the predicted lines, each from
        its Laplace distribution, lies in a bin.
        """
        inner = torch.from_numpy(self._edges[1:-1]).to(lines.shift)
        offset = (inner - lines.shift[:, None]) / lines.scale[:, None]
        tail = 0.5 * torch.exp(-offset.abs())
        below = torch.where(offset < 0, tail, 1 - tail)
        # The end bins are open: nothing is below the first, everything below the end of the last.
        below = torch.cat([torch.zeros_like(below[:, :1]), below, torch.ones_like(below[:, :1])], 1)
        miss = torch.log1p(-(below.diff(dim=1) * (1 - _FLOOR)))
        all_miss = miss.new_zeros(batch_size, self.width).index_add(0, lines.molecule, miss)
        return torch.logit(_FLOOR - (1 - 2 * _FLOOR) * torch.expm1(all_miss))
