"""Tables of figures: on a terminal, and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table as RichTable

from nmrtk.scoring import Moments

_NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table.

    Args:
        title: one line.
        columns: headings; the first column is text, the others hold figures.
        rows: as many texts each as there are columns.
        notes: sentences that say how the figures were made.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def to_markdown(self) -> str:
        """Markdown that can be read as it stands.

        Example:
            >>> print(Table("Sizes", ["part", "size"], [["code", "128"]]).to_markdown())
            ### Sizes
            <BLANKLINE>
            | part | size |
            | :--- | ---: |
            | code |  128 |
        """
        lines = [self.columns, *self.rows]
        widths = [max(4, *(len(line[i]) for line in lines)) for i in range(len(self.columns))]
        rule = [":" + "-" * (widths[0] - 1), *("-" * (w - 1) + ":" for w in widths[1:])]
        text = [f"### {self.title}", "", _aligned(self.columns, widths), _aligned(rule, widths)]
        text += [_aligned(row, widths) for row in self.rows]
        if self.notes:
            text += ["", *self.notes]
        return "\n".join(text)

    def print(self, console: Console) -> None:
        """Draw it on a terminal."""
        drawn = RichTable(title=self.title, title_justify="left", title_style="bold")
        for index, column in enumerate(self.columns):
            drawn.add_column(column, justify="right" if index else "left", overflow="fold")
        for row in self.rows:
            drawn.add_row(*row)
        console.print(drawn)
        for note in self.notes:
            console.print(note, style="dim", highlight=False, markup=False)
        console.print()


def fixed(value: float | None, digits: int = 4) -> str:
    """A figure with so many decimals, or a dash for none."""
    return _NOTHING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def scientific(value: float | None) -> str:
    """A figure with an exponent, or a dash for none."""
    return _NOTHING if value is None or not math.isfinite(value) else f"{value:.2e}"


def percent(share: float | None) -> str:
    """A share in per cent, or a dash for none."""
    return _NOTHING if share is None or not math.isfinite(share) else f"{100 * share:.1f} %"


def plus_minus(moments: Moments | None, digits: int = 4) -> str:
    """Mean and standard deviation, or a dash for none."""
    if moments is None:
        return _NOTHING
    return f"{fixed(moments.mean, digits)} ± {fixed(moments.sd, digits)}"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    rest = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return f"| {' | '.join([first, *rest])} |"
