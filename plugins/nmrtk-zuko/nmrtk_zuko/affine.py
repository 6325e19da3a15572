"""The backbone `zuko-affine`."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.transforms import ComposedTransform, MonotonicAffineTransform

from nmrtk.errors import ConfigurationError, UsageError
from nmrtk.interfaces import InvertibleBackbone


class AffineBackbone(InvertibleBackbone):
    """Affine coupling blocks on vectors.

    A block splits the features at random into halves and multiplies and shifts each by what a net
    makes of the other one and the condition. Before training the map is the identity: the first K
    features are the expected code. Source: Dinh et al., RealNVP (arXiv 1605.08803), by way of
    `zuko.flows.coupling.GeneralCouplingTransform`.

    Args:
        width: F, at least 2.
        code_width: K, at most F.
        condition_width: C; 0 for none.
        depth: number of blocks, of two couplings each.
        hidden_dim: width of the hidden layer of every net.
        stretch: a block multiplies no feature by more than this, nor by less than its reciprocal.

    Raises:
        ConfigurationError: the widths cannot be those of a coupling.
        UsageError: an option is out of range.

    Example:
        >>> backbone = AffineBackbone(5, 2, 0)
        >>> features = torch.arange(10.0).reshape(2, 5)
        >>> torch.equal(backbone.inverse(backbone(features)), features)
        True
    """

    has_log_det = True

    def __init__(
        self,
        width: int,
        code_width: int,
        condition_width: int,
        *,
        depth: int = 8,
        hidden_dim: int = 256,
        stretch: float = 2.0,
    ) -> None:
        super().__init__(width, code_width, condition_width)
        if width < 2:
            raise ConfigurationError(
                f"zuko-affine: {width} features cannot be split into two halves"
            )
        if not 0 <= code_width <= width:
            raise ConfigurationError(
                f"zuko-affine: a code of {code_width} does not fit into {width} features"
            )
        if min(depth, hidden_dim) < 1 or stretch <= 1.0:
            raise UsageError(
                f"zuko-affine: depth={depth} and hidden_dim={hidden_dim} must be at least 1, "
                f"stretch={stretch} more than 1"
            )
        generator = torch.Generator().manual_seed(0)
        affine = partial(MonotonicAffineTransform, slope=1.0 / stretch)
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            mask = torch.zeros(width, dtype=torch.bool)
            mask[torch.randperm(width, generator=generator)[: width // 2]] = True
            for part in (mask, ~mask):
                block = GeneralCouplingTransform(
                    width,
                    condition_width,
                    part,
                    affine,
                    hidden_features=(hidden_dim,),
                    activation=nn.SiLU,
                )
                nn.init.zeros_(block.hyper[-1].weight)
                nn.init.zeros_(block.hyper[-1].bias)
                self.blocks.append(block)

    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """Features (B, F), condition (B, C) -> outputs (B, F): code, then free part."""
        outputs: Tensor = self._transform(features, condition)(features)
        return outputs

    def inverse(self, outputs: Tensor, condition: Tensor | None = None) -> Tensor:
        """The inverse of `forward` for the same condition."""
        features: Tensor = self._transform(outputs, condition).inv(outputs)
        return features

    def forward_with_log_det(
        self, features: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`forward`, and the log of the absolute Jacobian determinant, (B,)."""
        outputs, log_det = self._transform(features, condition).call_and_ladj(features)
        return outputs, log_det

    def _transform(self, values: Tensor, condition: Tensor | None) -> ComposedTransform:
        wanted = (len(values), self.width), (len(values), self.condition_width)
        none = (len(values), 0)
        given = tuple(values.shape), none if condition is None else tuple(condition.shape)
        if given != wanted:
            raise ConfigurationError(
                f"zuko-affine: made for features and conditions of shapes {wanted[0]} and "
                f"{wanted[1]}, given {given[0]} and {given[1]}"
            )
        if condition is not None:
            condition = condition.to(values.dtype)
        return ComposedTransform(*(block(condition) for block in self.blocks))
