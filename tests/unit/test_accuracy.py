import numpy as np
import pytest
import torch
from doubles import FewBins, small_model

from nmrtk.accuracy import INTERVALS, evaluate_code, evaluate_lines
from nmrtk.batch import collate, matching_groups, prepare_examples
from nmrtk.calibration import COVERAGE, COVERAGE_SIGMAS
from nmrtk.cohort import make_cohort, run_forward
from nmrtk.competitors import (
    Competitor,
    LineErrors,
    bins_of,
    matched_letters,
    measure_baseline,
    spectra_errors,
)
from nmrtk.errors import PluginError, UsageError
from nmrtk.formula import VECTOR_WIDTH
from nmrtk.interfaces import AtomLines, Baseline, Example
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.objective import matched_shifts
from nmrtk.scoring import score_lines
from nmrtk.spectrum import Peak, Spectrum, spectrum_of_shifts
from nmrtk.testing.material import examples

CARBON = Nucleus.parse("13C")


def silent(done, total):
    pass


def bare(example):
    """The same example without multiplicities."""
    return Example(example.id, example.molecule, spectrum_of_shifts("13C", example.spectrum.shifts))


def shifted(example, by, *, atoms=True, sigma=None):
    """A prediction that is off by `by` for every atom, in ppm."""
    peaks = tuple(
        Peak(peak.ppm + delta, atoms=peak.atoms if atoms else (), sigma=sigma)
        for peak, delta in zip(example.spectrum.peaks, by, strict=True)
    )
    return Spectrum("13C", peaks)


class Oracle(Baseline):
    """Knows the answers; off by a constant, in ppm."""

    predicts_lines = True
    off = 0.0
    lines_too_many = 0

    def fit(self, known):
        self.known = {id(example.molecule): example for example in known}

    def predict_occupancy(self, molecules):
        return bins_of(self.codec, [self.known[id(m)] for m in molecules]) * np.float32(0.3)

    def predict_spectra(self, molecules):
        spectra = []
        for molecule in molecules:
            example = self.known[id(molecule)]
            count = len(example.spectrum.peaks)
            one = shifted(example, [self.off] * count, sigma=10.0)
            spectra.append(Spectrum("13C", one.peaks + one.peaks[: self.lines_too_many]))
        return spectra


def cohort_of(model, some):
    return make_cohort(model, some, "test", silent)


def test_baselines_are_matched_as_the_model_is():
    rng = np.random.default_rng(0)
    some = examples(CARBON)
    some = [*some, *map(bare, some)]
    model = small_model(VECTOR_WIDTH)
    prepared, _ = prepare_examples(model, some)
    batch = collate(model, prepared)
    shift, spectra = [], []
    for example in some:
        sites = CARBON.sites(example.molecule)
        guess = rng.uniform(0, 200, len(sites))
        shift += guess.tolist()
        pairs = zip(guess, sites, strict=True)
        spectra.append(Spectrum("13C", tuple(Peak(float(p), atoms=(s,)) for p, s in pairs)))
    lines = AtomLines(torch.tensor(shift), torch.ones(len(shift)), torch.zeros(len(shift)))
    ours = (matched_shifts(lines, batch)[0] - batch.line_shifts).numpy()
    theirs = spectra_errors(CARBON, some, spectra)
    assert theirs.errors == pytest.approx(ours, abs=1e-3)
    assert theirs.letters.tolist() == matched_letters(CARBON, some).tolist()


def test_letters_stand_in_the_order_of_the_matched_lines():
    for example in examples(CARBON):
        _, shifts = matching_groups(example.molecule, example.spectrum, CARBON)
        letters = matched_letters(CARBON, [example])
        observed = {(round(p.ppm, 3), p.multiplicity) for p in example.spectrum.peaks}
        for ppm, letter in zip(shifts, letters, strict=True):
            assert (round(float(ppm), 3), letter) in observed


def test_letters_that_do_not_fit_are_unknown():
    ethanol = Example("e", parse_smiles("CCO"), Spectrum("13C", (Peak(18.2), Peak(57.8))))
    assert matched_letters(CARBON, [ethanol]).tolist() == ["unknown"] * 2
    assert spectra_errors(CARBON, [ethanol], [ethanol.spectrum]).letters.tolist() == ["unknown"] * 2


def test_incomplete_spectra_have_no_line_errors():
    part = Example("e", parse_smiles("CCO"), spectrum_of_shifts("13C", [57.8]))
    found = spectra_errors(CARBON, [part], [spectrum_of_shifts("13C", [1, 2])])
    assert len(found.errors) == len(found.letters) == len(matched_letters(CARBON, [part])) == 0


def test_intervals_hold_their_share_of_laplace_errors():
    errors = np.random.default_rng(0).laplace(scale=2.0, size=40_000)
    sigma = np.quantile(np.abs(errors), COVERAGE) / COVERAGE_SIGMAS
    score = score_lines(errors, np.full(len(errors), sigma), INTERVALS)
    assert INTERVALS[COVERAGE] == pytest.approx(COVERAGE_SIGMAS)
    for share, covered in score.coverage.items():
        assert covered == pytest.approx(float(share), abs=0.01)


def test_random_rows_score_what_their_frequencies_imply():
    model, rng = small_model(VECTOR_WIDTH), np.random.default_rng(1)
    some = examples(CARBON)
    forward = run_forward(model, cohort_of(model, some), silent)
    forward.target.copy_(torch.from_numpy(rng.random(forward.target.shape) < 0.3))
    bins = np.tile(np.array([True, False]), (4, 2))
    section = evaluate_code(model.codec, 0.5, forward, bins, [], seed=0)
    rows = {row.name: row for row in section.rows}
    assert section.occupied_share == pytest.approx(0.3, abs=0.1)
    # Half of the bins drawn: precision is the share that is occupied, recall a half.
    share = section.occupied_share
    assert rows["chance"].at_half.micro_f1 == pytest.approx(share / (share + 0.5), abs=0.06)
    # Two of four bins are never drawn.
    assert rows["bin-frequency"].at_half.macro_f1 < 0.5
    assert rows["chance"].tuned is None
    assert list(rows) == ["model", "model, its lines in bins", "chance", "bin-frequency"]


def test_lines_of_the_model_are_put_into_bins():
    model = small_model(VECTOR_WIDTH)
    some = examples(CARBON)
    forward = run_forward(model, cohort_of(model, some), silent)
    for row in range(len(some)):
        mine = forward.lines.site_molecules == row
        spectrum = spectrum_of_shifts("13C", forward.lines.site_shifts[mine])
        forward.target[row] = torch.from_numpy(model.codec.encode(spectrum))
    section = evaluate_code(model.codec, 0.5, forward, np.ones((1, 4), bool), [], seed=0)
    assert section.rows[1].at_half.micro_f1 == 1.0


@pytest.mark.parametrize("atoms", [True, False])
def test_a_constant_error_is_found_in_every_multiplicity(atoms):
    some = examples(CARBON)
    spectra = [shifted(e, [2.0] * len(e.spectrum.peaks), atoms=atoms) for e in some]
    found = spectra_errors(CARBON, some, spectra)
    assert found.errors == pytest.approx(2.0)
    assert found.sigmas is None
    assert set(found.letters) == set("SDTQ")


def test_a_baseline_is_tuned_on_val_and_measured_on_the_cohort():
    model, some = small_model(VECTOR_WIDTH), examples(CARBON)
    val, cohort = cohort_of(model, some[:8]), cohort_of(model, some[8:])
    oracle = Oracle(FewBins(CARBON))
    oracle.off = 1.28
    competitor = measure_baseline("oracle", oracle, some, val, cohort)
    assert competitor.learned_from == len(some)
    # On val every line is off by 1.28 ppm, so that its calibrated sigma is 1 ppm.
    assert competitor.lines.sigmas == pytest.approx(1.0)
    forward = run_forward(model, cohort, silent)
    code = evaluate_code(
        model.codec, 0.5, forward, bins_of(model.codec, some), [competitor], seed=0
    )
    assert code.rows[-1].at_half.micro_f1 == 0
    assert code.rows[-1].tuned.micro_f1 == 1
    lines = evaluate_lines(1.0, cohort, forward, CARBON, [competitor])
    rows = {(row.name, row.multiplicity): row.score for row in lines.rows}
    assert rows["oracle", "all"].mae == pytest.approx(1.28)
    assert rows["oracle", "all"].lines == rows["model", "all"].lines
    assert rows["oracle", "S"].lines == rows["model", "S"].lines > 0
    assert "oracle" in lines.table().to_markdown()
    assert "oracle" in code.table().to_markdown()


def test_a_baseline_with_a_wrong_number_of_lines_is_named():
    model, some = small_model(VECTOR_WIDTH), examples(CARBON)
    oracle = Oracle(FewBins(CARBON))
    oracle.lines_too_many = 1
    with pytest.raises(PluginError, match="'oracle' predicts 7 lines for the 6 sites"):
        measure_baseline("oracle", oracle, some, cohort_of(model, some), cohort_of(model, some))


def test_no_lines_no_section():
    model, some = small_model(VECTOR_WIDTH), [bare(examples(CARBON)[0])]
    cohort = cohort_of(model, some)
    forward = run_forward(model, cohort, silent)
    part = [Example("p", some[0].molecule, spectrum_of_shifts("13C", [128.4]))]
    assert evaluate_lines(1.0, cohort, forward, CARBON, []) is not None
    assert evaluate_lines(1.0, cohort_of(model, part), forward, CARBON, []) is None


def test_competitors_without_sigma_have_no_coverage():
    model, some = small_model(VECTOR_WIDTH), examples(CARBON)
    cohort = cohort_of(model, some)
    letters = matched_letters(CARBON, some)
    lines = LineErrors(np.ones(len(letters)), None, letters)
    other = Competitor("other", 1, np.zeros((len(some), 4)), 0.5, lines)
    section = evaluate_lines(1.0, cohort, run_forward(model, cohort, silent), CARBON, [other])
    scores = {row.name: row.score for row in section.rows if row.multiplicity == "all"}
    assert scores["other"].coverage is None
    assert set(scores["model"].coverage) == {"0.5", "0.8", "0.95"}


def test_molecules_that_the_model_cannot_represent_are_counted():
    model, some = small_model(VECTOR_WIDTH), examples(CARBON)[:3]
    heavy = Example("heavy", parse_smiles("C[Hg]C"), spectrum_of_shifts("13C", [20.0, 20.0]))
    cohort = cohort_of(model, [some[0], heavy, *some[1:]])
    assert [example.id for example in cohort.examples] == [example.id for example in some]
    assert cohort.left_out == 1
    assert cohort.first_reason == "heavy: element 80 is too heavy for this encoder"
    with pytest.raises(UsageError, match="none of the 1 molecules of the split 'test'"):
        cohort_of(model, [heavy])
