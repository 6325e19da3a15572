"""The training loss: its terms for each molecule, and the sums that become metrics."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmrtk.batch import Batch
from nmrtk.errors import ConfigurationError
from nmrtk.interfaces import AtomLines
from nmrtk.model import Prediction, ReversibleModel
from nmrtk.recipe import LossWeights

SMOOTHING_PPM = 0.5
"""Where the loss on shifts turns from quadratic to linear."""

_GROUP_SPAN = 1e5  # ppm; more than any difference of shifts, so that groups never overlap


class Objective(nn.Module):
    """Terms of the loss for a batch.

    Args:
        model: the model to train.
        weights: of the terms.

    Raises:
        ConfigurationError: a weight is set for a term that the parts do not offer.
    """

    def __init__(self, model: ReversibleModel, weights: LossWeights) -> None:
        super().__init__()
        self.model = model
        self.weights = weights
        if weights.free and not model.backbone.has_log_det:
            raise ConfigurationError(
                f"{type(model.backbone).__name__} gives no log-determinant: set loss.free to 0"
            )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Unweighted terms, (B,) each, of the terms that have a weight."""
        prediction = self.model(batch.inputs, batch.condition, batch.feature_noise)
        return self.terms(prediction, batch)

    def terms(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """The terms of a prediction that was made for the batch."""
        terms = {"code": self.model.codec.loss(prediction.code, batch.target)}
        if self.weights.lines and prediction.lines is not None:
            terms["lines"] = line_loss(prediction.lines, batch)
        if self.weights.free:
            terms["free"] = self._free_loss(prediction, batch)
        if self.weights.generation and batch.free_noise is not None:
            terms["generation"] = self._generation_loss(batch, batch.free_noise)
        return terms

    def weighted(self, terms: dict[str, Tensor]) -> Tensor:
        """The loss of each molecule, (B,)."""
        return torch.stack([getattr(self.weights, name) * t for name, t in terms.items()]).sum(0)

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


def matched_shifts(lines: AtomLines, batch: Batch) -> tuple[Tensor, Tensor]:
    """Predicted shifts and scales (L,), in the order of the batch's observed lines."""
    used = batch.site_groups >= 0
    shift, scale, groups = lines.shift[used], lines.scale[used], batch.site_groups[used]
    order = torch.argsort(groups.double() * _GROUP_SPAN + shift.detach().double())
    return shift[order], scale[order]


def line_loss(lines: AtomLines, batch: Batch) -> Tensor:
    """Smooth L1 of the shifts, and the Laplace likelihood of the scales, mean over the lines of
    each molecule, (B,); 0 for molecules without observed lines.
    """
    shift, scale = matched_shifts(lines, batch)
    loss = functional.smooth_l1_loss(shift, batch.line_shifts, beta=SMOOTHING_PPM, reduction="none")
    # The scale learns from the error, not the error from the scale: else hard lines are given up.
    error = (shift.detach() - batch.line_shifts).abs()
    loss = loss + error / scale + torch.log(2 * scale)
    return mean_by_molecule(loss, batch)


def mean_by_molecule(values: Tensor, batch: Batch) -> Tensor:
    """Means (B,) of values (L,) over the observed lines of each molecule."""
    size = len(batch)
    sums = values.new_zeros(size).index_add(0, batch.line_molecules, values)
    counts = values.new_zeros(size).index_add(0, batch.line_molecules, torch.ones_like(values))
    return sums / counts.clamp(min=1)
