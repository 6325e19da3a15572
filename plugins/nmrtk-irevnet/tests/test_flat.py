from __future__ import annotations

import pytest
import torch
from nmrtk_irevnet.flat import FlatBackbone
from torch import Tensor

from nmrtk.errors import ConfigurationError, UsageError
from nmrtk.testing import check_invertible_backbone

CONDITION = 3


def perturbed(backbone: FlatBackbone, scale: float = 0.3) -> FlatBackbone:
    """Give every parameter a value as training would, the same in every call."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator)
    return backbone


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("width", [2, 7, 64])
def test_untrained_is_the_identity(width: int) -> None:
    backbone = FlatBackbone(width, 1, CONDITION)
    features, condition = random(4, width), random(4, CONDITION)
    assert torch.equal(backbone(features, condition), features)
    assert torch.equal(backbone.inverse(features, condition), features)


@pytest.mark.parametrize("magnitude", [1.0, 100.0])
@pytest.mark.parametrize("width", [2, 33, 256])
def test_float32_round_trip_in_both_orders(width: int, magnitude: float) -> None:
    backbone = perturbed(FlatBackbone(width, width // 2, CONDITION, hidden_dim=32), 0.1)
    values, condition = magnitude * random(16, width), random(16, CONDITION)
    with torch.no_grad():
        forth = backbone.inverse(backbone(values, condition), condition)
        back = backbone(backbone.inverse(values, condition), condition)
    assert (backbone(values, condition) - values).abs().max() > 0.1
    for error in (forth - values, back - values):
        assert error.abs().max() < 2e-6 * magnitude * 8


def test_outputs_depend_on_the_condition_and_on_no_other_row() -> None:
    backbone = perturbed(FlatBackbone(10, 4, CONDITION))
    features, condition = random(5, 10), random(5, CONDITION)
    outputs = backbone(features, condition)
    torch.testing.assert_close(backbone(features[2:3], condition[2:3])[0], outputs[2])
    assert (backbone(features, condition + 1) - outputs).abs().max() > 1e-3


@pytest.mark.parametrize("free_scaling", [True, False])
@pytest.mark.parametrize("width", [2, 9])
def test_log_det_is_that_of_the_jacobian(width: int, free_scaling: bool) -> None:
    backbone = FlatBackbone(width, 1, CONDITION, depth=3, hidden_dim=16, free_scaling=free_scaling)
    perturbed(backbone.double(), 0.5)
    features = random(3, width, dtype=torch.float64)
    condition = random(3, CONDITION, dtype=torch.float64)
    outputs, log_det = backbone.forward_with_log_det(features, condition)
    assert torch.equal(outputs, backbone(features, condition))
    for row in range(3):
        jacobian = torch.autograd.functional.jacobian(
            lambda x, row=row: backbone(x[None], condition[row : row + 1])[0], features[row]
        )
        torch.testing.assert_close(log_det[row], torch.linalg.slogdet(jacobian)[1])
    assert (log_det.abs() > 0.1).all() == free_scaling


def gradients(
    recompute: bool, dtype: torch.dtype, direction: str, depth: int = 6
) -> dict[str, Tensor]:
    torch.manual_seed(0)
    backbone = FlatBackbone(11, 4, CONDITION, depth=depth, hidden_dim=16, recompute=recompute).to(
        dtype
    )
    perturbed(backbone, 0.2)
    values = random(8, 11, dtype=dtype).requires_grad_()
    condition = random(8, CONDITION, dtype=dtype).requires_grad_()
    outputs = getattr(backbone, direction)(values, condition)
    (outputs.square() * random(8, 11, dtype=dtype, seed=1)).sum().backward()
    found = {name: p.grad for name, p in backbone.named_parameters()}
    found |= {"values": values.grad, "condition": condition.grad, "outputs": outputs.detach()}
    assert all(g is not None for g in found.values())
    return found


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float64, 1e-10), (torch.float32, 2e-4)])
def test_recomputed_gradients_are_those_of_autograd(
    dtype: torch.dtype, allowed: float, direction: str
) -> None:
    plain = gradients(False, dtype, direction)
    recomputed = gradients(True, dtype, direction)
    assert torch.equal(plain.pop("outputs"), recomputed.pop("outputs"))
    for name, expected in plain.items():
        assert expected.abs().max() > 0, name
        error = (recomputed[name] - expected).abs().max() / expected.abs().max()
        assert error < allowed, name


def test_gradients_hold_at_128_blocks_in_float32() -> None:
    plain = gradients(False, torch.float32, "forward", depth=128)
    recomputed = gradients(True, torch.float32, "forward", depth=128)
    worst = max(float((recomputed[n] - g).abs().max() / g.abs().max()) for n, g in plain.items())
    assert worst < 5e-3


def test_recomputing_saves_nothing_that_grows_with_depth() -> None:
    def saved_bytes(depth: int, recompute: bool) -> int:
        backbone = FlatBackbone(32, 8, 0, depth=depth, hidden_dim=16, recompute=recompute)
        own = {p.data_ptr() for p in backbone.parameters()}
        saved: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            if tensor.data_ptr() not in own and tensor.is_floating_point():
                saved[tensor.data_ptr()] = tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            outputs = backbone(random(64, 32).requires_grad_())
        assert outputs.requires_grad
        return sum(saved.values())

    assert saved_bytes(32, True) == saved_bytes(4, True)
    assert saved_bytes(32, False) > 6 * saved_bytes(4, False)


def test_frozen_parameters_and_absent_condition_gradients() -> None:
    backbone = perturbed(FlatBackbone(6, 2, CONDITION, depth=2))
    frozen = backbone.nets[0].requires_grad_(False)
    backbone(random(4, 6), random(4, CONDITION)).sum().backward()
    assert all(p.grad is None for p in frozen.parameters())
    assert all(p.grad is not None for p in backbone.nets[1].parameters())


def test_hooks_see_every_gradient_once() -> None:
    # Data-parallel training sends a gradient when the hook of its parameter fires.
    backbone = perturbed(FlatBackbone(6, 2, 0, depth=3))
    fired: list[str] = []
    for name, parameter in backbone.named_parameters():
        parameter.register_post_accumulate_grad_hook(lambda _, name=name: fired.append(name))
    backbone(random(4, 6)).sum().backward()
    assert sorted(fired) == sorted(name for name, _ in backbone.named_parameters())


def test_nothing_is_recorded_without_gradients() -> None:
    with torch.no_grad():
        assert not perturbed(FlatBackbone(6, 2, 0))(random(4, 6)).requires_grad


def test_changing_weights_before_the_backward_pass_is_an_error() -> None:
    backbone = perturbed(FlatBackbone(6, 2, 0))
    loss = backbone(random(4, 6)).sum()
    with torch.no_grad():
        backbone.nets[0].last.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_autocast_keeps_the_round_trip_and_the_gradients() -> None:
    def run(recompute: bool) -> list[Tensor]:
        torch.manual_seed(0)
        backbone = perturbed(FlatBackbone(12, 4, 0, depth=4, recompute=recompute), 0.1)
        features = random(8, 12)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = backbone(features)
            restored = backbone.inverse(outputs)
        assert outputs.dtype == torch.float32
        assert (restored - features).abs().max() < 1e-5
        outputs.square().sum().backward()
        return [p.grad for p in backbone.parameters()]

    for expected, found in zip(run(False), run(True), strict=True):
        assert (found - expected).abs().max() < 0.02 * expected.abs().max()


def test_state_restores_the_map() -> None:
    first = perturbed(FlatBackbone(9, 3, 0))
    second = FlatBackbone(9, 3, 0)
    second.order.zero_()
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(random(4, 9)), second(random(4, 9)))


def test_scaling_reaches_the_free_part_only_and_is_bounded() -> None:
    backbone = FlatBackbone(5, 2, 0)
    with torch.no_grad():
        backbone.raw_log_scale.fill_(1e3)
    outputs = backbone(torch.ones(1, 5))
    torch.testing.assert_close(outputs, torch.tensor([[1.0, 1, *[148.4132] * 3]]))


@pytest.mark.parametrize(
    ("widths", "options", "error", "message"),
    [
        ((1, 0, 0), {}, ConfigurationError, "1 features cannot be split"),
        ((8, 9, 0), {}, ConfigurationError, "a code of 9 does not fit into 8 features"),
        ((8, 4, 0), {"depth": 0}, UsageError, "depth is 0, it must be at least 1"),
        ((8, 4, 0), {"hidden_dim": -1}, UsageError, "hidden_dim is -1"),
    ],
)
def test_impossible_choices_are_named(
    widths: tuple[int, int, int], options: dict[str, int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        FlatBackbone(*widths, **options)


def test_wrong_shapes_are_named() -> None:
    backbone = FlatBackbone(8, 4, CONDITION)
    with pytest.raises(ConfigurationError, match=r"made for \(B, 8\), given \(2, 7\)"):
        backbone(torch.zeros(2, 7), torch.zeros(2, CONDITION))
    with pytest.raises(ConfigurationError, match=r"condition of shape \(2, 3\), given none"):
        backbone.inverse(torch.zeros(2, 8))
    with pytest.raises(ConfigurationError, match=r"shape \(2, 3\), given \(1, 3\)"):
        backbone(torch.zeros(2, 8), torch.zeros(1, CONDITION))


def test_contract() -> None:
    check_invertible_backbone(FlatBackbone)
