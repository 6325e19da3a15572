"""Pretrained models that each break one rule."""

from __future__ import annotations

from pathlib import Path

from right_components import FilePretrained


class WeightsMissing(FilePretrained):
    def weights(self) -> Path:
        return Path("no", "such", "file")


class CardSilent(FilePretrained):
    def card(self) -> str:
        return "A model."


class CardWithoutFigures(FilePretrained):
    def card(self) -> str:
        return "Data, split and limits."


WRONG_PRETRAINED = {
    WeightsMissing: "weights",
    CardSilent: "model card",
    CardWithoutFigures: "model card",
}
