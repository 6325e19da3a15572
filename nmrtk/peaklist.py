"""Peak lists as people write them: `206.9S 30.9Q(2C)`."""

from __future__ import annotations

import re
from itertools import groupby

from nmrtk.errors import SpectrumError
from nmrtk.nucleus import HYDROGEN_LETTER_NUCLEI
from nmrtk.spectrum import Peak, Spectrum

MAX_COUNT = 500
"""Largest count of equivalent atoms that one peak may stand for."""

_ALLOWED = (
    "write shifts in ppm, each with an optional letter S, D, T or Q and an optional count, such as "
    "206.9S 30.9Q(2C); decimal commas only where ; separates"
)
_LETTERS = frozenset("SDTQ")
_OF_GROUP = {"C": "S", "CH": "D", "CH2": "T", "CH3": "Q"}

_SHIFT = r"(?P<ppm>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)?"
_LETTER = r"(?:(?P<letter>[SDTQsdtq])|\((?P<marked>[SDTQsdtq])\))?"
_COUNT = r"(?:\((?P<bracket>\d+)(?P<element>[A-Z][a-z]?)?\)|[x×](?P<times>\d+))?"
_TOKEN = re.compile(_SHIFT + _LETTER + _COUNT)
_SEPARATED = re.compile(r"[^\s,;|]+")
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")


def parse_peaks(text: str, nucleus: str) -> Spectrum:
    """Read a peak list.

    Peaks are separated by white space, comma, semicolon or `|`. A peak is a shift in ppm, then,
    joined to it or apart, a letter S, D, T or Q in either case and perhaps in brackets, then a
    count, `(2C)` or `x2`.
    Where a semicolon separates, a comma between digits is a decimal comma.

    Args:
        text: the list.
        nucleus: such as `13C`.

    Returns:
        The spectrum; a peak with a count is repeated.

    Raises:
        SpectrumError: a part is not a peak, or nothing is there; says where and what is allowed.

    Example:
        >>> [(p.ppm, p.multiplicity) for p in parse_peaks("206.9S 30.9Q(2C)", "13C").peaks]
        [(30.9, 'Q'), (30.9, 'Q'), (206.9, 'S')]
    """
    plain = text.replace("\N{MINUS SIGN}", "-")
    if ";" in plain:
        plain = _DECIMAL_COMMA.sub(".", plain)
    lines: list[_Line] = []
    for found in _SEPARATED.finditer(plain):
        try:
            _take(found[0], lines, nucleus)
        except SpectrumError as error:
            token = text[found.start() : found.end()]
            raise SpectrumError(
                f"at character {found.start() + 1} of the peak list: {_shorten(token)!r} {error}; "
                f"{_ALLOWED}"
            ) from None
    if not lines:
        raise SpectrumError(f"the peak list is empty; {_ALLOWED}")
    peaks = (Peak(line.ppm, multiplicity=line.letter or "") for line in lines for _ in line.atoms)
    return Spectrum(nucleus, tuple(peaks))


def format_peaks(spectrum: Spectrum) -> str:
    """Write a peak list that `parse_peaks` reads: shifts, letters S, D, T, Q, and counts.

    Example:
        >>> format_peaks(parse_peaks("30.9q 206.9 30.9Q", "13C"))
        '30.9Q(2C) 206.9'
    """
    element = spectrum.nucleus.lstrip("0123456789")
    texts = []
    for (ppm, letter), group in groupby(spectrum.peaks, lambda peak: (peak.ppm, peak.multiplicity)):
        left = len(list(group))
        while left:
            count = min(left, MAX_COUNT)
            shown = letter if letter in _LETTERS else ""
            suffix = f"({count}{element})" if count > 1 else ""
            texts.append(f"{ppm!r}{shown}{suffix}")
            left -= count
    return " ".join(texts)


def clean_multiplicity(text: str, nucleus: str) -> str:
    """A multiplicity as data sets store it.

    For 13C that is S, D, T or Q, also where the source has lower case or CH3, and an empty string
    for all that says nothing of attached hydrogens; for other nuclei the text of the source.

    Example:
        >>> clean_multiplicity("ch2", "13C"), clean_multiplicity("br s", "1H")
        ('T', 'br s')
    """
    plain = text.strip()
    if nucleus not in HYDROGEN_LETTER_NUCLEI:
        return plain
    upper = plain.upper()
    letter = _OF_GROUP.get(upper, upper)
    return letter if letter in _LETTERS else ""


class _Line:
    """A shift and what has been read of its letter and count."""

    def __init__(self, ppm: float) -> None:
        self.ppm = Peak(ppm).ppm  # checks the size
        self.letter: str | None = None
        self.count: int | None = None

    @property
    def atoms(self) -> range:
        return range(1 if self.count is None else self.count)


def _take(token: str, lines: list[_Line], nucleus: str) -> None:
    """Add what a token says: a new line, or letter and count of the last one."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise SpectrumError("is not a peak")
    if match["ppm"] is not None:
        lines.append(_Line(float(match["ppm"])))
    elif not lines:
        raise SpectrumError("follows no shift")
    line = lines[-1]
    if letter := match["letter"] or match["marked"]:
        if line.letter is not None:
            raise SpectrumError("is a second letter for one shift")
        line.letter = letter.upper()
    count = match["bracket"] or match["times"]
    if count:
        if line.count is not None:
            raise SpectrumError("is a second count for one shift")
        if match["element"] and match["element"] != nucleus.lstrip("0123456789"):
            raise SpectrumError(f"counts {match['element']} in a {nucleus} spectrum")
        if len(count) > len(str(MAX_COUNT)) or not 1 <= int(count) <= MAX_COUNT:
            raise SpectrumError(f"is a count outside 1 to {MAX_COUNT}")
        line.count = int(count)


def _shorten(text: str, limit: int = 40) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
