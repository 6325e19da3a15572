"""Options: read from the command line, checked against constructors."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmrtk.errors import PluginError, UsageError
from nmrtk.options import check_options, options_of, parse_assignments


class Encoder:
    def __init__(
        self,
        nucleus,
        *,
        hidden_dim: int = 128,
        rate: float = 0.1,
        order: Literal["file", "random"] = "file",
        elements: tuple[str, ...] = ("C",),
        bias: bool = True,
        limit: int | None = None,
    ) -> None:
        self.nucleus = nucleus


class NoDefault:
    def __init__(self, *, hidden_dim: int) -> None: ...


class NoAnnotation:
    def __init__(self, *, hidden_dim=3) -> None: ...


class BadAnnotation:
    def __init__(self, *, hidden_dim: "Missing" = 3) -> None: ...  # noqa: F821, UP037


class Plain:
    pass


def test_options_are_the_keyword_only_parameters():
    options = options_of(Encoder)
    assert list(options) == ["hidden_dim", "rate", "order", "elements", "bias", "limit"]
    assert options["hidden_dim"].default == 128
    assert [option.type_text for option in options.values()] == [
        "int",
        "float",
        "Literal['file', 'random']",
        "tuple[str, ...]",
        "bool",
        "int | None",
    ]
    assert options_of(Plain) == {}


@pytest.mark.parametrize("component_class", [NoDefault, NoAnnotation])
def test_an_option_without_annotation_or_default_is_the_plugins_error(component_class):
    with pytest.raises(PluginError, match="'hidden_dim' needs an annotation and a default"):
        options_of(component_class)


def test_an_annotation_without_meaning_is_the_plugins_error():
    with pytest.raises(PluginError, match=r"BadAnnotation.*name 'Missing' is not defined"):
        options_of(BadAnnotation)


def test_values_take_the_annotated_types():
    given_options = {"hidden_dim": 64, "rate": 1, "elements": ["C", "N"], "limit": None}
    assert check_options(Encoder, "x", given_options) == {
        "hidden_dim": 64,
        "rate": 1.0,
        "elements": ("C", "N"),
        "limit": None,
    }


def test_an_unknown_option_suggests_and_lists():
    with pytest.raises(
        UsageError,
        match=r"dgl-gin has no option 'hiden_dim'\. Did you mean 'hidden_dim'\? "
        r"Options: hidden_dim, rate, order",
    ):
        check_options(Encoder, "dgl-gin", {"hiden_dim": 64})
    with pytest.raises(UsageError, match="plain has no option 'a'. Options: none"):
        check_options(Plain, "plain", {"a": 1})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("hidden_dim", "wide", "option hidden_dim='wide' must be int"),
        ("hidden_dim", 1.5, "option hidden_dim=1.5 must be int"),
        ("order", "sorted", r"Literal\['file', 'random'\]: Input should be 'file' or 'random'"),
        ("rate", float("nan"), "finite number"),
        ("elements", 5, "tuple"),
        ("limit", [], r"int \| None"),
    ],
)
def test_a_value_of_the_wrong_type_says_what_is_allowed(name, value, expected):
    with pytest.raises(UsageError, match=expected):
        check_options(Encoder, "x", {name: value})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=256", 256),
        ("a=1e-3", 1e-3),
        ("a=true", True),
        ("a=canonical", "canonical"),
        ('a="256"', "256"),
        ('a=["C", "N"]', ["C", "N"]),
        ("a=", ""),
        (" a = 3 ", 3),
        ("a=b=c", "b=c"),
    ],
)
def test_assignments_read_toml_values_and_plain_strings(text, value):
    assert parse_assignments([text], "-E") == {"a": value}


@pytest.mark.parametrize("text", ["hidden_dim", "=3", ""])
def test_an_assignment_needs_a_name_and_an_equals_sign(text):
    with pytest.raises(UsageError, match="-B .*: write name=value, such as -B hidden_dim=256"):
        parse_assignments([text], "-B")


@given(st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.lists(st.integers(0, 99)))
def test_assignments_return_what_was_written(value):
    text = str(value).lower() if isinstance(value, bool) else str(value)
    assert parse_assignments([f"x={text}"], "-E") == {"x": value}


@given(st.text())
def test_any_text_is_an_assignment_or_a_usage_error(text):
    try:
        result = parse_assignments([text], "-E")
    except UsageError:
        assert not text.partition("=")[0].strip() or "=" not in text
    else:
        assert len(result) == 1
