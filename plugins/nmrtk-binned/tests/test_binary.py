from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nmrtk_binned.binary import BinaryCodec
from nmrtk_binned.grid import AXES
from torch import Tensor

from nmrtk.errors import SpectrumError, UsageError
from nmrtk.interfaces import AtomLines
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Spectrum, spectrum_of_shifts
from nmrtk.testing import check_spectrum_codec

CARBON = Nucleus.parse("13C")
PHOSPHORUS = Nucleus.parse("31P")


def bits(codec: BinaryCodec, *shifts: float) -> list[int]:
    spectrum = spectrum_of_shifts(str(codec.nucleus), shifts)
    return np.flatnonzero(codec.encode(spectrum)).tolist()


def test_shifts_fall_into_the_seeds_bins() -> None:
    codec = BinaryCodec(CARBON)
    assert codec.width == codec.bin_count == 128
    assert bits(codec, 0.0, 1.59, 1.61, 128.5) == [0, 1, 80]
    assert bits(codec, -40.0, 293.0) == [0, 127]


def test_every_edge_belongs_to_the_bin_above() -> None:
    codec = BinaryCodec(CARBON)
    assert [bits(codec, round(1.6 * k, 1)) for k in range(128)] == [[k] for k in range(128)]


@given(st.lists(st.floats(-100.0, 300.0), min_size=1, max_size=30))
def test_bits_are_those_of_the_intervals(shifts: list[float]) -> None:
    codec = BinaryCodec(CARBON)
    found = set(bits(codec, *shifts))
    for ppm in shifts:
        index = min(max(int(ppm // 1.6), 0), 127)
        near_edge = abs(ppm / 1.6 - round(ppm / 1.6)) < 1e-5
        assert index in found or (near_edge and round(ppm / 1.6) in found)
    assert len(found) <= len(shifts)


@pytest.mark.parametrize("nucleus", AXES)
def test_every_nucleus_with_an_axis_has_bins_and_a_unit_of_its_own(nucleus: str) -> None:
    codec, axis = BinaryCodec(Nucleus.parse(nucleus)), AXES[nucleus]
    assert bits(codec, axis.start, axis.start + 127.5 * axis.bin_width) == [0, 127]
    assert codec.unit == axis.unit < axis.bin_width * 2


def test_an_axis_can_be_chosen() -> None:
    codec = BinaryCodec(PHOSPHORUS, start=-120.0, bin_width=3.0)
    assert bits(codec, -119.0, 0.5) == [0, 40]
    assert codec.unit == BinaryCodec(PHOSPHORUS).unit


def test_a_nucleus_without_an_axis_needs_one() -> None:
    selenium = Nucleus.parse("77Se")
    with pytest.raises(UsageError, match="lines of 77Se lie is not known: set start and bin_width"):
        BinaryCodec(selenium, start=-500.0)
    codec = BinaryCodec(selenium, start=-500.0, bin_width=20.0)
    assert bits(codec, -499.0, 100.0) == [0, 30]
    assert codec.unit == 20.0


@pytest.mark.parametrize("nucleus", ["1H", "19F", "31P"])
def test_the_contract_holds_for_other_nuclei(nucleus: str) -> None:
    axis = AXES[nucleus]
    places = [[3.2, 40.1, 40.1, 90.7], [10.3, 64.9, 100.2], [55.5], [20.1, 77.7]]
    spectra = [
        spectrum_of_shifts(nucleus, [axis.start + place * axis.bin_width for place in row])
        for row in places
    ]
    check_spectrum_codec(BinaryCodec, nucleus=nucleus, spectra=spectra)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bin_width": 0.0}, "bin_width is 0, it must be positive"),
        ({"bin_width": math.nan}, "bin_width is nan"),
        ({"start": math.inf}, "start is inf"),
        ({"bins": 1}, "bins is 1, at least 2"),
        ({"loss": "focal"}, "loss is 'focal', allowed are"),
        ({"positive_weight": -1.0}, "positive_weight is -1"),
        ({"logit_scale": 0.0}, "logit_scale is 0"),
        ({"logit_center": math.nan}, "logit_center is nan"),
        ({"levels": "guessed"}, "levels is 'guessed', allowed are 'measured' and 'bits'"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        BinaryCodec(CARBON, **options)


def test_foreign_and_empty_spectra_are_refused() -> None:
    codec = BinaryCodec(CARBON)
    with pytest.raises(SpectrumError, match="a 1H spectrum was given to a codec for 13C"):
        codec.encode(spectrum_of_shifts("1H", [7.26]))
    with pytest.raises(SpectrumError, match="has no lines"):
        codec.encode(Spectrum("13C", ()))


def test_distance_loss_weights_bins_by_their_nearest_line() -> None:
    codec = BinaryCodec(CARBON, bins=6, loss="distance")
    target = torch.tensor([[0.0, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]])
    code = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        code[0], target[0], reduction="none"
    )
    weight = torch.tensor([1 / 2, 1, 1 / 2, 1 / 3, 1 / 2, 1])
    loss = codec.loss(code, target)
    torch.testing.assert_close(loss[0], (weight * entropy).mean())
    assert loss[1] > 0  # a molecule without lines still counts


def test_plain_loss_is_the_mean_negative_log_likelihood() -> None:
    codec = BinaryCodec(CARBON, loss="plain", logit_scale=2.0, logit_center=0.3)
    generator = torch.Generator().manual_seed(0)
    code = torch.randn(5, 128, generator=generator)
    target = (torch.rand(5, 128, generator=generator) < 0.1).float()
    torch.testing.assert_close(codec.loss(code, target), -codec.log_likelihood(code, target) / 128)
    likelihood = torch.where(target > 0.5, codec.occupancy(code), 1 - codec.occupancy(code))
    torch.testing.assert_close(codec.log_likelihood(code, target), likelihood.log().sum(-1))


def test_positive_weight_multiplies_bins_with_a_line() -> None:
    target = torch.zeros(1, 128)
    target[0, 7] = 1
    code = torch.zeros(1, 128)
    one = BinaryCodec(CARBON, loss="plain").loss(code, target)
    three = BinaryCodec(CARBON, loss="plain", positive_weight=3.0).loss(code, target)
    torch.testing.assert_close(three - one, torch.tensor([2 * math.log(2) / 128]))


def test_log_likelihood_broadcasts() -> None:
    codec = BinaryCodec(CARBON)
    assert codec.log_likelihood(torch.zeros(4, 1, 128), torch.zeros(3, 128)).shape == (4, 3)


def test_embedded_bits_are_read_back() -> None:
    codec = BinaryCodec(CARBON, levels="bits")
    target = torch.zeros(1, 128)
    target[0, [3, 90]] = 1
    codec.fit_embedding(torch.randn(1, 128), target)
    assert torch.equal(codec.embed(target), target)


def test_embedded_codes_are_those_of_the_trained_model_on_average() -> None:
    codec = BinaryCodec(CARBON)
    target = torch.zeros(2, 128)
    target[:, [3, 90]] = 1
    code = torch.where(target > 0, 2.0, -6.0)
    code[:, [2, 4, 89, 91]] = torch.tensor([[-1.0], [-3.0]])
    codec.fit_embedding(code, target)
    embedded = codec.embed(target[:1])[0]
    assert embedded[[3, 90]].tolist() == [2.0, 2.0]
    assert embedded[[2, 4, 89, 91]].tolist() == [-2.0] * 4
    assert embedded[[0, 1, 50, 127]].tolist() == [-6.0] * 4


def embedding_codec() -> BinaryCodec:
    codec = BinaryCodec(CARBON)
    target = torch.zeros(1, 128)
    target[0, 64] = 1
    codec.fit_embedding(12 * target - 8, target)
    return codec


@settings(max_examples=50)
@given(st.sets(st.integers(0, 127), min_size=1, max_size=20), st.integers(0, 30))
def test_decoded_lines_lie_in_occupied_bins(occupied: set[int], count: int) -> None:
    codec = embedding_codec()
    target = torch.zeros(1, 128)
    target[0, list(occupied)] = 1
    (spectrum,) = codec.decode(codec.embed(target), [count])
    assert len(spectrum.peaks) == count
    if count:
        found = set(np.flatnonzero(codec.encode(spectrum)).tolist())
        assert found <= occupied
        assert len(found) == min(count, len(occupied))


def test_lines_left_over_repeat_the_most_certain_bin() -> None:
    codec = BinaryCodec(CARBON)
    code = torch.full((1, 128), -9.0)
    code[0, [10, 20, 30]] = torch.tensor([3.0, 1.0, -1.0])
    (spectrum,) = codec.decode(code, [3])
    assert spectrum.shifts == pytest.approx([16.8, 16.8, 32.8])


def test_sigma_grows_with_what_is_likely_nearby() -> None:
    codec = BinaryCodec(CARBON)
    code = torch.full((2, 128), -30.0)
    code[:, 50] = 5.0
    code[1, [48, 52]] = 1.0
    sharp, vague = codec.decode(code, [1, 1])
    assert sharp.peaks[0].sigma == pytest.approx(1.6 / math.sqrt(12), rel=1e-4)
    assert vague.peaks[0].sigma > 1.6


def naive_occupancy(lines: AtomLines, batch_size: int, codec: BinaryCodec) -> Tensor:
    """The definition, one line and one bin at a time in float64."""

    def cumulative(ppm: float, center: float, scale: float) -> float:
        t = (ppm - center) / scale
        return 0.5 * math.exp(t) if t < 0 else 1 - 0.5 * math.exp(-t)

    miss = torch.ones(batch_size, codec.bins, dtype=torch.float64)
    for center, scale, row in zip(
        lines.shift.tolist(), lines.scale.tolist(), lines.molecule.tolist(), strict=True
    ):
        for k in range(codec.bins):
            low = codec.start + k * codec.bin_width
            below = cumulative(low, center, scale) if k else 0.0
            high = low + codec.bin_width
            above = cumulative(high, center, scale) if k < codec.bins - 1 else 1.0
            miss[row, k] *= 1 - (above - below)
    return 1e-4 + (1 - 2e-4) * (1 - miss)


def some_lines(dtype: torch.dtype) -> AtomLines:
    generator = torch.Generator().manual_seed(1)
    shift = torch.cat([torch.rand(9, generator=generator) * 200, torch.tensor([-30.0, 250.0, 4.8])])
    scale = 10 ** (torch.rand(12, generator=generator) * 2.5 - 1)
    molecule = torch.tensor([0, 0, 0, 1, 1, 1, 1, 3, 3, 3, 3, 3])
    return AtomLines(shift.to(dtype), scale.to(dtype), molecule)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_expected_code_has_the_occupancy_of_the_lines(dtype: torch.dtype) -> None:
    codec = BinaryCodec(CARBON, logit_scale=0.5, logit_center=-2.0)
    lines = some_lines(dtype)
    occupancy = codec.occupancy(codec.expected(lines, 4))
    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
    naive = naive_occupancy(lines, 4, codec)
    torch.testing.assert_close(occupancy.double(), naive, atol=tolerance, rtol=1e-4)
    torch.testing.assert_close(occupancy[2], torch.full((128,), 1e-4, dtype=dtype))


def test_expected_is_differentiable() -> None:
    codec = BinaryCodec(CARBON, bins=16)
    generator = torch.Generator().manual_seed(2)
    shift = (torch.rand(5, generator=generator, dtype=torch.float64) * 25).requires_grad_()
    scale = (0.3 + torch.rand(5, generator=generator, dtype=torch.float64)).requires_grad_()
    molecule = torch.tensor([0, 0, 0, 1, 1])

    def code(shift: Tensor, scale: Tensor) -> Tensor:
        return codec.expected(AtomLines(shift, scale, molecule), 2)

    assert torch.autograd.gradcheck(code, (shift, scale))


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0, 1e3])
def test_extreme_lines_keep_code_and_gradients_finite(scale: float) -> None:
    codec = BinaryCodec(CARBON)
    shift = torch.tensor([-1e4, 0.0, 1.6, 100.0, 204.8, 1e4], requires_grad=True)
    width = torch.full((6,), scale, requires_grad=True)
    code = codec.expected(AtomLines(shift, width, torch.zeros(6, dtype=torch.int64)), 1)
    code.sum().backward()
    assert code.abs().max() <= math.log((1 - 1e-4) / 1e-4) + 1e-3
    assert torch.isfinite(shift.grad).all()
    assert torch.isfinite(width.grad).all()


def test_learning_shifts_from_bits_moves_lines_into_their_bins() -> None:
    codec = BinaryCodec(CARBON, loss="plain")
    target = torch.from_numpy(codec.encode(spectrum_of_shifts("13C", [20.0, 130.0])))[None]
    shift = torch.tensor([26.0, 123.0], requires_grad=True)
    optimizer = torch.optim.Adam([shift], lr=0.5)
    for _ in range(60):
        optimizer.zero_grad()
        lines = AtomLines(shift, torch.full((2,), 2.0), torch.zeros(2, dtype=torch.int64))
        codec.loss(codec.expected(lines, 1), target).sum().backward()
        optimizer.step()
    assert bits(codec, *shift.tolist()) == bits(codec, 20.0, 130.0)


def test_contract() -> None:
    check_spectrum_codec(BinaryCodec)
