"""Contract of invertible backbones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nmrtk.errors import ConfigurationError, UsageError
from nmrtk.interfaces import InvertibleBackbone
from nmrtk.testing.report import TOLERANCES, Report, difference, same_after_reload

Build = Callable[[int, int, int], InvertibleBackbone]

_WIDTHS = (16, 64, 256, 1024)
_ROWS = 6
_CONDITION = 5
# The Jacobian takes two rows a feature.
_JACOBIAN_WIDTH = 256
# What exactness must survive: weights so much larger than those that were drawn, of both signs,
# and of one, which makes sums as large as they get.
_HOSTILE = ((3.0, False), (1e6, False), (1e6, True))
# Steps and errors of slopes by central differences in float64.
_STEP = 1e-6
_SLOPE = 1e-5
# The same on a lattice: a step across many of its points, along the gradient, where the change is
# largest. Kinks and rounding leave about 3 %.
_LATTICE_STEP = 2e-2
_LATTICE_SLOPE = 0.1


def check_invertible_backbone(build: Build, *, width: int | None = None) -> None:
    """Check everything that nmrtk relies on in an invertible backbone.

    Args:
        build: the class, or a function of width, code width and condition width.
        width: number of features; unless given, the first of 16, 64, 256 and 1024 that the
            backbone does not refuse.

    Raises:
        AssertionError: a property does not hold; says what was measured and what is allowed.

    Example:
        A test of a plugin is one line: `check_invertible_backbone(MyBackbone)`.
    """
    made = _build_variants(build, (width,) if width else _WIDTHS)
    report = Report(made[0])
    report.options(type(made[0]), 3)
    for backbone in made:
        name = f"condition of {backbone.condition_width}" if backbone.condition_width else "plain"
        _check_variant(report, backbone, build, name)


def _build_variants(build: Build, widths: tuple[int, ...]) -> list[InvertibleBackbone]:
    """One without a condition, and one with a condition if the backbone uses it."""
    refused = ""
    for width in widths:
        try:
            plain = _build(build, width, 0)
        except ConfigurationError as error:
            refused = str(error)
            continue
        return [plain, _build(build, width, _CONDITION)] if plain.conditioned else [plain]
    raise AssertionError(
        f"backbone: it refuses the widths {', '.join(map(str, widths))}: {refused}. Give the "
        "check a `width` that it takes."
    )


def _build(build: Build, width: int, condition_width: int) -> InvertibleBackbone:
    torch.manual_seed(0)
    try:
        return build(width, width // 8, condition_width)
    except ConfigurationError:
        raise
    except Exception as error:
        raise AssertionError(
            f"backbone: width {width}: raised {type(error).__name__}: {error}. The contract: the "
            "constructor raises ConfigurationError for widths that it does not take."
        ) from error


def _check_variant(report: Report, backbone: InvertibleBackbone, build: Build, name: str) -> None:
    backbone.eval()
    for state in ("untrained", "perturbed"):
        if state == "perturbed":
            _perturb(backbone)
        for dtype in (torch.float32, torch.float64):
            _check_round_trip(report, backbone.to(dtype), dtype, f"{name}, {state}, {dtype}")
    _check_lattice(report, backbone, name)
    # In float64 what is left of a difference is a fault, not rounding.
    _check_rows(report, backbone, name)
    _check_modes(report, backbone, name)
    _check_condition(report, backbone, name)
    _check_gradients(report, backbone, name)
    _check_log_det(report, backbone, name)
    features, condition = _inputs(backbone)
    fresh = build(backbone.width, backbone.code_width, backbone.condition_width).double()
    same_after_reload(report, backbone, fresh, lambda part: part(features, condition))


def _inputs(backbone: InvertibleBackbone, rows: int = _ROWS) -> tuple[Tensor, Tensor | None]:
    """Features (rows, F) and condition (rows, C), float64, always the same."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(rows, backbone.width, generator=generator, dtype=torch.float64)
    if not backbone.condition_width:
        return features, None
    shape = (rows, backbone.condition_width)
    return features, torch.randn(shape, generator=generator, dtype=torch.float64)


def _perturb(backbone: InvertibleBackbone) -> None:
    """Move every weight: many backbones start as the identity, which proves nothing."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in backbone.parameters():
            fan_in = max(1, parameter[0].numel()) if parameter.ndim > 1 else 25
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_((0.5 * noise / fan_in**0.5).to(parameter))


def _check_round_trip(
    report: Report, backbone: InvertibleBackbone, dtype: torch.dtype, name: str
) -> None:
    features, condition = _inputs(backbone)
    features = features.to(dtype)
    condition = None if condition is None else condition.to(dtype)
    allowed = TOLERANCES[dtype].round_trip
    with torch.no_grad():
        outputs = backbone(features, condition)
        report.require(
            f"shape and type, {name}",
            outputs.shape == features.shape and outputs.dtype == dtype,
            f"{tuple(outputs.shape)} {outputs.dtype} for {tuple(features.shape)} {dtype}",
            "forward maps (B, F) to (B, F) of the same type",
        )
        # Rounding is relative to the largest value on the way, of which the output is a sample.
        scale = max(1.0, outputs.abs().max().item())
        back = backbone.inverse(outputs, condition)
        report.measure(
            f"inverse(forward(x)) - x, {name}",
            _distance(back, features) / scale,
            allowed,
            "inverse undoes forward",
        )
        inverted = backbone.inverse(features, condition)
        scale = max(1.0, inverted.abs().max().item())
        report.measure(
            f"forward(inverse(y)) - y, {name}",
            _distance(backbone(inverted, condition), features) / scale,
            allowed,
            "forward undoes inverse",
        )


def _check_lattice(report: Report, backbone: InvertibleBackbone, name: str) -> None:
    """Bit for bit, in float32 and float64, one by one and in a batch, for hostile weights."""
    if not backbone.on_lattice:
        report.skip(f"exact round trip, {name}", "on_lattice is False")
        return
    for factor, one_sign in _HOSTILE:
        for dtype in (torch.float32, torch.float64):
            # Weights that a float32 model can have.
            hostile = copy.deepcopy(backbone).float()
            with torch.no_grad():
                for parameter in hostile.parameters():
                    parameter.mul_(factor)
                    if one_sign:
                        parameter.abs_()
            hostile.to(dtype)
            features, condition = _inputs(backbone)
            features = 10 * features.to(dtype)
            condition = None if condition is None else condition.to(dtype)
            with torch.no_grad():
                # By the mild weights: hostile ones could round to points that suit themselves.
                mild = copy.deepcopy(backbone).to(dtype)
                rounded = mild.inverse(mild(features, condition), condition)
                outputs = hostile(rounded, condition)
                single = [
                    hostile.inverse(
                        outputs[row : row + 1],
                        None if condition is None else condition[row : row + 1],
                    )
                    for row in range(len(outputs))
                ]
            sign = " without sign" if one_sign else ""
            what = f"{name}, weights by {factor:g}{sign}, {dtype}"
            report.require(
                f"exact round trip, {what}",
                torch.equal(torch.cat(single), rounded)
                and torch.equal(hostile(hostile.inverse(outputs, condition), condition), outputs),
                f"differences of {_distance(torch.cat(single), rounded):.1e}",
                "where on_lattice is True, inverse(forward(x)) is x to the last bit for every x "
                "that was rounded, and forward(inverse(y)) is y, in batches of any size",
            )


def _distance(first: Tensor, second: Tensor) -> float:
    return (first - second).abs().max().item() if first.shape == second.shape else float("inf")


def _check_rows(report: Report, backbone: InvertibleBackbone, name: str) -> None:
    features, condition = _inputs(backbone)
    allowed = TOLERANCES[torch.float64].same
    for what, call in (("forward", backbone.forward), ("inverse", backbone.inverse)):
        # Training mode too: that is where batch norm would mix the rows. It takes two at least.
        for training, size in ((True, 2), (False, 1)):
            backbone.train(training)
            parts = [slice(start, start + size) for start in range(0, _ROWS, size)]
            with torch.no_grad():
                whole = call(features, condition)
                pieces = [
                    call(features[part], None if condition is None else condition[part])
                    for part in parts
                ]
            report.measure(
                f"{what} of rows by {size} and in a batch, {name}, "
                f"{'training' if training else 'evaluation'} mode",
                difference(whole, torch.cat(pieces)),
                allowed,
                "the output of one row does not depend on the others",
            )


def _check_modes(report: Report, backbone: InvertibleBackbone, name: str) -> None:
    features, condition = _inputs(backbone)
    backbone.train()
    trained = backbone(features.clone().requires_grad_(True), condition).detach()
    backbone.eval()
    with torch.no_grad():
        evaluated = backbone(features, condition)
    report.measure(
        f"training and evaluation mode, {name}",
        difference(trained, evaluated),
        TOLERANCES[torch.float64].same,
        "forward is one function, in training with gradients as in evaluation without",
    )


def _check_condition(report: Report, backbone: InvertibleBackbone, name: str) -> None:
    features, condition = _inputs(backbone)
    if condition is None:
        report.skip(f"use of the condition, {name}", "condition_width is 0")
        return
    with torch.no_grad():
        change = difference(backbone(features, condition), backbone(features, condition + 1.0))
    report.require(
        f"use of the condition, {name}",
        change > 1e-6,
        f"outputs that change by {change:.1e} when the condition changes by 1",
        "where conditioned is True, the map depends on the condition",
    )


def _check_gradients(report: Report, backbone: InvertibleBackbone, name: str) -> None:
    """Gradients against central differences: a backward pass that recomputes activations can be
    wrong while the forward pass is right.
    """
    features, condition = _inputs(backbone)
    leaves = [features.requires_grad_(True)]
    if condition is not None:
        leaves.append(condition.requires_grad_(True))
    named = [(n, p) for n, p in backbone.named_parameters() if p.requires_grad]
    leaves += [parameter for _, parameter in named]
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(features.shape, generator=generator, dtype=torch.float64)
    backbone.train()
    for what, call in (("forward", backbone.forward), ("inverse", backbone.inverse)):

        def total(call: Callable[..., Tensor] = call) -> Tensor:
            return (call(features, condition) * weights).mean(dim=0).sum()

        value = total()
        gradients: Sequence[Tensor | None] = [None] * len(leaves)
        if value.requires_grad:
            gradients = torch.autograd.grad(value, leaves, allow_unused=True)
        reached = {id(g) for g in gradients if g is not None and bool(g.any())}
        parameter_gradients = gradients[len(gradients) - len(named) :]
        missing = [
            n for (n, _), g in zip(named, parameter_gradients, strict=True) if id(g) not in reached
        ]
        report.require(
            f"gradients of {what} reach every parameter, {name}",
            not missing,
            f"none for {', '.join(missing[:5])}",
            "every parameter takes part",
        )
        # One step in all leaves at once: float64 shows an error in any one of them. Each is so
        # short that few units with a kink, such as ReLU, cross it.
        length, allowed = _STEP, _SLOPE
        directions = [torch.randn(x.shape, generator=generator, dtype=x.dtype) for x in leaves]
        if backbone.on_lattice:
            length, allowed = _LATTICE_STEP, _LATTICE_SLOPE
            directions = [
                torch.zeros_like(x) if g is None else g
                for x, g in zip(leaves, gradients, strict=True)
            ]
        steps = [length * d / d.norm().clamp(min=1e-12) for d in directions]
        pairs = zip(gradients, steps, strict=True)
        slope = sum((g * step).sum().item() for g, step in pairs if g is not None)
        with torch.no_grad():
            _move(leaves, steps, 1.0)
            above = total().item()
            _move(leaves, steps, -2.0)
            below = total().item()
            _move(leaves, steps, 1.0)
        change = (above - below) / 2
        worst = abs(change - slope) / max(length, abs(change))
        report.measure(
            f"gradients of {what} against central differences, {name}",
            worst,
            allowed,
            "gradients are the slopes of the function, however they are computed",
        )
    backbone.eval()


def _move(leaves: Sequence[Tensor], steps: Sequence[Tensor], factor: float) -> None:
    for leaf, step in zip(leaves, steps, strict=True):
        leaf.add_(factor * step)


def _check_log_det(report: Report, backbone: InvertibleBackbone, name: str) -> None:
    features, condition = _inputs(backbone, 2)
    if not backbone.has_log_det:
        report.raises(
            f"no log-determinant, {name}",
            UsageError,
            lambda: backbone.forward_with_log_det(features, condition),
            "forward_with_log_det raises UsageError where has_log_det is False",
        )
        return
    with torch.no_grad():
        outputs, log_det = backbone.forward_with_log_det(features, condition)
        report.measure(
            f"outputs with and without log-determinant, {name}",
            difference(outputs, backbone(features, condition)),
            TOLERANCES[torch.float64].same,
            "forward_with_log_det gives the outputs of forward",
        )
        report.require(
            f"shape of the log-determinant, {name}",
            log_det.shape == (len(features),),
            tuple(log_det.shape),
            "one value a row, (B,)",
        )
        if backbone.on_lattice:
            report.require(
                f"log-determinant, {name}",
                not log_det.any(),
                f"values up to {log_det.abs().max():.1e}",
                "where on_lattice is True, the map permutes points and keeps volumes: all are 0",
            )
            return
        if backbone.width > _JACOBIAN_WIDTH:
            report.skip(
                f"log-determinant against that of the Jacobian, {name}",
                f"width {backbone.width} takes too long; give the check a narrower backbone",
            )
            return
        worst = 0.0
        for row in range(len(features)):
            jacobian = _jacobian(
                backbone, features[row], None if condition is None else condition[row]
            )
            exact = torch.linalg.slogdet(jacobian).logabsdet
            worst = max(worst, abs((log_det[row] - exact).item()) / max(1.0, abs(exact.item())))
    report.measure(
        f"log-determinant against that of the Jacobian, {name}",
        worst,
        _SLOPE,
        "the log of the absolute Jacobian determinant, row by row",
    )


def _jacobian(backbone: InvertibleBackbone, row: Tensor, condition: Tensor | None) -> Tensor:
    """Jacobian (F, F) at one row, by central differences in one batch."""
    steps = _STEP * torch.eye(len(row), dtype=row.dtype)
    batch = torch.cat([row + steps, row - steps])
    conditions = None if condition is None else condition.expand(len(batch), -1)
    above, below = backbone(batch, conditions).chunk(2)
    jacobian: Tensor = (above - below).T / (2 * _STEP)
    return jacobian
