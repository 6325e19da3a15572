from __future__ import annotations

import pytest
import torch
from nmrtk_irevnet.stages import CouplingBlock, Squeeze, StagedBackbone
from torch import Tensor

from nmrtk.errors import ConfigurationError, UsageError
from nmrtk.testing import check_invertible_backbone


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def perturbed(backbone: torch.nn.Module, scale: float) -> None:
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += scale * torch.randn(parameter.shape)


def test_contract() -> None:
    check_invertible_backbone(
        lambda width, code, condition: StagedBackbone(width, code, condition, blocks="1,1,1,1,1"),
        width=1024,
    )


@pytest.mark.parametrize("scale", [0.0, 0.02])
def test_float32_round_trip_in_both_orders(scale: float) -> None:
    backbone = StagedBackbone(1024, 128, 0)
    perturbed(backbone, scale)
    bits = (torch.rand(8, 1024) < 0.02).float()
    with torch.no_grad():
        assert (backbone.inverse(backbone(bits)) - bits).abs().max() < 1e-5
        outputs = torch.randn(8, 1024)
        assert (backbone(backbone.inverse(outputs)) - outputs).abs().max() < 1e-5
        assert (backbone(bits) - bits).abs().max() > 0.1


def test_stages_have_the_seeds_blocks_and_channels() -> None:
    layers = StagedBackbone(1024, 128, 0).layers
    halves = [layer.first[0].in_channels for layer in layers if isinstance(layer, CouplingBlock)]
    assert halves == [2] * 2 + [8] * 2 + [32] * 4 + [128] * 6 + [512] * 8
    assert sum(isinstance(layer, Squeeze) for layer in layers) == 4


@pytest.mark.parametrize("side", [1, 2, 4])
def test_block_keeps_volumes(side: int) -> None:
    block = CouplingBlock(2, 8, side).double()
    perturbed(block, 0.3)
    pixels = 4 * side * side

    def flat(x: Tensor) -> Tensor:
        return block(x.reshape(1, 4, side, side)).flatten()

    jacobian = torch.autograd.functional.jacobian(flat, torch.randn(pixels, dtype=torch.float64))
    sign, log_det = torch.linalg.slogdet(jacobian)
    assert sign == 1
    assert abs(log_det) < 1e-10
    assert (jacobian - torch.eye(pixels)).abs().max() > 0.1


def test_log_det_is_that_of_the_whole_jacobian() -> None:
    backbone = StagedBackbone(1024, 128, 0, blocks="1,1,1,1,1", hidden_dim=8).double()
    features = torch.randn(1024, dtype=torch.float64)
    _, log_det = backbone.forward_with_log_det(features[None])
    jacobian = torch.autograd.functional.jacobian(
        lambda x: backbone(x[None])[0], features, vectorize=True
    )
    assert log_det.tolist() == [0.0]
    assert abs(torch.linalg.slogdet(jacobian)[1]) < 1e-8


@pytest.mark.parametrize(
    ("widths", "options", "error", "message"),
    [
        ((512, 128, 0), {}, ConfigurationError, "512 features given, but its stages are made for"),
        ((1024, 2000, 0), {}, ConfigurationError, "a code of 2000 does not fit"),
        ((1024, 128, 14), {}, ConfigurationError, "takes no condition, given one of width 14"),
        ((1024, 128, 0), {"blocks": "2,2,x"}, UsageError, "blocks is '2,2,x', write five numbers"),
        ((1024, 128, 0), {"blocks": "2,2"}, UsageError, "five numbers are needed"),
        ((1024, 128, 0), {"blocks": "0,0,0,0,0"}, UsageError, "one of them above 0"),
        ((1024, 128, 0), {"hidden_dim": 0}, UsageError, "hidden_dim is 0"),
    ],
)
def test_impossible_choices_are_named(
    widths: tuple[int, int, int], options: dict[str, str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        StagedBackbone(*widths, **options)


def test_wrong_shapes_are_named() -> None:
    backbone = StagedBackbone(1024, 128, 0, blocks="1,0,0,0,0")
    with pytest.raises(ConfigurationError, match=r"made for \(B, 1024\), given \(2, 100\)"):
        backbone(torch.zeros(2, 100))
    with pytest.raises(ConfigurationError, match=r"takes no condition, given one of shape"):
        backbone.inverse(torch.zeros(2, 1024), torch.zeros(2, 3))
