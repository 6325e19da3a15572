"""Contract of pretrained models."""

from __future__ import annotations

from collections.abc import Callable

import torch

from nmrtk.interfaces import PretrainedModel
from nmrtk.molecule import parse_smiles
from nmrtk.testing.report import Report

_CARD_TOPICS = ("data", "split", "limit")


def check_pretrained_model(
    build: Callable[[], PretrainedModel], *, smiles: str = "Cc1ccccc1"
) -> None:
    """Check everything that nmrtk relies on in a pretrained model.

    Args:
        build: the class, or a function that makes an instance.
        smiles: a molecule that the model can represent.

    Raises:
        AssertionError: a property does not hold; says what was found.
        CheckpointError: the weights cannot be loaded.

    Example:
        A test of a plugin is one line: `check_pretrained_model(MyModel)`.
    """
    from nmrtk.checkpoint import load_model

    pretrained = build()
    report = Report(pretrained)
    report.options(type(pretrained), 0)
    path = pretrained.weights()
    report.require("weights", path.is_file(), f"no file {path}", "weights gives an existing file")
    card = pretrained.card().lower()
    missing = [topic for topic in _CARD_TOPICS if topic not in card]
    report.require(
        "model card",
        not missing and any(letter.isdigit() for letter in card),
        f"nothing on {', '.join(missing) or 'figures'}",
        "the card tells of data, split, figures and limits",
    )
    model = load_model(str(path)).model
    report.require("evaluation mode", not model.training, "training mode", "it is ready to use")
    prediction = model.predict([parse_smiles(smiles)])
    report.require(
        "prediction",
        bool(torch.isfinite(prediction.code).all()),
        "nan or inf",
        "the code of a molecule is finite",
    )
