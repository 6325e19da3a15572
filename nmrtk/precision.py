"""Matrix products in 16 bits, where a processor is faster at them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_ROWS = 256  # a multiple of it is multiplied at once


class ReducedLinear(nn.Linear):
    """The layer of another, whose weights it shares, with products in bfloat16."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, device="meta")
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, input: Tensor) -> Tensor:
        """(..., inputs), float32 or bfloat16 -> (..., outputs), float32."""
        return self.last_products(_filled_up(input), input.shape[:-1])

    def products(self, values: Tensor) -> Tensor:
        """(N, inputs), N a multiple of 256, -> (N, outputs), both bfloat16."""
        bias = None if self.bias is None else self.bias.bfloat16()
        return functional.linear(values, self.weight.bfloat16(), bias)

    def last_products(self, values: Tensor, shape: Sequence[int]) -> Tensor:
        """The same, of which as many as there were go on in float32: (*shape, outputs)."""
        products = functional.linear(values, self.weight.bfloat16())[: math.prod(shape)].float()
        products = products.reshape(*shape, self.out_features)
        return products if self.bias is None else products.add_(self.bias)


class ReducedSequential(nn.Sequential):
    """The layers of another, `ReducedLinear` and ReLU between them; values stay in bfloat16 from
    one to the next.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs), float32."""
        *inner, last = self.children()
        values = _filled_up(input)
        for layer in inner:
            if isinstance(layer, ReducedLinear):
                values = layer.products(values)
            else:
                values.relu_()
        return cast(ReducedLinear, last).last_products(values, input.shape[:-1])


def reduce_products(module: nn.Module) -> None:
    """Let the linear layers inside a module multiply in bfloat16; all else stays in float32.

    Layers with a single output stay too: they give what is read, such as a shift, and cost little.
    """
    for name, child in list(module.named_children()):
        if type(child) is not nn.Linear:
            reduce_products(child)
            if type(child) is nn.Sequential and _alternates(child):
                setattr(module, name, ReducedSequential(*child))
        elif child.out_features > 1:
            setattr(module, name, ReducedLinear(child))


def as_read_by(layers: Iterable[nn.Module], values: Tensor) -> Tensor:
    """Values in the precision to which all of some layers bring them, for whoever moves many rows
    first.
    """
    reduced = all(isinstance(layer, ReducedLinear) for layer in layers)
    return values.bfloat16() if reduced else values


def _alternates(layers: nn.Sequential) -> bool:
    """Whether reduced layers have ReLU between them."""
    return len(layers) % 2 == 1 and all(
        type(layer) is (nn.ReLU if place % 2 else ReducedLinear)
        for place, layer in enumerate(layers)
    )


def _filled_up(input: Tensor) -> Tensor:
    """Values (..., inputs) as rows in bfloat16, their number filled up to a multiple of 256.

    Each new number of rows costs the making of a program for it, and memory; what stands in those
    that are added does not matter.
    """
    rows = input.reshape(-1, input.shape[-1])
    count = len(rows)
    missing = -count % _ROWS
    if rows.dtype == torch.bfloat16 and not missing:
        return rows
    values = rows.new_empty(count + missing, rows.shape[1], dtype=torch.bfloat16)
    values[:count] = rows
    return values
