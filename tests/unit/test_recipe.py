"""Recipes: read, checked, merged, written."""

from __future__ import annotations

import pytest

from nmrtk.errors import UsageError
from nmrtk.recipe import Recipe, make_recipe, merge, read_recipe

TEXT = """
nucleus = "31P"

[encoder]
name = "adjacency"
order = "canonical"

[training]
epochs = 5
learning_rate = 1e-3
"""


def test_a_recipe_written_is_read_back(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(TEXT)
    recipe = make_recipe(read_recipe(path), str(path))
    assert (recipe.encoder.name, recipe.encoder.options) == ("adjacency", {"order": "canonical"})
    assert (recipe.training.epochs, recipe.codec.name) == (5, Recipe().codec.name)
    path.write_text(recipe.to_toml())
    assert make_recipe(read_recipe(path), str(path)) == recipe


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({"enkoder": {"name": "x"}}, "enkoder is unknown .*known here: nucleus, encoder, codec"),
        ({"training": {"epoch": 3}}, "training.epoch is unknown .*known here: epochs, batch_size"),
        ({"training": {"epochs": 0}}, "training.epochs=0: .*greater than or equal to 1"),
        ({"training": {"learning_rate": float("nan")}}, "training.learning_rate=nan: .*finite"),
        ({"training": {"schedule": "step"}}, "training.schedule='step': .*'cosine' or 'constant'"),
        ({"training": 5}, "training=5: Input should be a valid dictionary"),
        ({"split": {"train_fraction": 1.5}}, "split.train_fraction=1.5: .*less than 1"),
        ({"encoder": {"hidden_dim": 3}}, "encoder.name=.*Field required"),
        ({"loss": {"code": "much"}}, "loss.code='much': .*valid number"),
    ],
)
def test_a_wrong_recipe_names_place_value_and_what_is_allowed(tables, expected):
    with pytest.raises(UsageError, match=f"recipe x: {expected}"):
        make_recipe(tables, "recipe x")


def test_all_faults_are_told_at_once():
    with pytest.raises(UsageError, match=r"training.epochs=0: .*; seed is unknown"):
        make_recipe({"training": {"epochs": 0}, "seed": 3}, "x")


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"a = = b", "is not TOML"), (b"\xff\xfe", "is not TOML"), (None, "No such file")],
)
def test_a_file_that_is_no_recipe_says_which_and_why(tmp_path, content, expected):
    path = tmp_path / "recipe.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=f"recipe .*recipe.toml.* ?{expected}"):
        read_recipe(path)


def test_changes_go_before_the_file_and_keep_the_rest():
    tables = {"nucleus": "13C", "training": {"epochs": 5, "seed": 1}}
    merged = merge(tables, {"nucleus": "1H", "training": {"epochs": 7}, "loss": {"free": 0.5}})
    assert merged == {
        "nucleus": "1H",
        "training": {"epochs": 7, "seed": 1},
        "loss": {"free": 0.5},
    }
    assert tables["training"] == {"epochs": 5, "seed": 1}


def test_a_part_of_another_name_drops_the_old_options():
    tables = {"encoder": {"name": "adjacency", "order": "canonical"}}
    assert merge(tables, {"encoder": {"name": "dgl-gin"}})["encoder"] == {"name": "dgl-gin"}
    assert merge(tables, {"encoder": {"name": "adjacency", "size": 9}})["encoder"] == {
        "name": "adjacency",
        "order": "canonical",
        "size": 9,
    }
