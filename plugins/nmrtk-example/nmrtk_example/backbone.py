"""Additive coupling, the simplest map with an exact inverse."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmrtk.errors import ConfigurationError, UsageError
from nmrtk.interfaces import InvertibleBackbone


class CouplingBackbone(InvertibleBackbone):
    """One pair of additive couplings: y2 = x2 + f(x1), y1 = x1 + g(y2).

    Source: L. Dinh, D. Krueger, Y. Bengio, NICE, arXiv 1410.8516.

    Args:
        width: F, at least 2; where it is odd, x1 has one feature more.
        code_width: K.
        condition_width: C; 0 for none.
        hidden: width of the dense networks f and g.

    Raises:
        ConfigurationError: there are fewer than 2 features.
        UsageError: `hidden` is not positive.
    """

    has_log_det = True

    def __init__(
        self, width: int, code_width: int, condition_width: int, *, hidden: int = 64
    ) -> None:
        super().__init__(width, code_width, condition_width)
        if width < 2:
            raise ConfigurationError(f"coupling needs at least 2 features, not {width}")
        if hidden < 1:
            raise UsageError(f"coupling: hidden={hidden} must be at least 1")
        self.sizes = [width - width // 2, width // 2]
        self.f = _dense(self.sizes[0] + condition_width, hidden, self.sizes[1])
        self.g = _dense(self.sizes[1] + condition_width, hidden, self.sizes[0])

    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """Features (B, F), condition (B, C) -> outputs (B, F)."""
        first, second = features.split(self.sizes, dim=1)
        second = second + self.f(_join(first, condition))
        first = first + self.g(_join(second, condition))
        return torch.cat([first, second], dim=1)

    def inverse(self, outputs: Tensor, condition: Tensor | None = None) -> Tensor:
        """The steps of `forward` undone, the last one first."""
        first, second = outputs.split(self.sizes, dim=1)
        first = first - self.g(_join(second, condition))
        second = second - self.f(_join(first, condition))
        return torch.cat([first, second], dim=1)

    def forward_with_log_det(
        self, features: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Outputs (B, F), and zeros (B,): additive coupling keeps every volume."""
        return self(features, condition), features.new_zeros(len(features))


def _dense(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


def _join(values: Tensor, condition: Tensor | None) -> Tensor:
    return values if condition is None else torch.cat([values, condition], dim=1)
