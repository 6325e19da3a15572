"""The backbone `irevnet-flat`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmrtk.interfaces import InvertibleBackbone
from nmrtk_irevnet.halves import random_orders, require_options, require_shapes
from nmrtk_irevnet.recompute import Step, run_steps

_LOG_SCALE_LIMIT = 5.0
"""Bound of the log of a free scaling, so that its inverse cannot lose more than two digits."""


class FlatBackbone(InvertibleBackbone):
    """Additive coupling blocks on vectors, and a scaling of the free part.

    A block splits the features at random into halves x1 and x2, the same for all rows, and does
    y2 = x2 + F(x1, c), y1 = x1 + G(y2, c), where c is the condition. Nothing is moved, so feature
    i becomes output i plus something, and before training the map is the identity: the first K
    features are the expected code. Sources: additive coupling and the scaling, Dinh et al., NICE
    (arXiv 1410.8516); the backward pass, see `nmrtk_irevnet.recompute`.

    Args:
        width: F, at least 2.
        code_width: K, at most F.
        condition_width: C; 0 for none.
        depth: number of blocks.
        hidden_dim: width of the hidden layer of every F and G.
        free_scaling: whether each output of the free part is multiplied by a learned factor,
            between exp(-5) and exp(5).
        recompute: whether the backward pass makes activations anew, so that the memory for
            training does not grow with the depth, for about a third more time.

    Raises:
        ConfigurationError: the widths cannot be those of a coupling.
        UsageError: an option is out of range.

    Example:
        >>> backbone = FlatBackbone(5, 2, 0)
        >>> features = torch.arange(10.0).reshape(2, 5)
        >>> torch.equal(backbone.inverse(backbone(features)), features)
        True
    """

    has_log_det = True

    order: Tensor

    def __init__(
        self,
        width: int,
        code_width: int,
        condition_width: int,
        *,
        depth: int = 8,
        hidden_dim: int = 256,
        free_scaling: bool = True,
        recompute: bool = True,
    ) -> None:
        super().__init__(width, code_width, condition_width)
        require_options("irevnet-flat", self, depth=depth, hidden_dim=hidden_dim)
        self.recompute = recompute
        half = width // 2
        # Part of the checkpoint, because randperm may give another order in another release.
        self.register_buffer("order", random_orders(depth, width))
        self.nets = nn.ModuleList()
        for _ in range(depth):
            self.nets.append(CouplingNet(half, condition_width, hidden_dim, width - half))
            self.nets.append(CouplingNet(width - half, condition_width, hidden_dim, half))
        scales = width - code_width if free_scaling else 0
        self.raw_log_scale = nn.Parameter(torch.zeros(scales)) if scales else None

    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """Features (B, F), condition (B, C) -> outputs (B, F): code, then free part."""
        require_shapes(self, features, condition)
        outputs = run_steps(self._steps(), features, condition, 1, recompute=self.recompute)
        return outputs if self.raw_log_scale is None else outputs * self._log_scale().exp()

    def inverse(self, outputs: Tensor, condition: Tensor | None = None) -> Tensor:
        """The exact inverse of `forward` for the same condition."""
        require_shapes(self, outputs, condition)
        if self.raw_log_scale is not None:
            outputs = outputs * torch.exp(-self._log_scale())
        return run_steps(self._steps()[::-1], outputs, condition, -1, recompute=self.recompute)

    def forward_with_log_det(
        self, features: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`forward`, and the log of the absolute Jacobian determinant, (B,): that of the scaling,
        since coupling keeps volumes.
        """
        outputs = self(features, condition)
        return outputs, self._log_scale().sum().to(outputs.dtype).expand(len(outputs))

    def _steps(self) -> list[Step]:
        half = self.width // 2
        steps: list[Step] = []
        for block, order in enumerate(self.order):
            first, second = order[:half], order[half:]
            steps.append(Step(self.nets[2 * block], first, second))
            steps.append(Step(self.nets[2 * block + 1], second, first))
        return steps

    def _log_scale(self) -> Tensor:
        """Log of the factor of each output (F,), 0 for the code."""
        if self.raw_log_scale is None:
            return torch.zeros(self.width, device=self.order.device)
        free = _LOG_SCALE_LIMIT * torch.tanh(self.raw_log_scale / _LOG_SCALE_LIMIT)
        return nn.functional.pad(free, (self.width - len(free), 0))


class CouplingNet(nn.Module):
    """F or G of a block: one hidden layer on some features and the condition.

    The features enter as x / sqrt(1 + |x|). That is close to x near 0, and far from it grows
    slowly and with a slope below 1, so that large features stay apart without making what is
    added, and the rounding error of the inverse, large in proportion. The last layer starts at 0.

    Args:
        source_width: S, number of features read.
        condition_width: C; 0 for none.
        hidden_dim: width of the hidden layer.
        target_width: T, number of features changed.
    """

    def __init__(
        self, source_width: int, condition_width: int, hidden_dim: int, target_width: int
    ) -> None:
        super().__init__()
        self.hidden = nn.Linear(source_width + condition_width, hidden_dim)
        self.last = nn.Linear(hidden_dim, target_width)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, values: Tensor, condition: Tensor | None) -> Tensor:
        """Values (B, S) and condition (B, C), or None -> what to add, (B, T)."""
        inputs = values * torch.rsqrt(1.0 + values.abs())
        if condition is not None:
            inputs = torch.cat([inputs, condition.to(inputs.dtype)], dim=1)
        change: Tensor = self.last(nn.functional.silu(self.hidden(inputs)))
        return change
