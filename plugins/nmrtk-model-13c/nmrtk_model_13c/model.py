"""The model `13c`."""

from __future__ import annotations

from pathlib import Path

from nmrtk.interfaces import PretrainedModel

_FOLDER = Path(__file__).parent


class Carbon13Model(PretrainedModel):
    """A gated message-passing network and an invertible backbone, for 13C."""

    def weights(self) -> Path:
        """The checkpoint file."""
        return _FOLDER / "model.safetensors"

    def card(self) -> str:
        """The model card, Markdown: data, split, figures, limits."""
        return (_FOLDER / "CARD.md").read_text(encoding="utf-8")
