from dataclasses import replace

import numpy as np
import pytest
import torch
from doubles import FewBins, small_model

from nmrtk.accuracy import evaluate_code
from nmrtk.cohort import make_cohort, run_forward
from nmrtk.competitors import bins_of, measure_baseline
from nmrtk.errors import PluginError, UsageError
from nmrtk.formula import VECTOR_WIDTH
from nmrtk.interfaces import Baseline, Example
from nmrtk.line_accuracy import ALL, LinePredictions, evaluate_lines
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Peak, Spectrum, spectrum_of_shifts
from nmrtk.testing.material import examples

CARBON = Nucleus.parse("13C")


def silent(done, total):
    pass


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
            peaks = self.known[id(molecule)].spectrum.peaks
            peaks = tuple(Peak(p.ppm + self.off, atoms=p.atoms, sigma=10.0) for p in peaks)
            spectra.append(Spectrum("13C", peaks + peaks[: self.lines_too_many]))
        return spectra


def cohort_of(model, some):
    return make_cohort(model, some, "test", silent)


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
    assert list(rows) == ["model", "chance", "bin-frequency"]


def test_lines_of_the_model_are_put_into_bins():
    model = small_model(VECTOR_WIDTH)
    some = examples(CARBON)
    forward = run_forward(model, cohort_of(model, some), silent)
    spectra = [Spectrum("13C", (Peak(20.0 + 50 * (i % 3)), Peak(199.0))) for i in range(len(some))]
    for row, spectrum in enumerate(spectra):
        forward.target[row] = torch.from_numpy(model.codec.encode(spectrum))
    section = evaluate_code(
        *(model.codec, 0.5, forward, np.ones((1, 4), bool), [], 0), spectra=spectra
    )
    assert section.rows[1].name == "model, its lines in bins"
    assert section.rows[1].at_half.micro_f1 == 1.0


def test_the_code_that_lines_imply_is_scored_at_its_own_threshold():
    model = small_model(VECTOR_WIDTH)
    cohort = cohort_of(model, examples(CARBON))
    bins = torch.from_numpy(bins_of(model.codec, cohort.examples))
    # Right about every bin, at an occupancy of 0.27 for those that hold a line.
    forward = replace(run_forward(model, cohort, silent), implied=torch.where(bins, -1.0, -9.0))
    bins = np.ones((1, 4), bool)
    section = evaluate_code(model.codec, 0.5, forward, bins, [], 0, implied_threshold=0.1)
    row = section.rows[1]
    assert row.name == "model, code of its lines"
    assert (row.at_half.micro_f1, row.tuned.micro_f1) == (0, 1)
    untuned = evaluate_code(model.codec, 0.5, forward, bins, [], 0).rows[1]
    assert untuned.tuned is None
    assert "model, code of its lines" in section.table().to_markdown()


def test_a_baseline_is_tuned_on_val_and_measured_on_the_cohort():
    model, some = small_model(VECTOR_WIDTH), examples(CARBON)
    val, cohort = cohort_of(model, some[:8]), cohort_of(model, some[8:])
    oracle = Oracle(FewBins(CARBON))
    oracle.off = 1.28
    competitor = measure_baseline("oracle", oracle, some, val, cohort, some[:2])
    assert competitor.learned_from == len(some)
    # On val every line is off by 1.28 ppm, so that its calibrated sigma is 1 ppm.
    for spectra in (competitor.spectra, competitor.assigned_spectra):
        assert [p.sigma for s in spectra for p in s.peaks] == pytest.approx(
            [1.0] * sum(len(s.peaks) for s in spectra)
        )
    assert len(competitor.assigned_spectra) == 2
    forward = run_forward(model, cohort, silent)
    bins = bins_of(model.codec, some)
    code = evaluate_code(model.codec, 0.5, forward, bins, [competitor], seed=0)
    assert code.rows[-1].at_half.micro_f1 == 0
    assert code.rows[-1].tuned.micro_f1 == 1
    assert "oracle" in code.table().to_markdown()
    predictions = [LinePredictions("oracle", competitor.spectra)]
    lines = evaluate_lines(CARBON, cohort.examples, predictions)
    assert {row.group: row.score.mae for row in lines.rows}[ALL] == pytest.approx(1.28)


def test_a_baseline_with_a_wrong_number_of_lines_is_named():
    model, some = small_model(VECTOR_WIDTH), examples(CARBON)
    oracle = Oracle(FewBins(CARBON))
    oracle.lines_too_many = 1
    with pytest.raises(PluginError, match="'oracle' predicts 7 lines for the 6 sites"):
        measure_baseline("oracle", oracle, some, cohort_of(model, some), cohort_of(model, some))


def test_molecules_that_the_model_cannot_represent_are_counted():
    model, some = small_model(VECTOR_WIDTH), examples(CARBON)[:3]
    heavy = Example("heavy", parse_smiles("C[Hg]C"), spectrum_of_shifts("13C", [20.0, 20.0]))
    cohort = cohort_of(model, [some[0], heavy, *some[1:]])
    assert [example.id for example in cohort.examples] == [example.id for example in some]
    assert cohort.left_out == 1
    assert cohort.first_reason == "heavy: element 80 is too heavy for this encoder"
    with pytest.raises(UsageError, match="none of the 1 molecules of the split 'test'"):
        cohort_of(model, [heavy])
