"""The backbone `irevnet-exact`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nmrtk.errors import ConfigurationError
from nmrtk.interfaces import InvertibleBackbone
from nmrtk_irevnet.halves import random_orders, require_options, require_shapes

RANGE = 128.0
"""Values lie in [-RANGE, RANGE)."""

RESOLUTIONS = {torch.float32: 2.0**-16, torch.float64: 2.0**-36}
"""Distance of the lattice by type: all its points are numbers of that type."""

_COARSE = RESOLUTIONS[torch.float32]  # of what the nets read and put out
_WEIGHT_RESOLUTION, _WEIGHT_LIMIT = 2.0**-14, 32.0
_READ_LIMIT = 64.0
# A sum of so many products is a multiple of 2^-30 below 2^23: float64 holds every partial sum.
_MOST_INPUTS = 4000


class ExactBackbone(InvertibleBackbone):
    """Additive coupling blocks on a lattice: the round trip is exact to the last bit, whatever the
    weights.

    The blocks are those of `irevnet-flat`, but all values are multiples of 2^-16 in [-128, 128),
    or of 2^-36 for float64; sums beyond the ends come back in at the other one, so that a block
    permutes the points of the lattice. What a block adds has to be the same bits in both
    directions, in batches of any size and on any number of threads. So its nets compute with
    fixed-point numbers: rounded inputs and weights, ReLU, and products whose sums are exact in
    float64 in whatever order they are added. Gradients pass straight through the rounding (Bengio
    et al., arXiv 1308.3432); the lattice is that of integer flows (Hoogeboom et al., arXiv
    1905.07376).

    Features are rounded to the lattice, by at most 2^-17, and held within its ends, when they
    enter.

    Args:
        width: F, at least 2.
        code_width: K, at most F.
        condition_width: C; 0 for none.
        depth: number of blocks.
        hidden_dim: width of the hidden layer of every net.

    Raises:
        ConfigurationError: the widths cannot be those of a coupling, or sums of so many features
            would not be exact.
        UsageError: an option is out of range.

    Example:
        >>> backbone = ExactBackbone(5, 2, 0)
        >>> features = torch.tensor([[0.5, -3.25, 100.0, 0.0, 2.0**-16]])
        >>> torch.equal(backbone.inverse(backbone(features)), features)
        True
    """

    has_log_det = True
    on_lattice = True

    order: Tensor

    def __init__(
        self,
        width: int,
        code_width: int,
        condition_width: int,
        *,
        depth: int = 8,
        hidden_dim: int = 256,
    ) -> None:
        super().__init__(width, code_width, condition_width)
        require_options("irevnet-exact", self, depth=depth, hidden_dim=hidden_dim)
        half = width // 2
        longest = max(width - half + condition_width, hidden_dim)
        if longest > _MOST_INPUTS:
            raise ConfigurationError(
                f"irevnet-exact: sums of {longest} products are not exact, at most {_MOST_INPUTS} "
                "are; irevnet-flat takes more"
            )
        self.register_buffer("order", random_orders(depth, width))
        self.nets = nn.ModuleList()
        for _ in range(depth):
            self.nets.append(FixedPointNet(half + condition_width, hidden_dim, width - half))
            self.nets.append(FixedPointNet(width - half + condition_width, hidden_dim, half))

    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """Features (B, F), condition (B, C) -> outputs (B, F): code, then free part."""
        return self._run(features, condition, 1.0)

    def inverse(self, outputs: Tensor, condition: Tensor | None = None) -> Tensor:
        """The exact inverse of `forward` for the same condition."""
        return self._run(outputs, condition, -1.0)

    def forward_with_log_det(
        self, features: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`forward`, and zeros (B,), since a permutation of a lattice keeps volumes."""
        outputs = self(features, condition)
        return outputs, outputs.new_zeros(len(outputs))

    def _run(self, values: Tensor, condition: Tensor | None, sign: float) -> Tensor:
        require_shapes(self, values, condition)
        if values.dtype not in RESOLUTIONS:
            raise ConfigurationError(
                f"irevnet-exact: made for float32 and float64, given {values.dtype}"
            )
        resolution = RESOLUTIONS[values.dtype]
        with torch.autocast(values.device.type, enabled=False):
            state = _rounded(values.double().clamp(-RANGE, RANGE - resolution), resolution)
            for net, source, target in self._steps(sign):
                read = state[:, source]
                if condition is not None:
                    read = torch.cat([read, condition.double()], dim=1)
                # Wrapped before it is added too: float64 has no bits for a sum of any size.
                moved = state[:, target] + sign * _wrapped(net(read))
                state = state.index_copy(1, target, _wrapped(moved))
        return state.to(values.dtype)

    def _steps(self, sign: float) -> list[tuple[nn.Module, Tensor, Tensor]]:
        half = self.width // 2
        steps = []
        for block, order in enumerate(self.order):
            first, second = order[:half], order[half:]
            steps.append((self.nets[2 * block], first, second))
            steps.append((self.nets[2 * block + 1], second, first))
        return steps if sign > 0 else steps[::-1]


class FixedPointNet(nn.Module):
    """A hidden layer of ReLU, with fixed-point numbers from input to output.

    Its outputs depend on nothing but the row: not on the batch, the threads, or the order of
    sums. The last layer starts at 0.

    Args:
        source_width: S, number of inputs.
        hidden_dim: width of the hidden layer.
        target_width: T, number of outputs.
    """

    def __init__(self, source_width: int, hidden_dim: int, target_width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(source_width, hidden_dim)
        self.last = nn.Linear(hidden_dim, target_width)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, values: Tensor) -> Tensor:
        """Values (B, S) -> (B, T), float64, multiples of 2^-16."""
        hidden = nn.functional.relu(_exact_linear(self.hidden, _readable(values)))
        return _rounded(_exact_linear(self.last, _readable(hidden)), _COARSE)


def _exact_linear(layer: nn.Linear, values: Tensor) -> Tensor:
    weight = _fixed(layer.weight, _WEIGHT_RESOLUTION)
    bias = _fixed(layer.bias, _COARSE)
    return nn.functional.linear(values, weight, bias)


def _fixed(weights: Tensor, resolution: float) -> Tensor:
    return _rounded(weights.double().clamp(-_WEIGHT_LIMIT, _WEIGHT_LIMIT), resolution)


def _readable(values: Tensor) -> Tensor:
    return _rounded(values.clamp(-_READ_LIMIT, _READ_LIMIT), _COARSE)


def _wrapped(values: Tensor) -> Tensor:
    """Values in [-RANGE, RANGE) that differ from those given by multiples of its length."""
    return values - 2 * RANGE * torch.floor((values + RANGE) / (2 * RANGE)).detach()


def _rounded(values: Tensor, resolution: float) -> Tensor:
    rounded: Tensor = _StraightRound.apply(values, resolution)  # type: ignore[no-untyped-call]
    return rounded


class _StraightRound(torch.autograd.Function):
    """Round to multiples of a power of two; the gradient passes."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, resolution: float) -> Tensor:
        # Times a power of two is exact.
        return torch.round(values * (1 / resolution)) * resolution

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
