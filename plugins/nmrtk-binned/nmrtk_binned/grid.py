"""The bins of the ppm axis."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nmrtk.errors import SpectrumError, UsageError
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Spectrum


@dataclass(frozen=True, slots=True)
class Axis:
    """Where the lines of a nucleus lie, for 128 bins.

    Args:
        start: lower end of the first bin in ppm.
        bin_width: in ppm.
        unit: difference of shifts in ppm that matters to a chemist.
    """

    start: float
    bin_width: float
    unit: float


# 13C is that of Kuhn et al., arXiv 2602.03875. The others hold at least 98 % of the lines that
# nmrshiftdb2 has of the nucleus; the outer bins take the rest.
AXES = {
    "1H": Axis(-0.5, 0.1, 0.1),
    "11B": Axis(-102.4, 1.6, 1.0),
    "13C": Axis(0.0, 1.6, 1.0),
    "15N": Axis(-512.0, 8.0, 5.0),
    "17O": Axis(-320.0, 8.0, 5.0),
    "19F": Axis(-256.0, 3.0, 2.0),
    "29Si": Axis(-256.0, 3.0, 1.0),
    "31P": Axis(-256.0, 4.0, 2.0),
    "195Pt": Axis(-6400.0, 100.0, 50.0),
}
"""The axes of the nuclei that have a default."""

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
        unit: difference of shifts in ppm that matters.

    Raises:
        UsageError: a value is out of range.
    """

    codec: str
    nucleus: Nucleus
    start: float
    bin_width: float
    bins: int
    unit: float

    @classmethod
    def of(
        cls,
        codec: str,
        nucleus: Nucleus,
        start: float | None,
        bin_width: float | None,
        bins: int,
    ) -> Grid:
        """The bins of a nucleus; what is None is that of its axis.

        Raises:
            UsageError: a value is out of range, or is None where the nucleus has no axis.
        """
        axis = AXES.get(str(nucleus))
        if axis is None and (start is None or bin_width is None):
            raise UsageError(
                f"{codec}: where the lines of {nucleus} lie is not known: set start and bin_width "
                f"(known: {', '.join(AXES)})"
            )
        if axis is None:
            axis = Axis(start or 0.0, bin_width or 0.0, bin_width or 0.0)
        return cls(
            codec,
            nucleus,
            axis.start if start is None else start,
            axis.bin_width if bin_width is None else bin_width,
            bins,
            axis.unit,
        )

    def __post_init__(self) -> None:
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
