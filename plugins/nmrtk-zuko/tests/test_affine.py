from __future__ import annotations

import pytest
import torch
from nmrtk_zuko.affine import AffineBackbone

from nmrtk.errors import ConfigurationError, UsageError
from nmrtk.testing import check_invertible_backbone


def test_contract() -> None:
    check_invertible_backbone(AffineBackbone)


def test_stretches_differ_from_row_to_row_within_their_bound() -> None:
    torch.manual_seed(0)
    backbone = AffineBackbone(6, 2, 0, depth=1, hidden_dim=8, stretch=3.0)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.mul_(100.0).add_(torch.randn_like(parameter))
    features = torch.randn(50, 6)
    _, log_det = backbone.forward_with_log_det(features)
    assert log_det.std() > 0.1
    # Each feature is multiplied once.
    assert (log_det.abs() <= 6 * torch.tensor(3.0).log() + 1e-4).all()


@pytest.mark.parametrize(
    ("widths", "options", "error", "message"),
    [
        ((1, 0, 0), {}, ConfigurationError, "1 features cannot be split"),
        ((8, 9, 0), {}, ConfigurationError, "a code of 9 does not fit into 8 features"),
        ((8, 4, 0), {"depth": 0}, UsageError, "depth=0"),
        ((8, 4, 0), {"stretch": 1.0}, UsageError, "stretch=1.0 more than 1"),
    ],
)
def test_impossible_choices_are_named(
    widths: tuple[int, int, int], options: dict[str, float], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        AffineBackbone(*widths, **options)


def test_wrong_shapes_are_named() -> None:
    backbone = AffineBackbone(8, 4, 3)
    with pytest.raises(ConfigurationError, match=r"given \(2, 7\)"):
        backbone(torch.zeros(2, 7), torch.zeros(2, 3))
    with pytest.raises(ConfigurationError, match=r"given \(2, 8\) and \(2, 0\)"):
        backbone.inverse(torch.zeros(2, 8))
