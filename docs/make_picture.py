"""Draw docs/images/two-directions.svg: one network, read in both directions.

The example is vanillin with its measured lines from the table that ships with nmrtk.
"""

from __future__ import annotations

import csv
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

COMPOUND = "vanillin"
TARGET = Path(__file__).parent / "images" / "two-directions.svg"

INK, FORWARD, INVERSE, PALE = "#1f2937", "#0f6fb5", "#b4530a", "#e8f1f8"
AXIS_LEFT, AXIS_RIGHT, AXIS_Y, TALLEST = 690, 950, 205, 120
PPM_RANGE = 200.0
HEIGHTS = {"S": 0.45, "D": 0.8, "T": 0.9, "Q": 1.0}
"""Quaternary carbons relax slowly, so that their lines are low."""


def compound() -> tuple[str, list[tuple[float, str]]]:
    """SMILES, and lines as ppm and multiplicity."""
    table = files("nmrtk") / "data" / "everyday_13c.csv"
    with table.open(encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if row["name"] == COMPOUND)
    peaks = re.findall(r"(-?[\d.]+)([SDTQ])", row["peaks"])
    return row["smiles"], [(float(ppm), letter) for ppm, letter in peaks]


def structure(smiles: str, width: int, height: int) -> str:
    """The drawing of a structure, without its frame."""
    drawer = rdMolDraw2D.MolDraw2DSVG(width, height)
    options: Any = drawer.drawOptions()
    options.clearBackground = False
    options.bondLineWidth = 2
    drawer.DrawMolecule(Chem.MolFromSmiles(smiles))
    drawer.FinishDrawing()
    text: str = drawer.GetDrawingText()
    inside = text.partition("<!-- END OF HEADER -->")[2]
    return inside.rpartition("</svg>")[0].strip()


def spectrum(lines: list[tuple[float, str]]) -> str:
    """Lines on an axis that runs from right to left."""

    def place(ppm: float) -> float:
        return AXIS_RIGHT - ppm / PPM_RANGE * (AXIS_RIGHT - AXIS_LEFT)

    sticks = [
        f'<path d="M{place(ppm):.1f},{AXIS_Y} v{-TALLEST * HEIGHTS[letter]:.1f}"/>'
        for ppm, letter in lines
    ]
    ticks = [
        f'<text x="{place(ppm):.1f}" y="{AXIS_Y + 18}" class="small" text-anchor="middle">{ppm}'
        "</text>"
        for ppm in range(0, 201, 50)
    ]
    return (
        f'<g stroke="{INK}" stroke-width="2">'
        f'<path d="M{AXIS_LEFT},{AXIS_Y} H{AXIS_RIGHT}" stroke-width="1"/>{"".join(sticks)}</g>'
        + "".join(ticks)
    )


def arrow(left: int, right: int, y: int, color: str, *, reverse: bool = False) -> str:
    """A horizontal arrow."""
    tip, tail, back = (left, right, 12) if reverse else (right, left, -12)
    return (
        f'<path d="M{tail},{y} H{tip + back}" stroke="{color}" stroke-width="4" fill="none"/>'
        f'<path d="M{tip},{y} l{back},-8 v16 z" fill="{color}"/>'
    )


def network() -> str:
    """The box in the middle: coupled layers."""
    bars = "".join(
        f'<rect x="{x + shift}" y="118" width="14" height="64" rx="4" fill="{color}"'
        f' opacity="{o}"/>'
        for x, o in zip(range(404, 564, 44), (0.85, 0.7, 0.55, 0.4), strict=True)
        for shift, color in ((0, FORWARD), (18, INVERSE))
    )
    return (
        f'<rect x="364" y="60" width="242" height="180" rx="14" fill="{PALE}" stroke="{FORWARD}"/>'
        '<text x="485" y="92" class="head" text-anchor="middle">one reversible network</text>'
        f"{bars}"
        '<text x="485" y="212" class="small" text-anchor="middle">features ⇄ code + free part'
        "</text>"
    )


def picture() -> str:
    """The whole SVG."""
    smiles, lines = compound()
    style = (
        f"text{{font-family:Helvetica,Arial,sans-serif;fill:{INK}}}"
        ".head{font-size:16px;font-weight:bold}.text{font-size:15px}.small{font-size:13px}"
    )
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 980 310" width="980"'
            ' height="310" role="img" aria-label="A structure and its spectrum, joined by one'
            ' network that runs in both directions">',
            f"<style>{style}</style>",
            '<rect width="980" height="310" rx="12" fill="#ffffff"/>',
            '<text x="150" y="40" class="head" text-anchor="middle">structure</text>',
            f'<g transform="translate(20,55)">{structure(smiles, 260, 180)}</g>',
            network(),
            '<text x="820" y="40" class="head" text-anchor="middle">spectrum</text>',
            spectrum(lines),
            f'<text x="820" y="245" class="small" text-anchor="middle">{COMPOUND}, measured 13C'
            " lines, ppm</text>",
            arrow(290, 358, 110, FORWARD),
            arrow(612, 680, 110, FORWARD),
            arrow(290, 358, 190, INVERSE, reverse=True),
            arrow(612, 680, 190, INVERSE, reverse=True),
            f'<text x="485" y="272" class="text" text-anchor="middle"><tspan fill="{FORWARD}"'
            ' font-weight="bold">forward</tspan> predicts the lines, each with its uncertainty'
            "</text>",
            f'<text x="485" y="296" class="text" text-anchor="middle"><tspan fill="{INVERSE}"'
            ' font-weight="bold">inverse</tspan>, with the same weights, proposes'
            " candidates with probabilities</text>",
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(picture(), encoding="utf-8")
