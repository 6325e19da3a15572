"""nmrtk: one reversible network between molecular structures and NMR spectra.

This module is what a plugin imports first, so it stays light: no torch, no rdkit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

from nmrtk.component import Component

if TYPE_CHECKING:
    from pathlib import Path

    from nmrtk.checkpoint import LoadedModel
    from nmrtk.recipe import Precision

__version__ = "0.1.0"

hookimpl = pluggy.HookimplMarker("nmrtk")
"""Marks a function of a plugin module as the implementation of a hook."""


def load(model: str | Path, precision: Precision = "float32") -> LoadedModel:
    """Load a trained model.

    Args:
        model: the name of an installed pretrained model, such as `13c`, or a folder that
            `nmrtk train` wrote.
        precision: of the encoder's matrix products: `float32`, or `bfloat16`, which is faster on
            processors that have it and changes shifts by some hundredths of a ppm.

    Returns:
        The model in evaluation mode on the CPU, with its recipe and calibration; its `predict`
        takes SMILES and gives objects with `ppm`, `sigma`, `multiplicity` and `atoms`.

    Raises:
        CheckpointError: nothing is there, it is damaged, or a plugin that it needs is missing.
    """
    from nmrtk.checkpoint import load_model

    return load_model(model, precision)


__all__ = ["Component", "__version__", "hookimpl", "load"]
