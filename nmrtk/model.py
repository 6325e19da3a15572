"""The reversible model: encoder, backbone and codec joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nmrtk.errors import ConfigurationError
from nmrtk.formula import VECTOR_WIDTH, Formula
from nmrtk.interfaces import (
    AtomLines,
    Encoded,
    InvertibleBackbone,
    SpectrumCodec,
    StructureEncoder,
)
from nmrtk.molecule import Molecule
from nmrtk.nucleus import Nucleus
from nmrtk.plugins import build, registry
from nmrtk.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Prediction:
    """The forward direction for B molecules.

    Args:
        features: (B, F), what entered the backbone.
        code: (B, K).
        free: (B, F - K), the free part z.
        lines: of every site, where the encoder predicts them.
        members: the same of each member of an ensemble.
        log_det: (B,), log of the absolute Jacobian determinant of the backbone, where it tells.
    """

    features: Tensor
    code: Tensor
    free: Tensor
    lines: AtomLines | None
    members: tuple[AtomLines, ...] = ()
    log_det: Tensor | None = None


class ReversibleModel(nn.Module):
    """outputs = backbone(features | formula); code, z = outputs; features = inverse(code, z).

    Where the encoder predicts lines and the codec reads them, the features begin with the code
    that those lines imply, so that the code inherits the accuracy of the atoms.

    Args:
        encoder: molecules to features.
        codec: spectra to codes.
        backbone: the bijection, of the width that `feature_width` gives for the other two.

    Attributes:
        path: file that it was loaded from; None if it was not.
        mean_code: (K,), mean over the validation molecules, set when a training ends: what is
            expected of a molecule of which nothing is known.

    Raises:
        ConfigurationError: widths or nuclei differ.
    """

    def __init__(
        self, encoder: StructureEncoder, codec: SpectrumCodec, backbone: InvertibleBackbone
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.codec = codec
        self.backbone = backbone
        self.path: Path | None = None
        self.mean_code: Tensor
        self.register_buffer("mean_code", torch.zeros(codec.width))
        width = feature_width(encoder, codec)
        if backbone.width != width or backbone.code_width != codec.width:
            raise ConfigurationError(
                f"the backbone maps {backbone.width} features with a code of "
                f"{backbone.code_width}, but encoder and codec have {width} and {codec.width}"
            )
        if encoder.nucleus != codec.nucleus:
            raise ConfigurationError(
                f"the encoder is for {encoder.nucleus}, the codec for {codec.nucleus}"
            )

    @property
    def nucleus(self) -> Nucleus:
        """Whose lines the model predicts."""
        return self.codec.nucleus

    @property
    def free_width(self) -> int:
        """F - K."""
        return self.backbone.width - self.codec.width

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.mean_code.device

    def encode(self, inputs: Any, batch_size: int) -> Encoded:
        """Features (B, F) of a collated batch, and the lines if the encoder predicts them."""
        encoded: Encoded = self.encoder(inputs)
        if encoded.lines is None or not joins_lines(self.encoder, self.codec):
            return encoded
        expected = self.codec.expected(encoded.lines, batch_size)
        return replace(encoded, features=torch.cat([expected, encoded.features], dim=1))

    def forward(self, inputs: Any, condition: Tensor, noise: Tensor | None = None) -> Prediction:
        """Collated molecules and their formula vectors (B, C) -> prediction.

        Args:
            inputs: what the encoder collated.
            condition: (B, C).
            noise: (B, F), added to the features before they enter the backbone; or None.
        """
        encoded = self.encode(inputs, len(condition))
        return self.map(encoded, condition, noise)

    def map(self, encoded: Encoded, condition: Tensor, noise: Tensor | None = None) -> Prediction:
        """What `forward` does after `encode`."""
        features = encoded.features if noise is None else encoded.features + noise
        given = self.condition(condition)
        log_det = None
        if self.backbone.has_log_det:
            outputs, log_det = self.backbone.forward_with_log_det(features, given)
        else:
            outputs = self.backbone(features, given)
        code, free = outputs.split([self.codec.width, self.free_width], dim=1)
        return Prediction(features, code, free, encoded.lines, encoded.members, log_det)

    def inverse(self, code: Tensor, free: Tensor, condition: Tensor) -> Tensor:
        """Code (B, K), free part (B, F - K) and formula vectors (B, C) -> features (B, F)."""
        return self.backbone.inverse(torch.cat([code, free], dim=1), self.condition(condition))

    def condition(self, vectors: Tensor) -> Tensor | None:
        """What the backbone takes of formula vectors: nothing where it is not conditioned."""
        return vectors if self.backbone.condition_width else None

    def structure_features(self, features: Tensor) -> Tensor:
        """The encoder's own part of features (B, F): what `encoder.decode` takes."""
        return features[:, -self.encoder.width :]

    @torch.no_grad()
    def predict(self, molecules: Sequence[Molecule]) -> Prediction:
        """The forward direction for molecules.

        Raises:
            MoleculeError: the encoder cannot represent one of them.
        """
        prepared = [self.encoder.prepare(molecule) for molecule in molecules]
        inputs = self.encoder.collate(prepared).to(self.device)
        prediction: Prediction = self(inputs, formula_vectors(molecules).to(self.device))
        return prediction


def feature_width(encoder: StructureEncoder, codec: SpectrumCodec) -> int:
    """F of the model that joins these."""
    return encoder.width + (codec.width if joins_lines(encoder, codec) else 0)


def joins_lines(encoder: StructureEncoder, codec: SpectrumCodec) -> bool:
    """Whether the features begin with the code that the encoder's lines imply."""
    return encoder.predicts_lines and codec.reads_lines


def formula_vectors(molecules: Sequence[Molecule]) -> Tensor:
    """Conditions (B, C) of molecules."""
    vectors = [Formula.of_molecule(molecule).vector() for molecule in molecules]
    return torch.from_numpy(np.stack(vectors)) if vectors else torch.zeros(0, VECTOR_WIDTH)


def build_model(recipe: Recipe) -> ReversibleModel:
    """A new model with the parts that a recipe names.

    Raises:
        UsageError: a name or an option is unknown, or the parts do not fit.
    """
    nucleus = Nucleus.parse(recipe.nucleus)
    codec = build("spectrum_codecs", recipe.codec.name, recipe.codec.options, nucleus)
    encoder = build("structure_encoders", recipe.encoder.name, recipe.encoder.options, nucleus)
    width = feature_width(encoder, codec)
    if width < codec.width:
        raise ConfigurationError(
            f"the encoder {recipe.encoder.name!r} has {width} features, fewer than the "
            f"{codec.width} of the code of {recipe.codec.name!r}"
        )
    backbone_class: type[InvertibleBackbone] = (
        registry().find("invertible_backbones", recipe.backbone.name).load()
    )
    backbone = build(
        "invertible_backbones",
        recipe.backbone.name,
        recipe.backbone.options,
        width,
        codec.width,
        VECTOR_WIDTH if backbone_class.conditioned else 0,
    )
    return ReversibleModel(encoder, codec, backbone)
