"""Spectra as journals print them, read: `13C NMR (101 MHz, CDCl3) δ 206.9, 30.9 (2C).`"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nmrtk.errors import SpectrumError, shorten
from nmrtk.nucleus import HYDROGEN_LETTER_NUCLEI
from nmrtk.peaklist import MAX_COUNT, clean_multiplicity, parse_peaks
from nmrtk.solvents import find_solvent
from nmrtk.spectrum import Peak, Spectrum

_ALLOWED = (
    "write it as in a paper, such as 13C NMR (101 MHz, CDCl3) δ 206.9, 30.9 (2C), or as a list "
    "such as 206.9S 30.9Q(2C)"
)

_DIGITS = str.maketrans(
    "⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉\N{NO-BREAK SPACE}\N{THIN SPACE}\N{NARROW NO-BREAK SPACE}",
    "01234567890123456789   ",
)
_DASHES = "\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{FIGURE DASH}\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}"
_DASH = str.maketrans(dict.fromkeys(_DASHES, "-"))

_HEAD = re.compile(
    r"(?:\^?\{?(?P<mass>\d{1,3})\}?\s?(?P<symbol>[A-Z][a-z]?)|(?P<symbol2>[A-Z][a-z]?)-?(?P<mass2>\d{1,3}))"
    r"\s*(?:\{\s*\d*[A-Z][a-z]?(?:\s*,\s*\d*[A-Z][a-z]?)*\s*\})?"
    r"(?:\s|-)*(?:APT|DEPT|DEPTQ|CPD|BB)?(?:\s|-)*NMR\b",
)
_MARK = re.compile(
    r"(?:δ|\N{MATHEMATICAL ITALIC SMALL DELTA}|\bdelta\b|\bppm\b\s*:)"
    r"\s*_?(?:\(\d*[A-Z][a-z]?\)|\d*C\b)?\s*(?:\(\s*ppm\s*\)|/\s*ppm|\bppm\b|\[\s*ppm\s*\])?\s*\)?\s*[:=]?",
    re.IGNORECASE,
)
_CONDITIONS = re.compile(r"\s*[,:;]?\s*\((?P<text>[^()]*(?:\([^()]*\)[^()]*)*)\)")
_FIELD = re.compile(r"(\d+(?:\.\d+)?)\s*MHz", re.IGNORECASE)
_KELVIN = re.compile(r"(\d+(?:\.\d+)?)\s*K\b")
_CELSIUS = re.compile(r"(-?\d+(?:\.\d+)?)\s*°\s*C\b")
_TAIL = re.compile(
    r"\b(?:HR-?(?:ESI-?)?MS|LRMS|ESI|EI-?MS|GC-?MS|MS|FT-?IR|IR|UV|Anal|Mp|mp|m\.p|Rf|Elemental)\b"
)

_NUMBER = r"\d+(?:\.\d+)?"
_SHIFT = re.compile(rf"[+-]?{_NUMBER}(?![\d.]*\d)")
_RANGE = re.compile(rf"(?:-|\s-\s|\s?\bto\b\s?)({_NUMBER})")
_SKIP = re.compile(r"(?:[\s,;|.:/&]|\band\b|\bppm\b)+")
_LETTER = re.compile(r"\s?(CH[23]?|[SDTQ]|[sdtq])(?![A-Za-z0-9])")
_TIMES = re.compile(r"\s?(?:[x×*]\s?(\d+)|(\d+)\s?[x×*]|(\d+)\s?C\b)(?![\d.])")
_BRACKET = re.compile(r"\s*[(\[]([^()\[\]]*(?:\([^()]*\)[^()\[\]]*)*)[)\]]")

_COUNTED = re.compile(r"(\d+)\s*[x×*]?\s*(?P<what>[A-Za-z][A-Za-z0-9]*)?")
_COUNT_LAST = re.compile(r"(?P<what>[A-Za-z][A-Za-z0-9]*)?\s*[x×*]\s*(\d+)")
_COUPLING = re.compile(r"J|Hz", re.IGNORECASE)
_CARBON_GROUPS = ("C", "CH", "CH2", "CH3")
_GROUPS = {"CQ": "C", "QUAT": "C", "QC": "C", "CQUAT": "C"}


def reads_as_text(text: str) -> bool:
    """Whether a text looks like that of a journal, and not like a plain peak list."""
    plain = _plain(text)
    return bool(
        re.search(r"NMR|δ|\bdelta\b|Hz|\bppm\b", plain)
        or re.search(rf"{_NUMBER}\s?-\s?{_NUMBER}", plain)
        or re.search(r"\((?!\s*(?:\d+\s*C?|[SDTQsdtq])\s*\))", plain)
    )


def parse_spectrum(text: str, nucleus: str) -> Spectrum:
    """Read lines that a user gives as text: the text of a journal, or a plain peak list.

    Raises:
        SpectrumError: it is neither; says where and what is allowed.

    Example:
        >>> parse_spectrum("13C{1H} NMR (101 MHz, CDCl3) δ 206.9, 30.9 (2 × C).", "13C").shifts
        [30.9, 30.9, 206.9]
    """
    return parse_acs(text, nucleus) if reads_as_text(text) else parse_peaks(text, nucleus)


def nuclei_of(text: str) -> tuple[str, ...]:
    """Nuclei that the text of a journal names before shifts.

    Example:
        >>> nuclei_of("1H NMR (400 MHz, CDCl3) δ 3.72, 1.24. 13C NMR δ 57.8, 18.1")
        ('1H', '13C')
    """
    return tuple(dict.fromkeys(_name(head) for head in _HEAD.finditer(_plain(text))))


def parse_acs(text: str, nucleus: str) -> Spectrum:
    """Read the text of a journal.

    Nucleus, conditions and δ may stand before the shifts or not. A shift may be followed by
    brackets that hold a count, `(2C)` or `(2 × CH3)`, the group, `(CH2)`, a letter S, D, T or Q
    for attached hydrogens, couplings, `(d, J = 245.3 Hz)`, whose letter is then that of the
    coupling, and labels, `(C-5)`, which are left out. A range stands for as many lines as it
    counts, spread over it, or for one in its middle. Of several nuclei only the part of the one
    that is asked for is read; it ends where a text on masses or infrared bands begins.

    Args:
        text: the text.
        nucleus: such as `13C`.

    Returns:
        The spectrum, with field, solvent and temperature where the text has them.

    Raises:
        SpectrumError: it is of another nucleus, a part is no shift, or nothing is there.
    """
    plain = _plain(text)
    start, end, head = _section(plain, nucleus)
    body = plain[start:end]
    # Where semicolons separate, a comma between digits is a decimal comma.
    if ";" in body and not re.search(r"\d\.\d", body):
        body = re.sub(r"(?<=\d),(?=\d)", ".", body)
    peaks: list[Peak] = []
    position = 0
    while True:
        if skipped := _SKIP.match(body, position):
            position = skipped.end()
        if position >= len(body):
            break
        item = _read_item(body, position, nucleus)
        if item is None:
            rest = text[start + position :].split(",")[0].strip()
            raise SpectrumError(
                f"at character {start + position + 1} of the text: {shorten(rest, 40)!r} is not a "
                f"shift; {_ALLOWED}"
            )
        peaks += item.peaks
        position = item.end
    if not peaks:
        raise SpectrumError(f"the peak list is empty: the text holds no shift; {_ALLOWED}")
    field, kelvin, solvent = _conditions(head)
    return Spectrum(nucleus, tuple(peaks), solvent=solvent, field_mhz=field, temperature_k=kelvin)


@dataclass(frozen=True, slots=True)
class _Item:
    peaks: list[Peak]
    end: int


def _plain(text: str) -> str:
    """The same with as many characters, but plain digits, blanks and dashes."""
    return text.translate(_DIGITS).translate(_DASH)


def _section(text: str, nucleus: str) -> tuple[int, int, str]:
    """Where the shifts of a nucleus stand, and what stands before them."""
    heads = list(_HEAD.finditer(text))
    begin, end = 0, len(text)
    if heads:
        names = [_name(head) for head in heads]
        if nucleus not in names:
            raise SpectrumError(
                f"the text is of {' and '.join(dict.fromkeys(names))}, but {nucleus} lines are "
                "needed: give those, or a model for the other nucleus"
            )
        place = names.index(nucleus)
        begin = heads[place].end()
        if place + 1 < len(heads):
            end = heads[place + 1].start()
    mark = _MARK.search(text, begin, end)
    if mark is not None and not _holds_shifts(text[begin : mark.start()]):
        start = mark.end()
    else:
        start = _after_conditions(text, begin, end) if heads else begin
    tail = _TAIL.search(text, start, end)
    return start, tail.start() if tail else end, text[begin:start]


def _name(head: re.Match[str]) -> str:
    return f"{head['mass'] or head['mass2']}{head['symbol'] or head['symbol2']}"


def _holds_shifts(text: str) -> bool:
    """Whether shifts stand in a text, and not only conditions."""
    return bool(re.search(r"\d\.\d", _FIELD.sub("", _CONDITIONS.sub("", text))))


def _after_conditions(text: str, begin: int, end: int) -> int:
    """Where brackets with field and solvent end, or the same without brackets."""
    position = begin
    while (group := _CONDITIONS.match(text, position, end)) is not None:
        position = group.end()
    while True:
        gap = _SKIP.match(text, position, end)
        place = gap.end() if gap else position
        field = _FIELD.match(text, place, end)
        word = re.compile(r"[A-Za-z][A-Za-z0-9-]*").match(text, place, end)
        if field is not None:
            position = field.end()
        elif word is not None and (find_solvent(word[0]) or word[0].lower() == "in"):
            position = word.end()
        else:
            return place


def _conditions(head: str) -> tuple[float | None, float | None, str]:
    """Field in MHz, temperature in kelvin, and solvent."""
    field = _FIELD.search(head)
    kelvin, celsius = _KELVIN.search(head), _CELSIUS.search(head)
    temperature = float(kelvin[1]) if kelvin else float(celsius[1]) + 273.15 if celsius else None
    solvent = ""
    for part in re.split(r"[,;:()/]|\bin\b|\s", head):
        if found := find_solvent(part):
            solvent = found.name
            break
    else:
        whole = find_solvent(head)
        solvent = whole.name if whole else ""
    return float(field[1]) if field else None, temperature, solvent


def _read_item(body: str, position: int, nucleus: str) -> _Item | None:
    """A shift or a range with what follows it; None where there is none."""
    number = _SHIFT.match(body, position)
    if number is None:
        return None
    first = last = float(number[0])
    end = number.end()
    if found := _RANGE.match(body, end):
        last = float(found[1])
        end = found.end()
    count, letter = 1, ""
    if found := _LETTER.match(body, end):
        letter, end = found[1], found.end()
    if found := _TIMES.match(body, end):
        count, end = int((found[1] or found[2] or found[3])[:6]), found.end()
    while found := _BRACKET.match(body, end):
        bracket_count, bracket_letter = _read_bracket(found[1], nucleus)
        count = count if bracket_count is None else bracket_count
        letter = letter or bracket_letter
        end = found.end()
    # What is glued to a number makes it something else, such as a label.
    if end < len(body) and (body[end].isalnum() or body[end] in "-+=%°"):
        return None
    if not 1 <= count <= MAX_COUNT:
        raise SpectrumError(
            f"the count {count} of the line at {first:g} is outside 1 to {MAX_COUNT}"
        )
    letter = clean_multiplicity(letter, nucleus) if nucleus in HYDROGEN_LETTER_NUCLEI else ""
    if first == last:
        shifts = [first] * count
    elif count == 1:
        shifts = [(first + last) / 2]
    else:
        shifts = [first + (last - first) * step / (count - 1) for step in range(count)]
    return _Item([Peak(round(ppm, 4), multiplicity=letter) for ppm in shifts], end)


def _read_bracket(text: str, nucleus: str) -> tuple[int | None, str]:
    """Count and letter that a bracket tells; None and an empty text where it tells none."""
    element = nucleus.lstrip("0123456789")
    count: int | None = None
    letter = ""
    coupled = bool(_COUPLING.search(text))
    for part in re.split(r"[,;]", text):
        plain = part.strip()
        counted = _COUNTED.fullmatch(plain) or _COUNT_LAST.fullmatch(plain)
        if counted is not None:
            what = counted["what"] or ""
            number = next(g for g in counted.groups() if g and g.isdigit())
            if what in ("", element) or clean_multiplicity(what, nucleus):
                count = int(number[:6])
            plain = "" if what == element else what
        group = _GROUPS.get(plain.upper(), plain)
        # A letter beside a coupling says how the line is split, not how many hydrogens there are.
        if group in _CARBON_GROUPS or (not coupled and len(group) == 1):
            letter = letter or clean_multiplicity(group, nucleus)
    return count, letter
