"""The contract checks pass right components and catch wrong ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from right_components import (
    TOY_FILE,
    CouplingBackbone,
    DrawGenerator,
    FilePretrained,
    LatticeBackbone,
    LineReader,
    SiteCountBaseline,
    SiteEncoder,
    TextEncoder,
)
from wrong_components import (
    WRONG_BACKBONES,
    WRONG_BASELINES,
    WRONG_CODECS,
    WRONG_ENCODERS,
    WRONG_GENERATORS,
    WRONG_PRETRAINED,
    WRONG_READERS,
)

from nmrtk import checkpoint
from nmrtk.elucidation import Inversion, Query
from nmrtk.errors import UsageError
from nmrtk.molecule import Molecule
from nmrtk.testing import (
    PlainBackbone,
    PlainCodec,
    PlainEncoder,
    check_baseline,
    check_candidate_generator,
    check_invertible_backbone,
    check_pretrained_model,
    check_reader,
    check_spectrum_codec,
    check_structure_encoder,
    plain_inversion,
    plain_query,
)


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.toy"
    path.write_text(TOY_FILE)
    return path


@pytest.mark.parametrize(
    ("check", "component"),
    [
        (check_structure_encoder, SiteEncoder),
        (check_structure_encoder, partial(SiteEncoder, hidden=3)),
        (check_structure_encoder, TextEncoder),
        (check_structure_encoder, PlainEncoder),
        (check_spectrum_codec, PlainCodec),
        (check_invertible_backbone, PlainBackbone),
        (check_invertible_backbone, CouplingBackbone),
        (check_invertible_backbone, LatticeBackbone),
        (check_candidate_generator, DrawGenerator),
        (check_baseline, SiteCountBaseline),
    ],
)
def test_right_components_pass(
    check: Callable[[Any], None], component: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    check(component)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 5
    assert all(re.match(r"  (ok|--)  ", line) for line in lines[1:])


def test_errors_are_printed_with_what_is_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    check_invertible_backbone(CouplingBackbone)
    line = next(line for line in capsys.readouterr().out.splitlines() if "torch.float32: m" in line)
    assert re.search(r"measured \d\.\d\de-\d\d, allowed 2\.00e-04$", line)


def test_right_pretrained_model_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = plain_inversion().model
    monkeypatch.setattr(checkpoint, "load_model", lambda path: SimpleNamespace(model=model))
    check_pretrained_model(FilePretrained)
    model.train()
    with pytest.raises(AssertionError, match="evaluation mode"):
        check_pretrained_model(FilePretrained)


def test_right_reader_passes(sample: Path) -> None:
    check_reader(LineReader, sample=sample)


@pytest.mark.parametrize(
    ("check", "component", "caught_by"),
    [
        pytest.param(check, component, caught_by, id=component.__name__)
        for check, table in [
            (check_structure_encoder, WRONG_ENCODERS),
            (check_spectrum_codec, WRONG_CODECS),
            (check_invertible_backbone, WRONG_BACKBONES),
            (check_candidate_generator, WRONG_GENERATORS),
            (check_baseline, WRONG_BASELINES),
            (check_pretrained_model, WRONG_PRETRAINED),
        ]
        for component, caught_by in table.items()
    ],
)
def test_wrong_component_is_caught(
    check: Callable[[Any], None], component: type, caught_by: str
) -> None:
    with pytest.raises(AssertionError, match=re.escape(caught_by)) as caught:
        check(component)
    assert "The contract: " in str(caught.value)


@pytest.mark.parametrize(("component", "caught_by"), WRONG_READERS.items())
def test_wrong_reader_is_caught(component: type, caught_by: str, sample: Path) -> None:
    with pytest.raises(AssertionError, match=re.escape(caught_by)):
        check_reader(component, sample=sample)


def test_a_backbone_that_refuses_all_widths_asks_for_one() -> None:
    with pytest.raises(AssertionError, match=r"refuses the widths 7.*odd.*`width`"):
        check_invertible_backbone(CouplingBackbone, width=7)


def test_a_generator_may_refuse_a_query_that_the_check_made_up() -> None:
    class NeedsLibrary(DrawGenerator):
        def generate(self, query: Query, inversion: Inversion) -> Iterator[Molecule]:
            raise UsageError("there is no library")

    check_candidate_generator(NeedsLibrary)
    with pytest.raises(AssertionError, match="serves the query given: found UsageError: there is"):
        check_candidate_generator(NeedsLibrary, query=plain_query())
