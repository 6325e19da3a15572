"""The bins of the ppm axis."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nmrtk.errors import SpectrumError, UsageError
from nmrtk.nucleus import DEFAULT_NUCLEUS, Nucleus
from nmrtk.spectrum import Spectrum

CARBON_START = 0.0
CARBON_BIN_WIDTH = 1.6

# Tables give shifts to 0.1 or 0.01 ppm, so many lie exactly on an edge, and 4.8 / 1.6 is less
# than 3 in binary: without this part of a bin they would fall on either side by chance.
_EDGE_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Grid:
    """Bins of equal width. An edge belongs to the bin above it.

    Args:
        codec: name of the codec, for messages.
        nucleus: whose lines are binned.
        start: lower end of the first bin in ppm.
        bin_width: in ppm.
        bins: their number.

    Raises:
        UsageError: a value is out of range, or the nucleus is not 13C and `start` and `bin_width`
            are those of 13C.
    """

    codec: str
    nucleus: Nucleus
    start: float
    bin_width: float
    bins: int

    def __post_init__(self) -> None:
        is_default = (self.start, self.bin_width) == (CARBON_START, CARBON_BIN_WIDTH)
        if str(self.nucleus) != DEFAULT_NUCLEUS and is_default:
            raise UsageError(
                f"{self.codec}: {self.bins} bins of {self.bin_width:g} ppm from {self.start:g} ppm "
                f"are made for {DEFAULT_NUCLEUS}; for {self.nucleus} set start and bin_width"
            )
        if not math.isfinite(self.start):
            raise UsageError(
                f"{self.codec}: start is {self.start}, it must be a finite number of ppm"
            )
        require_positive(self.codec, "bin_width", self.bin_width)
        if self.bins < 2:
            raise UsageError(f"{self.codec}: bins is {self.bins}, at least 2 are needed")

    def positions(self, spectrum: Spectrum) -> NDArray[np.float64]:
        """Distance (L,) of each line from the start in bins; rounded down, its bin.

        Raises:
            SpectrumError: the spectrum is of another nucleus or has no lines.
        """
        if spectrum.nucleus != str(self.nucleus):
            raise SpectrumError(
                f"a {spectrum.nucleus} spectrum was given to a codec for {self.nucleus}"
            )
        if not spectrum.peaks:
            raise SpectrumError(f"the {spectrum.nucleus} spectrum has no lines")
        return (np.array(spectrum.shifts) - self.start) / self.bin_width + _EDGE_TOLERANCE


def require_positive(codec: str, name: str, value: float) -> None:
    """Raises UsageError unless an option of a codec is a finite number above 0."""
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{codec}: {name} is {value:g}, it must be positive")
