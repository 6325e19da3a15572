"""What a check measured and what is allowed."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from nmrtk.errors import NmrtkError, PluginError
from nmrtk.options import options_of


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest errors allowed for one float type, relative to the larger of 1 and the values.

    Args:
        round_trip: of an inversion, which runs through every layer twice.
        same: of one quantity computed in two ways, such as alone and within a batch.
    """

    round_trip: float
    same: float


TOLERANCES = {
    torch.float32: Tolerance(round_trip=2e-4, same=1e-4),
    torch.float64: Tolerance(round_trip=1e-10, same=1e-9),
}
"""By float type. 2e-4 in float32 is what the seed system of 22 coupling blocks reaches."""


class Report:
    """Prints one line a property, and raises at the first that does not hold.

    Args:
        component: the object under test.
    """

    def __init__(self, component: object) -> None:
        self._name = type(component).__name__
        print(f"{self._name}: contract checks")

    def measure(self, what: str, measured: float, allowed: float, contract: str) -> None:
        """A property that holds if a number is at most the allowed one.

        Raises:
            AssertionError: it is larger, or not a number.
        """
        text = f"measured {measured:.2e}, allowed {allowed:.2e}"
        if math.isnan(measured) or measured > allowed:
            self._fail(what, text, contract)
        print(f"  ok  {what}: {text}")

    def require(self, what: str, holds: bool, found: object, contract: str) -> None:
        """A property that holds or not; `found` is what there was instead.

        Raises:
            AssertionError: it does not hold.
        """
        if not holds:
            self._fail(what, f"found {found}", contract)
        print(f"  ok  {what}")

    def raises(
        self, what: str, expected: type[NmrtkError], call: Callable[[], object], contract: str
    ) -> None:
        """A call that must be refused with one kind of error and a text.

        Raises:
            AssertionError: it is not refused, or otherwise.
        """
        try:
            call()
        except expected as error:
            self.require(what, bool(str(error).strip()), "an error without a text", contract)
        except Exception as error:
            self._fail(what, f"raised {type(error).__name__}: {error}", contract)
        else:
            self._fail(what, f"no {expected.__name__} was raised", contract)

    def skip(self, what: str, reason: str) -> None:
        """A property that does not apply."""
        print(f"  --  {what}: {reason}")

    def options(self, component_class: type, context: int) -> None:
        """That the constructor takes `context` positional parameters and keyword-only options.

        Raises:
            AssertionError: it does not.
        """
        what = "constructor"
        contract = (
            f"the constructor takes {context} positional parameters (its context); the options "
            "are keyword-only, with annotations and defaults"
        )
        parameters = list(inspect.signature(component_class).parameters.values())
        positional = [p for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY]
        names = ", ".join(str(p) for p in positional) or "none"
        bare = all(
            p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and p.default is p.empty
            for p in positional
        )
        self.require(
            what, len(positional) == context and bare, f"positional parameters: {names}", contract
        )
        try:
            options_of(component_class)
        except PluginError as error:
            self._fail(what, str(error), contract)

    def _fail(self, what: str, found: str, contract: str) -> NoReturn:
        raise AssertionError(f"{self._name}: {what}: {found}. The contract: {contract}.")


def difference(first: torch.Tensor, second: torch.Tensor) -> float:
    """Largest difference of two tensors, relative to the larger of 1 and their values; infinite
    where their shapes differ or a value is not finite.
    """
    if first.shape != second.shape:
        return math.inf
    if first.numel() == 0:
        return 0.0
    if not (torch.isfinite(first).all() and torch.isfinite(second).all()):
        return math.inf
    scale = max(1.0, first.abs().max().item(), second.abs().max().item())
    return (first - second).abs().max().item() / scale


def has_gradient(values: torch.Tensor, leaf: torch.Tensor) -> bool:
    """Whether the sum of `values` has a finite gradient in `leaf` that is not zero everywhere."""
    if not values.requires_grad:
        return False
    (gradient,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True, retain_graph=True)
    return gradient is not None and bool(torch.isfinite(gradient).all() and gradient.any())


def same_after_reload(
    report: Report,
    module: torch.nn.Module,
    fresh: torch.nn.Module,
    run: Callable[[Any], torch.Tensor],
) -> None:
    """Check that a fresh instance with the weights of `module` gives the same output of `run`.

    Raises:
        AssertionError: it cannot load them, or differs.
    """
    contract = "all that training or fit changes is in state_dict, and a fresh instance loads it"
    try:
        fresh.load_state_dict(module.state_dict())
    except RuntimeError as error:
        report.require("state_dict round trip", False, " ".join(str(error).split()), contract)
    module.eval()
    fresh.eval()
    with torch.no_grad():
        error_size = difference(run(module), run(fresh))
    report.measure("state_dict round trip", error_size, 0.0, contract)
