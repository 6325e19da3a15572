"""Every installed component keeps the contract of its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nmrtk import Component
from nmrtk.plugins import KINDS, components
from nmrtk.testing import (
    check_baseline,
    check_candidate_generator,
    check_invertible_backbone,
    check_pretrained_model,
    check_reader,
    check_spectrum_codec,
    check_structure_encoder,
)

CHECKS: dict[str, Callable[[Any], None]] = {
    "structure_encoders": check_structure_encoder,
    "spectrum_codecs": check_spectrum_codec,
    "invertible_backbones": check_invertible_backbone,
    "candidate_generators": check_candidate_generator,
    "baselines": check_baseline,
    "readers": check_reader,
    "pretrained_models": check_pretrained_model,
}


def test_every_kind_has_a_check() -> None:
    assert CHECKS.keys() == KINDS.keys()


@pytest.mark.parametrize(
    ("kind", "component"),
    [
        pytest.param(kind, component, id=f"{KINDS[kind]}-{name}")
        for kind in KINDS
        for name, component in components(kind).items()
    ],
)
def test_installed_component_keeps_its_contract(kind: str, component: Component) -> None:
    CHECKS[kind](component.load())
