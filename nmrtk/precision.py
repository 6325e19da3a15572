"""Matrix products in 16 bits, where a processor is faster at them."""

from __future__ import annotations

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
        """(..., inputs) -> (..., outputs), float32."""
        rows = input.reshape(-1, self.in_features)
        count = len(rows)
        # Each new number of rows costs the making of a program for it, and memory; what stands in
        # those that are added does not matter.
        values = rows.new_empty(count + -count % _ROWS, self.in_features, dtype=torch.bfloat16)
        values[:count] = rows
        products = functional.linear(values, self.weight.bfloat16())[:count].float()
        products = products.reshape(*input.shape[:-1], self.out_features)
        return products if self.bias is None else products + self.bias


def reduce_products(module: nn.Module) -> None:
    """Let the linear layers inside a module multiply in bfloat16; all else stays in float32.

    Layers with a single output stay too: they give what is read, such as a shift, and cost little.
    """
    for name, child in list(module.named_children()):
        if type(child) is not nn.Linear:
            reduce_products(child)
        elif child.out_features > 1:
            setattr(module, name, ReducedLinear(child))
