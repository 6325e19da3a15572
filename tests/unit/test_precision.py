"""Encoders with products in 16 bits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nmrtk.checkpoint import load_model
from nmrtk.precision import ReducedLinear, ReducedSequential, as_read_by, reduce_products


def test_wide_layers_multiply_in_16_bits_and_the_last_one_does_not():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Sequential(nn.Linear(32, 16), nn.ReLU()), nn.Linear(16, 1))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    values = torch.randn(50, 32)
    exact = network[0](values)
    reduce_products(network)
    assert type(network[0][0]) is ReducedLinear
    assert type(network[1]) is nn.Linear
    reduced = network[0](values)
    assert reduced.dtype == torch.float32
    assert 1e-4 < (reduced - exact).abs().max() < 2e-2
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("rows", [0, 50, 256, 300])
def test_values_stay_in_16_bits_from_layer_to_layer(rows):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16)),
        nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16)),
    )
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    values = torch.randn(rows, 32)
    given, exact = values.clone(), network[0](values)
    reduce_products(network)
    assert [type(part) for part in network] == [ReducedSequential, nn.Sequential]
    reduced = network[0](values)
    assert torch.equal(values, given)
    assert (reduced.dtype, reduced.shape) == (torch.float32, exact.shape)
    assert not rows or 1e-4 < (reduced - exact).abs().max() < 2e-2
    assert list(network.state_dict()) == list(before)
    folded = network[0](values.reshape(-1, 2, 32))
    assert torch.equal(folded, reduced.reshape(-1, 2, 16))


def test_what_layers_read_is_brought_to_their_precision():
    layer, values = nn.Linear(8, 4), torch.randn(300, 8)
    reduced = ReducedLinear(layer)
    assert as_read_by([reduced, layer], values) is values
    narrow = as_read_by([reduced, reduced], values)
    assert narrow.dtype == torch.bfloat16
    assert torch.equal(reduced(narrow), reduced(values))


def test_layers_without_offset_and_values_of_any_shape():
    layer = nn.Linear(8, 4, bias=False)
    values = torch.eye(8)
    for shaped in (values, values.reshape(2, 4, 8), values[:0], values[0]):
        exact, reduced = layer(shaped), ReducedLinear(layer)(shaped)
        assert reduced.shape == exact.shape
        assert torch.allclose(reduced, exact, rtol=1e-2)


def test_only_the_encoder_of_a_model_is_reduced(model_file):
    def reduced(part):
        return [one for one in part.modules() if isinstance(one, ReducedLinear)]

    exact, fast = load_model(model_file).model, load_model(model_file, "bfloat16").model
    assert not reduced(exact)
    assert reduced(fast.encoder)
    assert not reduced(fast.backbone)
