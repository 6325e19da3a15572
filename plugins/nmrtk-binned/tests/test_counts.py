from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nmrtk_binned.binary import BinaryCodec
from nmrtk_binned.counts import CountsCodec
from torch import Tensor
from torch.nn import functional

from nmrtk.errors import SpectrumError, UsageError
from nmrtk.interfaces import AtomLines
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Spectrum, spectrum_of_shifts
from nmrtk.testing import check_spectrum_codec

CARBON = Nucleus.parse("13C")
PHOSPHORUS = Nucleus.parse("31P")
SHIFTS = st.lists(st.floats(-100.0, 300.0), min_size=1, max_size=30)
INNER_SHIFTS = st.lists(st.floats(-6.0, 223.0), min_size=1, max_size=30)


def target_of(codec: CountsCodec, *shifts: float) -> Tensor:
    return torch.from_numpy(codec.encode(spectrum_of_shifts(str(codec.nucleus), shifts)))[None]


def knots(codec: CountsCodec) -> Tensor:
    return codec.first_knot + codec.spacing * torch.arange(codec.width, dtype=torch.float64)


def test_knots_are_edges_and_centres_of_bins() -> None:
    codec = CountsCodec(CARBON)
    assert (codec.width, codec.bin_count) == (2 * (4 + 128 + 12), 128)
    ppm = knots(codec)
    assert ppm[[0, 8, 9, 10, -1]].tolist() == pytest.approx([-6.4, 0.0, 0.8, 1.6, 223.2])


def test_equivalent_atoms_count() -> None:
    codec = CountsCodec(CARBON, below=0, above=0)
    target = target_of(codec, 1.0, *[128.6] * 6)[0]
    assert target[[1, 2]].tolist() == pytest.approx([0.75, 0.25], abs=1e-4)
    assert target[[160, 161]].tolist() == pytest.approx([1.5, 4.5], abs=1e-4)
    assert target.sum() == pytest.approx(7.0)


@given(INNER_SHIFTS)
def test_counts_keep_number_and_place(shifts: list[float]) -> None:
    codec = CountsCodec(CARBON)
    target = target_of(codec, *shifts)[0].double()
    assert target.min() >= 0
    assert float(target.sum()) == pytest.approx(len(shifts), rel=1e-5)
    mean = float((target * knots(codec)).sum() / target.sum())
    assert mean == pytest.approx(np.mean(shifts), abs=0.8e-3 + 1e-4)


@given(SHIFTS)
def test_occupied_bins_are_those_of_the_binary_codec(shifts: list[float]) -> None:
    counts, binary = CountsCodec(CARBON), BinaryCodec(CARBON)
    spectrum = spectrum_of_shifts("13C", shifts)
    bits = binary.occupied(torch.from_numpy(binary.encode(spectrum))[None])
    assert torch.equal(counts.occupied(target_of(counts, *shifts)), bits)


def test_every_edge_belongs_to_the_bin_above() -> None:
    codec = CountsCodec(CARBON)
    for k in range(128):
        occupied = codec.occupied(target_of(codec, round(1.6 * k, 1)))[0]
        assert occupied.nonzero().flatten().tolist() == [k]


def test_other_nuclei_have_axes_of_their_own() -> None:
    with pytest.raises(UsageError, match="counts-128: where the lines of 77Se lie is not known"):
        CountsCodec(Nucleus.parse("77Se"))
    codec = CountsCodec(PHOSPHORUS)
    assert codec.occupied(target_of(codec, -254.0, 0.5))[0].nonzero().flatten().tolist() == [0, 64]
    codec = CountsCodec(PHOSPHORUS, start=-120.0, bin_width=3.0, below=0, above=0)
    assert codec.occupied(target_of(codec, -119.0, 0.5))[0].nonzero().flatten().tolist() == [0, 40]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bin_width": -1.0}, "counts-128: bin_width is -1, it must be positive"),
        ({"start": math.inf}, "counts-128: start is inf"),
        ({"bins": 1}, "counts-128: bins is 1, at least 2"),
        ({"below": -1}, "counts-128: below is -1, it must be 0 or more"),
        ({"above": -3}, "counts-128: above is -3"),
        ({"count_spread": 0.0}, "counts-128: count_spread is 0, it must be positive"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CountsCodec(CARBON, **options)


def test_foreign_and_empty_spectra_are_refused() -> None:
    codec = CountsCodec(CARBON)
    with pytest.raises(SpectrumError, match="a 1H spectrum was given to a codec for 13C"):
        codec.encode(spectrum_of_shifts("1H", [7.26]))
    with pytest.raises(SpectrumError, match="has no lines"):
        codec.encode(Spectrum("13C", ()))


def test_log_likelihood_is_its_definition() -> None:
    codec = CountsCodec(CARBON, count_spread=0.8)
    generator = torch.Generator().manual_seed(0)
    code = 4 * torch.randn(codec.width, generator=generator, dtype=torch.float64)
    target = target_of(codec, 14.1, 22.7, 22.7, 128.4)[0].double()
    rate = np.log1p(np.exp(code.numpy()))
    places = sum(
        share * math.log(value / rate.sum())
        for share, value in zip(target.tolist(), rate, strict=True)
    )
    number = -abs(rate.sum() - 4) / 0.8 - math.log(1.6)
    found = codec.log_likelihood(code, target)
    assert float(found) == pytest.approx(places + number, abs=1e-5)
    assert float(codec.loss(code[None], target[None])) == pytest.approx(-float(found) / codec.width)


def test_log_likelihood_broadcasts() -> None:
    codec = CountsCodec(CARBON)
    code, target = torch.randn(4, 1, codec.width), target_of(codec, 1.0, 50.0).expand(3, -1)
    assert codec.log_likelihood(code, target).shape == (4, 3)


@pytest.mark.parametrize("level", [-1e3, -90.0, -15.0, 0.0, 1e3])
def test_extreme_codes_keep_loss_and_gradients_finite(level: float) -> None:
    codec = CountsCodec(CARBON)
    code = torch.full((1, codec.width), level, requires_grad=True)
    loss = codec.loss(code, target_of(codec, 20.0, 130.0))
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(code.grad).all()
    assert code.grad.abs().max() > 0


def test_loss_is_differentiated_well_for_small_codes_too() -> None:
    codec = CountsCodec(CARBON, bins=8, below=0, above=0)
    generator = torch.Generator().manual_seed(3)
    code = 12 * torch.randn(2, codec.width, generator=generator, dtype=torch.float64) - 8
    target = target_of(codec, 2.0, 7.1).expand(2, -1).double()
    assert torch.autograd.gradcheck(lambda c: codec.loss(c, target), (code.requires_grad_(),))


def naive_counts(lines: AtomLines, batch_size: int, codec: CountsCodec) -> Tensor:
    """Mean counts by numerical integration, one line at a time in float64."""
    ppm = knots(codec)
    counts = torch.zeros(batch_size, codec.width, dtype=torch.float64)
    quantile = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    unit = torch.where(quantile < 0.5, (2 * quantile).log(), -(2 - 2 * quantile).log())
    for shift, scale, row in zip(
        lines.shift.tolist(), lines.scale.tolist(), lines.molecule.tolist(), strict=True
    ):
        place = ((shift + scale * unit - ppm[0]) / codec.spacing).clamp(0, codec.width - 1)
        left = place.floor().clamp(max=codec.width - 2).long()
        weight = 1 / len(unit)
        counts[row].index_add_(0, left, weight * (left + 1 - place))
        counts[row].index_add_(0, left + 1, weight * (place - left))
    return counts + 1e-4


def some_lines(dtype: torch.dtype) -> AtomLines:
    generator = torch.Generator().manual_seed(1)
    shift = torch.cat([torch.rand(9, generator=generator) * 200, torch.tensor([-30.0, 250.0, 4.8])])
    scale = 10 ** (torch.rand(12, generator=generator) * 2.5 - 1)
    molecule = torch.tensor([0, 0, 0, 1, 1, 1, 1, 3, 3, 3, 3, 3])
    return AtomLines(shift.to(dtype), scale.to(dtype), molecule)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_expected_code_has_the_mean_counts_of_the_lines(dtype: torch.dtype) -> None:
    codec = CountsCodec(CARBON)
    lines = some_lines(dtype)
    code = codec.expected(lines, 4)
    assert code.dtype == dtype
    counts = functional.softplus(code)
    naive = naive_counts(lines, 4, codec)
    torch.testing.assert_close(counts.double(), naive, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(counts[2], torch.full((codec.width,), 1e-4, dtype=dtype))


@given(INNER_SHIFTS)
def test_expected_code_of_sharp_lines_is_that_of_their_target(shifts: list[float]) -> None:
    codec = CountsCodec(CARBON)
    molecule = torch.zeros(len(shifts), dtype=torch.int64)
    lines = AtomLines(torch.tensor(shifts), torch.full((len(shifts),), 1e-3), molecule)
    counts = functional.softplus(codec.expected(lines, 1))
    torch.testing.assert_close(counts, target_of(codec, *shifts) + 1e-4, atol=0.08, rtol=1e-3)


def test_expected_is_differentiable() -> None:
    codec = CountsCodec(CARBON, bins=8, below=1, above=1)
    generator = torch.Generator().manual_seed(2)
    shift = (torch.rand(5, generator=generator, dtype=torch.float64) * 12).requires_grad_()
    scale = (0.3 + torch.rand(5, generator=generator, dtype=torch.float64)).requires_grad_()
    molecule = torch.tensor([0, 0, 0, 1, 1])

    def code(shift: Tensor, scale: Tensor) -> Tensor:
        return codec.expected(AtomLines(shift, scale, molecule), 2)

    assert torch.autograd.gradcheck(code, (shift, scale))


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0, 1e3])
def test_extreme_lines_keep_code_and_gradients_finite(scale: float) -> None:
    codec = CountsCodec(CARBON)
    shift = torch.tensor([-1e4, 0.0, 1.6, 100.0, 204.8, 1e4], requires_grad=True)
    width = torch.full((6,), scale, requires_grad=True)
    code = codec.expected(AtomLines(shift, width, torch.zeros(6, dtype=torch.int64)), 1)
    code.sum().backward()
    assert torch.isfinite(code).all()
    assert code.min() > math.log(1e-4) - 1e-3
    assert torch.isfinite(shift.grad).all()
    assert torch.isfinite(width.grad).all()


def test_log_likelihood_of_a_line_is_nearly_that_of_the_laplace_distribution() -> None:
    codec = CountsCodec(CARBON)
    lines = AtomLines(torch.tensor([101.3]), torch.tensor([1.0]), torch.tensor([0]))
    code = codec.expected(lines, 1)
    gaps = [1.0, 1.3, 2.0, 4.0]
    near, *rest = [float(codec.log_likelihood(code, target_of(codec, 101.3 + g))) for g in gaps]
    assert [near - one for one in rest] == pytest.approx([0.3, 1.0, 3.0], abs=0.05)


@settings(max_examples=50)
@given(INNER_SHIFTS)
def test_lines_of_an_embedded_target_are_read_back(shifts: list[float]) -> None:
    codec = CountsCodec(CARBON)
    (spectrum,) = codec.decode(codec.embed(target_of(codec, *shifts)), [len(shifts)])
    errors = np.abs(np.subtract(spectrum.shifts, sorted(shifts)))
    # The floor of all knots together takes little of the counts, but moves every line a little.
    assert errors.mean() < 1.6
    assert all(peak.sigma is not None and peak.sigma > 0.2 for peak in spectrum.peaks)


def test_a_lone_line_is_read_back_where_it_was() -> None:
    codec = CountsCodec(CARBON)
    for ppm in (10.0, 101.3, 218.9):
        (spectrum,) = codec.decode(codec.embed(target_of(codec, ppm)), [1])
        assert spectrum.shifts == pytest.approx([ppm], abs=0.15)


def test_decoded_counts_are_those_asked_for() -> None:
    codec = CountsCodec(CARBON)
    code = torch.randn(3, codec.width)
    assert [len(s.peaks) for s in codec.decode(code, [0, 1, 300])] == [0, 1, 300]


def test_sigma_grows_with_the_scale_of_the_lines() -> None:
    codec = CountsCodec(CARBON)
    lines = AtomLines(
        torch.full((3,), 100.0), torch.tensor([0.5, 2.0, 8.0]), torch.tensor([0, 1, 2])
    )
    found = [s.peaks[0].sigma for s in codec.decode(codec.expected(lines, 3), [1, 1, 1])]
    # 80 % of a Laplace distribution lie within 1.61 scales, those of a sigma within 1.28; the
    # least counts of all knots add to the tails.
    assert found[1:] == pytest.approx([2.0 * 1.61 / 1.28, 8.0 * 1.61 / 1.28], rel=0.15)
    assert found[0] < found[1]


def test_embedded_codes_become_those_of_the_trained_model() -> None:
    codec = CountsCodec(CARBON)
    generator = torch.Generator().manual_seed(4)
    size, count = 60, 12
    shift = torch.rand(size, count, generator=generator) * 200
    molecule = torch.arange(size).repeat_interleave(count)
    error = torch.distributions.Laplace(0.0, 1.5)
    torch.manual_seed(4)
    observed = shift + error.sample((size, count))
    lines = AtomLines(shift.flatten(), torch.full((size * count,), 1.5), molecule)
    code = codec.expected(lines, size)
    target = torch.cat([target_of(codec, *row.tolist()) for row in observed])
    before = (codec.embed(target) - code).square().mean()
    codec.fit_embedding(code, target)
    after = (codec.embed(target) - code).square().mean()
    spread = (code - code.mean(0)).square().mean()
    assert after < 0.4 * before
    assert after < 0.4 * spread
    found = codec.decode(code, [count] * size)
    shifts = np.array([s.shifts for s in found])
    sigmas = np.array([[peak.sigma for peak in s.peaks] for s in found])
    inside = np.abs(shifts - observed.sort(1).values.numpy()) <= 1.28 * sigmas
    assert inside.mean() == pytest.approx(0.8, abs=0.05)


def test_occupancy_of_sharp_lines_is_in_their_bins() -> None:
    codec = CountsCodec(CARBON)
    code = codec.embed(target_of(codec, -3.0, 20.0, 20.0, 130.4, 215.0))
    occupancy = codec.occupancy(code)[0]
    assert set(occupancy.topk(4).indices.tolist()) == {0, 12, 81, 127}


@pytest.mark.parametrize("below", [0, 3])
def test_occupancy_holds_all_that_is_counted(below: int) -> None:
    codec = CountsCodec(CARBON, below=below, above=below, bins=6)
    code = torch.randn(2, codec.width, dtype=torch.float64)
    rates = -torch.log1p(-codec.occupancy(code))
    torch.testing.assert_close(rates.sum(-1), functional.softplus(code).sum(-1))


def test_learning_shifts_from_counts_finds_the_lines() -> None:
    codec = CountsCodec(CARBON)
    target = target_of(codec, 20.0, 130.3)
    shift = torch.tensor([26.0, 123.0], requires_grad=True)
    optimizer = torch.optim.Adam([shift], lr=0.5)
    for _ in range(80):
        optimizer.zero_grad()
        lines = AtomLines(shift, torch.full((2,), 1.0), torch.zeros(2, dtype=torch.int64))
        codec.loss(codec.expected(lines, 1), target).sum().backward()
        optimizer.step()
    assert shift.tolist() == pytest.approx([20.0, 130.3], abs=0.4)


def test_contract() -> None:
    check_spectrum_codec(CountsCodec)
