"""The hooks: everything that a plugin can tell nmrtk.

Each returns a list of `Component`, so that listing what is installed imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from nmrtk.component import Component

hookspec = pluggy.HookspecMarker("nmrtk")


@hookspec
def structure_encoders() -> list[Component]:
    """Classes of `nmrtk.interfaces.StructureEncoder`: molecules to features."""
    raise NotImplementedError


@hookspec
def spectrum_codecs() -> list[Component]:
    """Classes of `nmrtk.interfaces.SpectrumCodec`: spectra to codes and back."""
    raise NotImplementedError


@hookspec
def invertible_backbones() -> list[Component]:
    """Classes of `nmrtk.interfaces.InvertibleBackbone`: bijections of the feature space."""
    raise NotImplementedError


@hookspec
def candidate_generators() -> list[Component]:
    """Classes of `nmrtk.interfaces.CandidateGenerator`: a query to candidate molecules."""
    raise NotImplementedError


@hookspec
def baselines() -> list[Component]:
    """Classes of `nmrtk.interfaces.Baseline`: predictors to compare a model with."""
    raise NotImplementedError


@hookspec
def readers() -> list[Component]:
    """Classes of `nmrtk.interfaces.Reader`: a file to records of molecules with spectra."""
    raise NotImplementedError


@hookspec
def pretrained_models() -> list[Component]:
    """Classes of `nmrtk.interfaces.PretrainedModel`: trained weights with a model card."""
    raise NotImplementedError
