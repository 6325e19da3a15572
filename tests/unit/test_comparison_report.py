"""What the report of a comparison says, from made-up measurements."""

from pathlib import Path

import numpy as np
import pytest

from nmrtk.comparison.figures import FIGURES
from nmrtk.comparison.measurement import Measurement
from nmrtk.comparison.picture import draw
from nmrtk.comparison.plan import ComparisonPlan, Contender
from nmrtk.comparison.report import make_report
from nmrtk.comparison.results import Results, result_rows
from nmrtk.comparison.worker import TrainingCost
from nmrtk.errors import UsageError
from nmrtk.recipe import Part, make_recipe
from nmrtk.run_folder import DataReference

MOLECULES = 40


def contender(name, tables=None):
    return Contender(name, make_recipe(tables or {}, name), parameters=10)


def measurement(mae, *, places=range(MOLECULES), bins=0, left_out="", without=()):
    ones = np.ones(len(places))
    values = {figure.name: mae for figure in FIGURES if figure.name not in without}
    return Measurement(
        np.array(places, np.int64),
        np.full(len(places), bins, np.int64),
        {name: (ones * value, ones) for name, value in values.items()},
        in_split=MOLECULES,
        first_left_out=left_out,
        common_codec={"name": "binary-128"},
        round_trip=1e-6,
        free_mean=0.0,
        free_std=1.0,
        molecules_per_second=100.0,
    )


def results(one, measurements, *, torch="2.13.0", learned=100, threads=1):
    count = len(measurements)
    header = {
        "versions": {"nmrtk": "0.2.0", "torch": torch, "parts": {"mpnn": "nmrtk-mpnn 0.2.0"}},
        "training": {"train_molecules": learned, "best_epoch": 2},
    }
    cost = TrainingCost(2.0, 1.0, 500.0, None, "cpu", threads, "0.2.0", torch)
    return Results(one, list(range(count)), measurements, [cost] * count, [header] * count)


def plan(*contenders, split="test"):
    data = DataReference("data.h5", "0" * 64)
    return ComparisonPlan(contenders, data, Path("out"), 3, split, Part(name="binary-128"))


def report(*found, failures=None, split="test"):
    return make_report(plan(*(one.contender for one in found), split=split), found, failures or {})


def verdicts(found, figure):
    (table,) = (t for t in found.tables if t.title.startswith(f"{figure}: difference"))
    return [row[-1] for row in table.rows]


def test_a_clear_difference_is_better_or_worse_by_the_direction_of_the_figure():
    low = results(contender("low"), [measurement(1.0 + i / 100) for i in range(3)])
    high = results(contender("high"), [measurement(2.0 + i / 100) for i in range(3)])
    found = report(low, high)
    assert verdicts(found, "MAE/ppm") == ["worse"]
    assert verdicts(found, "F1 of the lines") == ["better"]
    assert not any(table.title.startswith("in 80 %: difference") for table in found.tables)


def test_a_difference_as_small_as_that_of_seeds_is_none():
    one = results(contender("one"), [measurement(1.0), measurement(1.4), measurement(1.2)])
    other = results(contender("other"), [measurement(1.3), measurement(1.1), measurement(1.25)])
    assert verdicts(report(one, other), "MAE/ppm") == ["within the spread of seeds"]


def test_one_seed_shows_nothing_clearly():
    found = report(
        results(contender("one"), [measurement(1.0)]), results(contender("b"), [measurement(2.0)])
    )
    assert verdicts(found, "MAE/ppm") == ["undecided"]
    assert any(note.startswith("With one seed") for note in found.notes)


def test_codes_of_other_bins_are_not_compared():
    one = results(contender("one"), [measurement(1.0)] * 3)
    other = results(contender("other"), [measurement(1.0, bins=1)] * 3)
    (table,) = (t for t in report(one, other).tables if t.title.startswith("F1 of the code: diff"))
    assert table.rows[0][2] == "other bins"


def test_figures_are_on_the_molecules_that_all_can_represent():
    easy = measurement(1.0, places=range(20), left_out="m20: too large.")
    mixed = measurement(1.0)
    mixed.parts["mae_ppm"][0][20:] = 9.0
    found = [results(contender("easy"), [easy]), results(contender("mixed"), [mixed])]
    rows = result_rows(plan(*(one.contender for one in found)), found)
    assert [row["mae_ppm"] for row in rows] == [1.0, 1.0]
    assert [(row["handled"], row["common"]) for row in rows] == [(20, 20), (40, 20)]
    text = "easy cannot handle 20 of 40 molecules of test, the first: m20: too large."
    assert text in report(*found).notes


def test_recipes_without_a_common_molecule_are_an_error():
    found = [
        results(contender("one"), [measurement(1.0, places=[0, 1])]),
        results(contender("two"), [measurement(1.0, places=[2, 3])]),
    ]
    with pytest.raises(UsageError, match="no molecule that all"):
        report(*found)


def test_notes_name_what_differs_between_recipes():
    other = contender("other", {"encoder": {"name": "mpnn"}, "training": {"limit": 5}})
    one = contender("one", {"encoder": {"name": "mpnn", "layers": 3}})
    same = contender("same", {"encoder": {"name": "mpnn", "layers": 3}})
    found = [results(each, [measurement(1.0)] * 3) for each in (one, other, same)]
    notes = report(*found).notes
    assert "other beside one: encoder.layers 3 → unsaid, training.limit 0 → 5." in notes
    assert "same beside one: the same choices." in notes


@pytest.mark.parametrize(
    ("differing", "note"),
    [
        ({"learned": 50}, "different numbers of molecules: one 100, other 50."),
        ({"torch": "2.14.0"}, "Not all with the same versions"),
        ({"threads": 2}, "Not all on the same device with the same threads"),
    ],
)
def test_notes_warn_of_unequal_trainings(differing, note):
    one = results(contender("one"), [measurement(1.0)] * 3)
    equal = results(contender("other"), [measurement(1.0)] * 3)
    unequal = results(contender("other"), [measurement(1.0)] * 3, **differing)
    assert note not in " ".join(report(one, equal).notes)
    assert note in " ".join(report(one, unequal).notes)


def test_val_and_test_have_their_own_warning():
    one = results(contender("one"), [measurement(1.0)] * 3)
    assert any(
        note.startswith("On val, which also chose") for note in report(one, split="val").notes
    )
    assert any(note.startswith("On test: whoever now") for note in report(one).notes)


def test_failures_are_named_even_where_the_first_recipe_is_gone():
    gone, left = contender("gone"), results(contender("left"), [measurement(1.0)] * 3)
    notes = make_report(plan(gone, left.contender), [left], {("gone", 0): "no memory"}).notes
    assert "gone, seed 0 failed: no memory" in notes
    assert "No training of gone is finished: differences are from left." in notes


def test_the_picture_has_a_panel_for_every_figure_that_a_recipe_has():
    without = ("mae_ppm", "lines_f1", "coverage_80")
    one = results(contender("one"), [measurement(1.0, without=without)] * 2)
    other = results(contender("other"), [measurement(2.0, without=without)] * 2)
    rows = result_rows(plan(one.contender, other.contender), [one, other])
    panels = draw(rows).axes
    titles = [axes.get_title() for axes in panels]
    assert not any(title.startswith(("MAE/ppm", "F1 of the lines")) for title in titles)
    assert titles[0] == "MAE over molecule/ppm\nlower is better"
    assert titles[-1] == "parameters/million"
    assert [tick.get_text() for tick in panels[0].get_yticklabels()] == ["one", "other"]
