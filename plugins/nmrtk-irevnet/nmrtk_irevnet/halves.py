"""What blocks on vectors have in common: random halves, and checks of what they are given."""

from __future__ import annotations

import torch
from torch import Tensor

from nmrtk.errors import ConfigurationError, UsageError
from nmrtk.interfaces import InvertibleBackbone


def random_orders(depth: int, width: int) -> Tensor:
    """For each block a random order of the features, (depth, F), always the same."""
    generator = torch.Generator().manual_seed(0)
    return torch.stack([torch.randperm(width, generator=generator) for _ in range(depth)])


def require_options(name: str, backbone: InvertibleBackbone, **positive: int) -> None:
    """Make sure that halves can be made.

    Args:
        name: of the backbone, for messages.
        backbone: whose widths are checked.
        positive: options that must be at least 1.

    Raises:
        ConfigurationError: the widths cannot be those of a coupling.
        UsageError: an option is out of range.
    """
    width, code_width = backbone.width, backbone.code_width
    if width < 2:
        raise ConfigurationError(f"{name}: {width} features cannot be split into two halves")
    if not 0 <= code_width <= width:
        raise ConfigurationError(
            f"{name}: a code of {code_width} does not fit into {width} features"
        )
    for option, value in positive.items():
        if value < 1:
            raise UsageError(f"{name}: {option} is {value}, it must be at least 1")


def require_shapes(backbone: InvertibleBackbone, values: Tensor, condition: Tensor | None) -> None:
    """Make sure that values (B, F) and condition (B, C) are what a backbone was made for.

    Raises:
        ConfigurationError: they are not.
    """
    if values.ndim != 2 or values.shape[1] != backbone.width:
        raise ConfigurationError(f"made for (B, {backbone.width}), given {tuple(values.shape)}")
    wanted = (len(values), backbone.condition_width)
    given = (len(values), 0) if condition is None else tuple(condition.shape)
    if given != wanted:
        raise ConfigurationError(
            f"made for a condition of shape {wanted}, given "
            f"{'none' if condition is None else given}"
        )
