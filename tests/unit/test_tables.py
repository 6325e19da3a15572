import io

import numpy as np
import pytest
from rich.console import Console

from nmrtk.scoring import Moments
from nmrtk.tables import Table, fixed, percent, plus_minus, scientific

TABLE = Table("Sizes", ["part", "size"], [["code", "128"], ["free part", "896"]], ["A note [1]."])


def test_markdown_has_aligned_cells_and_the_notes():
    lines = TABLE.to_markdown().splitlines()
    assert lines[0] == "### Sizes"
    assert lines[4:6] == ["| code      |  128 |", "| free part |  896 |"]
    assert len({len(line) for line in lines[2:6]}) == 1
    assert lines[-1] == "A note [1]."


def test_terminal_shows_every_cell_and_note_as_it_is():
    stream = io.StringIO()
    TABLE.print(Console(file=stream, force_terminal=True, width=60, color_system=None))
    for text in ("Sizes", "free part", "896", "A note [1]."):
        assert text in stream.getvalue()


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_is_no_number_is_a_dash(value):
    assert [fixed(value), scientific(value), percent(value)] == ["–"] * 3
    assert plus_minus(None) == "–"


def test_figures():
    assert fixed(0.12345, 3) == "0.123"
    assert scientific(np.float64(1.5e-5)) == "1.50e-05"
    assert percent(0.1234) == "12.3 %"
    assert plus_minus(Moments(1, 0.5), 1) == "1.0 ± 0.5"
