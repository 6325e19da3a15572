"""The training loss: its terms for each molecule, and the sums that become metrics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmrtk.batch import Batch
from nmrtk.errors import ConfigurationError
from nmrtk.interfaces import AtomLines, Encoded
from nmrtk.model import Prediction, ReversibleModel
from nmrtk.recipe import LossWeights

SMOOTHING = 0.5
"""Where the loss on shifts turns from quadratic to linear, in units of the codec."""


class Objective(nn.Module):
    """Terms of the loss for a batch.

    Args:
        model: the model to train.
        weights: of the terms.
        lines_per_molecule: mean number of observed lines: all lines weigh alike, and a molecule
            by how many it has.
        complete_codes: whether the code is compared with complete spectra only.

    Raises:
        ConfigurationError: a weight is set for a term that the parts do not offer.
    """

    def __init__(
        self,
        model: ReversibleModel,
        weights: LossWeights,
        *,
        lines_per_molecule: float,
        complete_codes: bool,
    ) -> None:
        super().__init__()
        self.model = model
        self.weights = weights
        self.lines_per_molecule = lines_per_molecule
        self.complete_codes = complete_codes
        if weights.free and not model.backbone.has_log_det:
            raise ConfigurationError(
                f"{type(model.backbone).__name__} gives no log-determinant: set loss.free to 0"
            )
        learns_lines = model.encoder.predicts_lines and (weights.lines or weights.scales)
        if not (weights.reach_backbone or learns_lines):
            raise ConfigurationError(
                f"nothing to learn: {type(model.encoder).__name__} predicts no lines, and "
                "loss.code, loss.free and loss.generation are 0"
            )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Unweighted terms, (B,) each, of the terms that have a weight."""
        if not self.weights.reach_backbone:
            encoded = self.model.encode(batch.inputs, len(batch))
            return self._line_terms(encoded.lines, encoded.members, batch)
        return self.terms(self.predict(batch), batch)

    def predict(self, batch: Batch) -> Prediction:
        """The forward direction; without lines where the encoder is not trained."""
        if batch.features is None:
            encoded = self.model.encode(batch.inputs, len(batch))
        else:
            encoded = Encoded(batch.features)
        return self.model.map(encoded, batch.condition, batch.feature_noise)

    def terms(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """The terms of a prediction that was made for the batch."""
        terms = self._line_terms(prediction.lines, prediction.members, batch)
        if self.weights.code:
            code = self.model.codec.loss(prediction.code, batch.target)
            terms["code"] = code * batch.complete if self.complete_codes else code
        if self.weights.free:
            terms["free"] = self._free_loss(prediction, batch)
        if self.weights.generation and batch.free_noise is not None:
            terms["generation"] = self._generation_loss(batch, batch.free_noise)
        return terms

    def weighted(self, terms: dict[str, Tensor]) -> Tensor:
        """The loss of each molecule, (B,)."""
        return torch.stack([getattr(self.weights, name) * t for name, t in terms.items()]).sum(0)

    def _line_terms(
        self, lines: AtomLines | None, members: Sequence[AtomLines], batch: Batch
    ) -> dict[str, Tensor]:
        """Smooth L1 of the shifts and Laplace likelihood of the scales; each member of an ensemble
        on its own.
        """
        if lines is None or not (self.weights.lines or self.weights.scales):
            return {}
        unit = self.model.codec.unit
        losses = [line_losses(one, batch, unit) for one in members or (lines,)]
        shifts, scales = (torch.stack(each).mean(0) for each in zip(*losses, strict=True))
        return {
            "lines": sum_by_molecule(shifts, batch) / self.lines_per_molecule,
            "scales": sum_by_molecule(scales, batch) / self.lines_per_molecule,
        }

    def _free_loss(self, prediction: Prediction, batch: Batch) -> Tensor:
        """Negative log-likelihood of the free part, in nats a dimension.

        On detached features: features that could move would collapse to a point, which makes
        any free part likely.
        """
        outputs, log_det = self.model.backbone.forward_with_log_det(
            prediction.features.detach(), self.model.condition(batch.condition)
        )
        free = outputs[:, self.model.codec.width :]
        return 0.5 * free.square().mean(1) - log_det / max(free.shape[1], 1)

    def _generation_loss(self, batch: Batch, noise: Tensor) -> Tensor:
        code = self.model.codec.embed(batch.target)
        features = self.model.inverse(code, noise, batch.condition)
        return self.model.encoder.generation_penalty(self.model.structure_features(features))


def line_losses(lines: AtomLines, batch: Batch, unit: float = 1.0) -> tuple[Tensor, Tensor]:
    """Smooth L1 of the shifts, and negative log-likelihood of the scales, of each observed line,
    (L,) each, with shifts in a unit that is given in ppm.
    """
    shift, scale = (values / unit for values in batch.matched(lines))
    observed = batch.line_shifts / unit
    loss = functional.smooth_l1_loss(shift, observed, beta=SMOOTHING, reduction="none")
    # The scale learns from the error, not the error from the scale: else hard lines are given up.
    error = (shift.detach() - observed).abs()
    return loss, error / scale + torch.log(2 * scale)


def sum_by_molecule(values: Tensor, batch: Batch) -> Tensor:
    """Sums (B,) of values (L,) over the observed lines of each molecule."""
    return values.new_zeros(len(batch)).index_add(0, batch.line_molecules, values)
