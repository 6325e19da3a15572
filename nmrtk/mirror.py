"""Observed lines upwards, those of a candidate downwards, as SVG made by hand: small and sharp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 12, 12, 26, 24
_OBSERVED, _PREDICTED, _WRONG, _INK = "#1b4f72", "#6c7a89", "#c0392b", "#555"
_STEPS = (1, 2, 5, 10, 20, 25, 50)
_MOST_TICKS = 13
_MARGIN_PPM = 4.0


@dataclass(frozen=True, slots=True)
class MirroredLine:
    """Predicted lines of equivalent atoms and the observed line that they belong to.

    Args:
        predicted: in ppm.
        sigma: of the prediction in ppm, or None.
        observed: in ppm, or None where the line lacks.
        count: number of atoms.
        differs: whether they disagree.
    """

    predicted: float
    sigma: float | None
    observed: float | None
    count: int
    differs: bool


def mirror_svg(
    observed: Sequence[tuple[float, int]],
    lines: Sequence[MirroredLine],
    extra: Sequence[float] = (),
    title: str = "observed and predicted lines",
) -> str:
    """Sticks of observed lines above an axis, of predicted ones below, joined where they match.

    Args:
        observed: shifts in ppm, and how often each is listed.
        lines: predicted.
        extra: observed shifts that belong to no atom; drawn as those that disagree.
        title: for those who cannot see it.
    """
    shifts = [ppm for ppm, _ in observed] + [line.predicted for line in lines]
    low, high = _ends(shifts)
    scale = (WIDTH - _LEFT - _RIGHT) / (high - low)
    middle = _TOP + (HEIGHT - _TOP - _BOTTOM) / 2
    reach = middle - _TOP - 4

    def x(ppm: float) -> float:
        return round(_LEFT + (high - ppm) * scale, 2)

    most = max([count for _, count in observed] + [line.count for line in lines] + [1])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="10"><title>{escape(title)}</title>'
    ]
    for tick in _ticks(low, high):
        place = x(tick)
        parts.append(
            f'<line x1="{place}" x2="{place}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}" '
            f'stroke="#e8e8e8"/><text x="{place}" y="{HEIGHT - 8}" text-anchor="middle" '
            f'fill="{_INK}">{tick:g}</text>'
        )
    for line in lines:
        colour = _WRONG if line.differs else _PREDICTED
        length = _length(line.count, most, reach)
        place = x(line.predicted)
        if line.sigma is not None:
            half = line.sigma * scale
            parts.append(
                f'<rect x="{round(place - half, 2)}" y="{middle}" width="{round(2 * half, 2)}" '
                f'height="{length}" fill="{colour}" fill-opacity="0.14"/>'
            )
        tip = f"predicted {line.predicted:.1f} ppm"
        if line.observed is not None:
            tip += f", observed {line.observed:.1f}"
            parts.append(
                f'<line x1="{place}" y1="{middle + 3}" x2="{x(line.observed)}" y2="{middle - 3}" '
                f'stroke="{colour}" stroke-width="{1.6 if line.differs else 0.8}"/>'
            )
        parts.append(_stick(place, middle + 3, middle + length, colour, tip))
    wrong = {line.observed for line in lines if line.differs} | set(extra)
    for ppm, count in observed:
        colour = _WRONG if ppm in wrong else _OBSERVED
        top = middle - _length(count, most, reach)
        parts.append(_stick(x(ppm), middle - 3, top, colour, f"observed {ppm:.1f} ppm"))
    parts.append(
        f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{middle}" y2="{middle}" stroke="#999"/>'
        f'<text x="{_LEFT}" y="14" fill="{_OBSERVED}">observed</text>'
        f'<text x="{_LEFT}" y="{HEIGHT - _BOTTOM - 4}" fill="{_PREDICTED}">predicted</text>'
        f'<text x="{WIDTH - _RIGHT}" y="14" text-anchor="end" fill="{_INK}">ppm</text></svg>'
    )
    return "".join(parts)


def _stick(x: float, start: float, end: float, colour: str, tip: str) -> str:
    return (
        f'<line x1="{x}" x2="{x}" y1="{round(start, 2)}" y2="{round(end, 2)}" stroke="{colour}" '
        f'stroke-width="2"><title>{escape(tip)}</title></line>'
    )


def _length(count: int, most: int, reach: float) -> float:
    """Higher for more atoms, but never so short that it is overlooked."""
    return round(reach * (0.45 + 0.55 * count / most) if most > 1 else reach * 0.8, 2)


def _ends(shifts: Sequence[float]) -> tuple[float, float]:
    low, high = min(shifts), max(shifts)
    margin = max(0.04 * (high - low), _MARGIN_PPM)
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    step = next((s for s in _STEPS if (high - low) / s <= _MOST_TICKS), (high - low) / 10)
    first = int(-(-low // step))
    return [number * step for number in range(first, int(high // step) + 1)]
