"""Chains of additive steps whose backward pass keeps no activations.

Each step adds a function of some columns to other columns, so it is undone by subtracting the same.
The backward pass runs the chain backwards from its output and makes each activation anew, as in
Gomez et al., The Reversible Residual Network (arXiv 1707.04585).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Step(NamedTuple):
    """Adds `net(columns of source, condition)` to the columns of target.

    Args:
        net: maps (B, S) and (B, C) or None to (B, T).
        source: (S,), int64.
        target: (T,), int64, disjoint from source.
    """

    net: nn.Module
    source: Tensor
    target: Tensor


def run_steps(
    steps: Sequence[Step], values: Tensor, condition: Tensor | None, sign: int, *, recompute: bool
) -> Tensor:
    """Run a chain of steps.

    Args:
        steps: in the order in which they run.
        values: (B, F).
        condition: (B, C), or None.
        sign: 1 adds, -1 subtracts. A chain is undone by its reverse with the other sign.
        recompute: whether the backward pass makes activations anew instead of storing them. It
            cannot itself be differentiated then.

    Returns:
        (B, F); the gradients are those of the plain chain up to rounding.
    """
    # Half precision would lose what a step adds, and with it the exact inverse.
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    if recompute and torch.is_grad_enabled():
        parameters = _parameters(steps)
        result: Tensor = _RecomputedChain.apply(steps, sign, values, condition, *parameters)
        return result
    for step in steps:
        change = _change(step, values, condition).to(values.dtype)
        values = values.index_add(1, step.target, change, alpha=sign)
    return values


def _parameters(steps: Sequence[Step]) -> list[nn.Parameter]:
    return [p for step in steps for p in step.net.parameters()]


def _change(step: Step, values: Tensor, condition: Tensor | None) -> Tensor:
    change: Tensor = step.net(values.index_select(1, step.source), condition)
    return change


class _RecomputedChain(torch.autograd.Function):
    """Saves its output, and the condition and the parameters, which exist anyway.

    The parameters are inputs, although the steps hold them, so that autograd sees that they are
    used and the hooks of data-parallel training fire as each gradient is accumulated.
    """

    @staticmethod
    def forward(
        ctx: Any,
        steps: Sequence[Step],
        sign: int,
        values: Tensor,
        condition: Tensor | None,
        *parameters: Tensor,
    ) -> Tensor:
        values = values.clone()
        for step in steps:
            change = _change(step, values, condition).to(values.dtype)
            values.index_add_(1, step.target, change, alpha=sign)
        kind = values.device.type
        ctx.autocast = (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
        ctx.steps, ctx.sign = steps, sign
        # Saving the parameters makes autograd complain if they change before the backward pass.
        ctx.save_for_backward(values, condition, *parameters)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        values, condition, *_ = ctx.saved_tensors
        values, gradient = values.clone(), gradient.clone()
        wants_condition = condition is not None and ctx.needs_input_grad[3]
        condition_gradient = torch.zeros_like(condition) if wants_condition else None
        # Made first, because small tensors that stay, among large ones that go, would leave holes
        # in the heap that grow with the depth.
        gradients = {p: torch.empty_like(p) for p in _parameters(ctx.steps) if p.requires_grad}
        kind, dtype, enabled = ctx.autocast
        for step in reversed(ctx.steps):
            trained = [p for p in step.net.parameters() if p.requires_grad]
            source = values.index_select(1, step.source).requires_grad_()
            given = None if condition is None else condition.detach()
            if given is not None:
                given.requires_grad_(wants_condition)
            # A cached cast of a weight might have been made without a graph.
            with torch.enable_grad(), torch.autocast(kind, dtype, enabled, cache_enabled=False):
                change = step.net(source, given).to(values.dtype)
            found = torch.autograd.grad(
                change,
                [source, *([given] if wants_condition else []), *trained],
                gradient.index_select(1, step.target) * ctx.sign,
            )
            values.index_add_(1, step.target, change.detach(), alpha=-ctx.sign)
            gradient.index_add_(1, step.source, found[0])
            if condition_gradient is not None:
                condition_gradient += found[1]
            for parameter, part in zip(trained, found[len(found) - len(trained) :], strict=True):
                gradients[parameter].copy_(part)
        return (
            None,
            None,
            gradient,
            condition_gradient,
            *(gradients.get(p) for p in _parameters(ctx.steps)),
        )
