import numpy as np
import pytest
import torch
from doubles import small_model

from nmrtk.batch import collate, prepare_examples
from nmrtk.calibration import COVERAGE, COVERAGE_SIGMAS
from nmrtk.formula import VECTOR_WIDTH
from nmrtk.interfaces import AtomLines, Example
from nmrtk.line_accuracy import ALL, INTERVALS, USUAL, LinePredictions, evaluate_lines
from nmrtk.line_errors import atom_errors, spectra_errors
from nmrtk.molecule import parse_smiles
from nmrtk.molecule_groups import MoleculeGroup
from nmrtk.nucleus import Nucleus
from nmrtk.scoring import score_lines
from nmrtk.spectrum import Peak, Spectrum, spectrum_of_shifts
from nmrtk.testing.material import examples

CARBON = Nucleus.parse("13C")
ETHANOL = parse_smiles("CCO")


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


def off_by(ppm, some, **options):
    return [shifted(e, [ppm] * len(e.spectrum.peaks), **options) for e in some]


def ethanol(*lines):
    """Ethanol with lines (ppm, letter, atom)."""
    peaks = tuple(Peak(ppm, multiplicity=letter, atoms=(atom,)) for ppm, letter, atom in lines)
    return Example("ethanol", ETHANOL, Spectrum("13C", peaks))


def test_lines_are_matched_as_in_training():
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
    ours = (batch.matched(lines)[0] - batch.line_shifts).numpy()
    assert spectra_errors(CARBON, some, spectra).errors == pytest.approx(ours, abs=1e-3)


def test_letters_that_do_not_fit_are_unknown():
    example = bare(examples(CARBON)[0])
    found = spectra_errors(CARBON, [example], [example.spectrum])
    assert set(found.letters.tolist()) == {"unknown"}


def test_incomplete_spectra_have_no_line_errors():
    part = Example("e", ETHANOL, spectrum_of_shifts("13C", [57.8]))
    found = spectra_errors(CARBON, [part], [spectrum_of_shifts("13C", [1, 2])])
    assert len(found) == len(found.letters) == 0


@pytest.mark.parametrize("atoms", [True, False])
def test_a_constant_error_is_found_in_every_multiplicity(atoms):
    some = examples(CARBON)
    found = spectra_errors(CARBON, some, off_by(2.0, some, atoms=atoms))
    assert found.errors == pytest.approx(2.0)
    assert found.sigmas is None
    assert set(found.letters) == set("SDTQ")
    assert np.bincount(found.molecules).tolist() == [len(e.spectrum.peaks) for e in some]


def test_three_ways_to_match_the_same_lines():
    """Predicted CH3 at 60 and CH2 at 20: as far off as can be, but good if nobody asks which."""
    observed = ethanol((18.0, "Q", 0), (58.0, "T", 1))
    predicted = ethanol((60.0, "Q", 0), (20.0, "T", 1)).spectrum
    by_atom = atom_errors(CARBON, [observed], [predicted])
    assert sorted(by_atom.errors) == [-38.0, 42.0]
    assert by_atom.letters.tolist() == ["Q", "T"]
    assert sorted(spectra_errors(CARBON, [observed], [predicted]).errors) == [-38.0, 42.0]
    merged = spectra_errors(CARBON, [observed], [predicted], within_multiplicity=False)
    assert merged.errors.tolist() == [2.0, 2.0]
    section = evaluate_lines(CARBON, [observed], [LinePredictions("model", [predicted])])
    row = next(row for row in section.rows if row.group == ALL)
    assert (row.score.mae, row.mae_over_molecule) == (40.0, 2.0)
    assert {row.mae_over_molecule for row in section.rows if row.group in "QT"} == {None}


def test_lines_of_partly_assigned_spectra_are_compared_at_their_atoms():
    peaks = (Peak(20.0), Peak(57.0, atoms=(1,)))
    part = Example("e", ETHANOL, Spectrum("13C", peaks))
    two = Example("p", parse_smiles("CC(C)O"), Spectrum("13C", (Peak(25.0, atoms=(0, 2)),)))
    predicted = [
        ethanol((18.0, "Q", 0), (58.0, "T", 1)).spectrum,
        Spectrum("13C", tuple(Peak(24.0 + i, atoms=(i,), sigma=1.0) for i in range(3))),
    ]
    found = atom_errors(CARBON, [part, two], predicted)
    assert found.errors.tolist() == [1.0, -1.0, 1.0]
    assert found.molecules.tolist() == [0, 1, 1]
    assert found.sigmas is None  # not every line has one
    assert len(atom_errors(CARBON, [part], [spectrum_of_shifts("13C", [1.0, 2.0])])) == 0


def test_assigned_lines_stand_beside_the_same_lines_sorted():
    some = examples(CARBON)
    observed = ethanol((18.0, "Q", 0), (58.0, "T", 1))
    swapped = ethanol((60.0, "Q", 0), (20.0, "T", 1)).spectrum
    part = Example("e", ETHANOL, Spectrum("13C", (Peak(57.0, atoms=(1,)),)))
    predictions = [LinePredictions("model", off_by(1.0, some), [swapped, observed.spectrum])]
    section = evaluate_lines(CARBON, some, predictions, [bare(observed), part])
    # Without assigned atoms the first spectrum has nothing to be compared with.
    assert [(row.molecules, row.score.mae) for row in section.atoms] == [(1, 1.0)]
    assert section.atoms[0].complete_mae is None
    section = evaluate_lines(CARBON, some, predictions, [observed, part])
    (row,) = section.atoms
    assert row.score.mae == pytest.approx((42 + 38 + 1) / 3)
    assert (row.complete_mae, row.complete_mae_sorted) == (40.0, 40.0)
    assert [table.title.split(",")[0] for table in section.tables()] == [
        "Lines: 18 complete spectra",
        "Lines at their true atoms",
        "Lines by kind of molecule",
    ]


def test_intervals_hold_their_share_of_laplace_errors():
    errors = np.random.default_rng(0).laplace(scale=2.0, size=40_000)
    sigma = np.quantile(np.abs(errors), COVERAGE) / COVERAGE_SIGMAS
    score = score_lines(errors, np.full(len(errors), sigma), INTERVALS)
    assert INTERVALS[COVERAGE] == pytest.approx(COVERAGE_SIGMAS)
    for share, covered in score.coverage.items():
        assert covered == pytest.approx(float(share), abs=0.01)


def test_the_least_certain_lines_are_left_out():
    rng = np.random.default_rng(0)
    some = examples(CARBON)
    spectra = []
    for example in some:
        sizes = rng.uniform(0.1, 5.0, len(example.spectrum.peaks))
        spectra.append(
            Spectrum(
                "13C",
                tuple(
                    Peak(peak.ppm + size, atoms=peak.atoms, sigma=size)
                    for peak, size in zip(example.spectrum.peaks, sizes, strict=True)
                ),
            )
        )
    honest = evaluate_lines(CARBON, some, [LinePredictions("model", spectra)]).certainty[0].mae
    assert list(honest) == ["0", "0.1", "0.2", "0.5"]
    assert honest["0"] > honest["0.1"] > honest["0.2"] > 1.3 * honest["0.5"]
    # Where all are equally sure, nothing is gained; without a sigma there is nothing to say.
    even = [LinePredictions("model", off_by(2.0, some, sigma=1.0))]
    even.append(LinePredictions("other", off_by(2.0, some)))
    section = evaluate_lines(CARBON, some, even)
    assert [row.name for row in section.certainty] == ["model"]
    assert list(section.certainty[0].mae.values()) == pytest.approx([2.0] * 4)
    scores = {row.name: row.score for row in section.rows if row.group == ALL}
    assert scores["other"].coverage is None
    assert set(scores["model"].coverage) == {"0.5", "0.8", "0.95"}


def test_groups_of_molecules_have_their_own_rows():
    some = examples(CARBON)
    giant = parse_smiles("C" * 37)
    large = Example("large", giant, spectrum_of_shifts("13C", range(37)))
    odd = Example("odd", parse_smiles("C[Se]C"), spectrum_of_shifts("13C", [1.0, 2.0]))
    every = [*some, large, odd]
    spectra = [*off_by(1.0, some), *off_by(3.0, [large, odd])]
    members = np.arange(len(every)) == len(some)
    groups = [MoleculeGroup("the large one", members), MoleculeGroup("none", members & ~members)]
    section = evaluate_lines(CARBON, every, [LinePredictions("model", spectra)], groups=groups)
    rows = {row.group: row for row in section.rows}
    assert rows[USUAL].molecules == len(some)
    assert rows[USUAL].score.mae == pytest.approx(1.0)
    assert rows[ALL].molecules == len(every)
    assert rows[ALL].score.mae > 1.0
    assert [row.group for row in section.rows] == [USUAL, ALL, *"SDTQ", "unknown"]
    (only,) = section.by_molecule
    assert (only.group, only.molecules, only.score.lines) == ("the large one", 1, 37)
    assert only.score.mae == pytest.approx(3.0)
    assert "the large one" in section.tables()[-1].to_markdown()


def test_no_lines_no_section():
    part = Example("p", ETHANOL, spectrum_of_shifts("13C", [57.8]))
    assert evaluate_lines(CARBON, examples(CARBON), []) is None
    predictions = [LinePredictions("model", [spectrum_of_shifts("13C", [1.0, 2.0])])]
    assert evaluate_lines(CARBON, [part], predictions) is None


def test_the_unit_of_the_codec_is_that_of_the_tables():
    some = examples(CARBON)
    predictions = [LinePredictions("model", off_by(0.15, some, sigma=0.1))]
    section = evaluate_lines(CARBON, some, predictions, unit=0.1)
    table = section.tables()[0]
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["MAE"] == "0.150"
    assert (row["≤ 0.1 ppm"], row["≤ 0.2 ppm"]) == ("0.0 %", "100.0 %")
