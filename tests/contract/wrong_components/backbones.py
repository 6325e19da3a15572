"""Backbones that each break one rule."""

from __future__ import annotations

from typing import Any

import torch
from right_components import (
    CouplingBackbone,
    LatticeBackbone,
)
from torch import Tensor, nn


class WidthValueError(CouplingBackbone):
    def __init__(self, width: int, code_width: int, condition_width: int) -> None:
        if width != 64:
            raise ValueError("the width must be 64")
        super().__init__(width, code_width, condition_width)


class InverseIsForward(CouplingBackbone):
    def inverse(self, outputs: Tensor, condition: Tensor | None = None) -> Tensor:
        return self(outputs, condition)


class InverseForgetsScale(CouplingBackbone):
    """Right as long as the scales are at their start."""

    def inverse(self, outputs: Tensor, condition: Tensor | None = None) -> Tensor:
        return super().inverse(outputs, condition) * self.scale.exp()


class SinglePrecision(CouplingBackbone):
    def inverse(self, outputs: Tensor, condition: Tensor | None = None) -> Tensor:
        return super().inverse(outputs.float().to(outputs.dtype), condition)


class NormInside(CouplingBackbone):
    def block(self, hidden: int) -> nn.Sequential:
        norm = nn.BatchNorm1d(self.width // 2, track_running_stats=False)
        return nn.Sequential(*super().block(hidden), norm)


class DropoutInside(CouplingBackbone):
    def block(self, hidden: int) -> nn.Sequential:
        return nn.Sequential(*super().block(hidden), nn.Dropout(0.5))


class OtherInTraining(CouplingBackbone):
    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        return super().forward(features, condition) * (0.5 if self.training else 1.0)


class ConditionIgnored(CouplingBackbone):
    def move(self, block: nn.Module, half: Tensor, condition: Tensor | None) -> Tensor:
        return super().move(block, half, None if condition is None else 0.0 * condition)


class ParameterIdle(CouplingBackbone):
    def __init__(self, width: int, code_width: int, condition_width: int) -> None:
        super().__init__(width, code_width, condition_width)
        self.idle = nn.Parameter(torch.ones(3))


class HalfGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] / 2


class GradientHalved(CouplingBackbone):
    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        return HalfGradient.apply(super().forward(features, condition))  # type: ignore[no-any-return]


class LogDetNegative(CouplingBackbone):
    def forward_with_log_det(
        self, features: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        outputs, log_det = super().forward_with_log_det(features, condition)
        return outputs, -log_det


class LogDetUndeclared(CouplingBackbone):
    has_log_det = False


class LatticeClaimed(CouplingBackbone):
    on_lattice = True


class LatticeOutgrown(LatticeBackbone):
    """Adds numbers so large that float64 has no bits left for the fine digits."""

    def move(self, gain: Tensor, half: Tensor, dtype: torch.dtype) -> Tensor:
        return self.round(gain * half, dtype)


class LatticeGradientHalved(LatticeBackbone):
    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        return HalfGradient.apply(super().forward(features, condition))  # type: ignore[no-any-return]


class LatticeStretched(LatticeBackbone):
    def forward_with_log_det(
        self, features: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self(features, condition), features.new_ones(len(features))


class BackboneStateLost(CouplingBackbone):
    made = 0

    def __init__(self, width: int, code_width: int, condition_width: int) -> None:
        super().__init__(width, code_width, condition_width)
        type(self).made += 1
        self.order = torch.randperm(width, generator=torch.Generator().manual_seed(self.made))

    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        return super().forward(features, condition)[:, self.order]

    def inverse(self, outputs: Tensor, condition: Tensor | None = None) -> Tensor:
        return super().inverse(outputs[:, self.order.argsort()], condition)

    def forward_with_log_det(
        self, features: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self(features, condition), self.scale.sum().expand(len(features))


WRONG_BACKBONES = {
    WidthValueError: "raises ConfigurationError",
    InverseIsForward: "inverse(forward(x)) - x, plain, untrained, torch.float32",
    InverseForgetsScale: "inverse(forward(x)) - x, plain, perturbed, torch.float32",
    SinglePrecision: "inverse(forward(x)) - x, plain, untrained, torch.float64",
    LatticeClaimed: "exact round trip, plain",
    LatticeOutgrown: "exact round trip, plain, weights by 1e+06, torch.float64",
    LatticeGradientHalved: "gradients of forward against central differences",
    LatticeStretched: "log-determinant, plain: found values up to 1",
    NormInside: "forward of rows by 2 and in a batch",
    DropoutInside: "forward of rows by 2 and in a batch, plain, training mode",
    OtherInTraining: "training and evaluation mode",
    ConditionIgnored: "use of the condition",
    ParameterIdle: "gradients of forward reach every parameter",
    GradientHalved: "gradients of forward against central differences",
    LogDetNegative: "log-determinant against that of the Jacobian",
    LogDetUndeclared: "no log-determinant",
    BackboneStateLost: "state_dict round trip",
}
