from __future__ import annotations

import pytest
import torch
from nmrtk_irevnet.exact import RANGE, RESOLUTIONS, ExactBackbone
from nmrtk_irevnet.flat import FlatBackbone
from torch import Tensor

from nmrtk.errors import ConfigurationError
from nmrtk.interfaces import InvertibleBackbone
from nmrtk.testing import check_invertible_backbone


def hostile(backbone: InvertibleBackbone, factor: float) -> InvertibleBackbone:
    """Weights of a normal distribution, so much larger than those of a trained model."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.copy_(factor * torch.randn(parameter.shape, generator=generator))
    return backbone


def points(rows: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Points of the lattice, all over it."""
    generator = torch.Generator().manual_seed(2)
    steps = int(2 * RANGE / RESOLUTIONS[dtype])
    numbers = torch.randint(steps, (rows, width), generator=generator) - steps // 2
    # In float64 before anything else: float32 would leave out most points of its lattice.
    return (numbers.double() * RESOLUTIONS[dtype]).to(dtype)


def test_contract() -> None:
    check_invertible_backbone(ExactBackbone)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("factor", [0.1, 3.0, 1e4, 1e30])
def test_round_trip_is_exact_whatever_the_weights(factor: float, dtype: torch.dtype) -> None:
    backbone = hostile(ExactBackbone(40, 8, 5, depth=24, hidden_dim=32), factor)
    values = points(64, 40, dtype)
    condition = torch.randn(64, 5, generator=torch.Generator().manual_seed(3), dtype=dtype)
    with torch.no_grad():
        outputs = backbone(values, condition)
        assert outputs.dtype == dtype
        assert not torch.equal(outputs, values)
        assert torch.equal(backbone.inverse(outputs, condition), values)
        assert torch.equal(backbone(backbone.inverse(values, condition), condition), values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("hidden_dim", [256, 4000])
def test_round_trip_is_exact_where_sums_are_as_large_as_they_get(
    hidden_dim: int, dtype: torch.dtype
) -> None:
    backbone = ExactBackbone(10, 2, 0, depth=3, hidden_dim=hidden_dim)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.fill_(100.0)
        values = points(64, 10, dtype)
        assert torch.equal(backbone.inverse(backbone(values)), values)


def test_points_reach_the_finest_digit() -> None:
    for dtype, resolution in RESOLUTIONS.items():
        odd = (points(64, 10, dtype).double() / resolution) % 2 == 1
        assert 0.4 < odd.double().mean() < 0.6


def test_additive_coupling_in_floating_point_loses_what_this_keeps() -> None:
    flat = hostile(FlatBackbone(40, 8, 0, depth=24, hidden_dim=32), 3.0)
    values = points(8, 40)
    with torch.no_grad():
        assert (flat.inverse(flat(values)) - values).abs().max() > 1.0


def test_batches_and_threads_do_not_matter() -> None:
    backbone = hostile(ExactBackbone(300, 20, 0, depth=6, hidden_dim=64), 2.0)
    values = points(33, 300)
    threads = torch.get_num_threads()
    with torch.no_grad():
        together = backbone(values)
        try:
            torch.set_num_threads(1)
            singly = torch.cat([backbone.inverse(row[None]) for row in together])
        finally:
            torch.set_num_threads(threads)
    assert torch.equal(singly, values)


def test_features_are_rounded_and_held_within_the_ends() -> None:
    backbone = ExactBackbone(4, 1, 0)
    features = torch.tensor([[0.1, 1e9, -1e9, 3.0]])
    outputs = backbone(features)
    assert (outputs[0, 0] - 0.1).abs() <= 2.0**-17
    assert outputs[0, 1:].tolist() == [RANGE - 2.0**-16, -RANGE, 3.0]


def test_gradients_are_those_of_the_smooth_map() -> None:
    torch.manual_seed(0)
    backbone = hostile(ExactBackbone(6, 2, 0, depth=2, hidden_dim=16), 0.3)
    features = points(5, 6) / 64
    features.requires_grad_()
    backbone(features).square().sum().backward()
    # Steps much longer than the lattice's, and nets that are linear nearly everywhere.
    step = 2.0**-6
    worst = 0.0
    with torch.no_grad():
        for column in range(6):
            change = torch.zeros(5, 6)
            change[:, column] = step
            above = backbone(features + change).square().sum(1)
            below = backbone(features - change).square().sum(1)
            slope = (above - below) / (2 * step)
            worst = max(worst, float((slope - features.grad[:, column]).abs().median()))
    assert worst < 0.05


def test_autocast_does_not_reach_it() -> None:
    backbone = hostile(ExactBackbone(10, 2, 0), 1.0)
    values = points(3, 10)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(backbone.inverse(backbone(values)), values)


def test_impossible_widths_and_types_are_named() -> None:
    with pytest.raises(ConfigurationError, match="sums of 5000 products are not exact"):
        ExactBackbone(10_000, 2, 0)
    with pytest.raises(ConfigurationError, match="made for float32 and float64"):
        ExactBackbone(4, 1, 0)(torch.zeros(1, 4, dtype=torch.bfloat16))
