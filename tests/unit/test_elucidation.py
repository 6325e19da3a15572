import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from doubles import small_model
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from nmrtk.candidates import CandidatePool
from nmrtk.checkpoint import Calibration, LoadedModel
from nmrtk.elucidation import (
    Inversion,
    Query,
    _parts,
    elucidate,
    elucidation_row,
    matched_mae,
)
from nmrtk.errors import SpectrumError, UsageError
from nmrtk.formula import VECTOR_WIDTH, Formula
from nmrtk.interfaces import CandidateGenerator, Encoded
from nmrtk.library import Library, build_library
from nmrtk.line_score import LineScore, hydrogen_counts
from nmrtk.molecule import canonical_smiles, parse_smiles
from nmrtk.recipe import Recipe
from nmrtk.rows import StructureRow
from nmrtk.score_settings import ScoreSettings
from nmrtk.spectrum import Peak, Spectrum, spectrum_of_shifts
from nmrtk.substructure import parse_smarts

ETHANOL = spectrum_of_shifts("13C", [57.8, 18.1])
C2H6O = Formula.parse("C2H6O")


class Listed(CandidateGenerator):
    """Proposes what it was given."""

    def __init__(self, *smiles):
        self.smiles = smiles
        self.queries = []

    def generate(self, query, inversion):
        self.queries.append(query)
        return (parse_smiles(text) for text in self.smiles)


class Needy(CandidateGenerator):
    def generate(self, query, inversion):
        raise UsageError("needs more")
        yield


@pytest.fixture(scope="module")
def loaded():
    model = small_model(VECTOR_WIDTH).eval()
    return LoadedModel(model, Recipe(), Calibration(temperature=2.0), {}, Path("double"))


@pytest.fixture(scope="module")
def lineless():
    """A model that predicts no lines, so that the code judges."""
    model = small_model(VECTOR_WIDTH).eval()
    model.encoder.predicts_lines = False
    forward = model.encoder.forward
    model.encoder.forward = lambda batch: Encoded(forward(batch).features)
    return LoadedModel(model, Recipe(), Calibration(temperature=2.0), {}, Path("double"))


@pytest.fixture(scope="module")
def carbon(loaded):
    """Where the model predicts every carbon."""
    return float(loaded.model.predict([parse_smiles("C")]).lines.shift[0])


def test_candidates_are_unique_of_the_formula_and_ranked(loaded):
    query = Query("a", ETHANOL, C2H6O)
    generators = {"x": Listed("CCO", "OCC", "CO", "COC"), "y": Listed("CCO", "C[C@H](F)Cl")}
    result = elucidate(loaded, query, generators)
    assert sorted(candidate.smiles for candidate in result.candidates) == ["CCO", "COC"]
    assert {candidate.source for candidate in result.candidates} == {"x"}
    probabilities = [candidate.probability for candidate in result.candidates]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) + result.none_of_these == pytest.approx(1)


def test_scores_are_those_of_the_lines(loaded, tmp_path):
    molecules = ["CCO", "CCN", "CC(=O)C", "c1ccccc1"]
    rows = [StructureRow("", text, text) for text in molecules]
    build_library(loaded, rows, tmp_path / "a.h5")
    with Library(tmp_path / "a.h5", loaded) as library:
        query = Query("a", ETHANOL, library=library)
        result = elucidate(loaded, query, {"x": Listed(*molecules)})
    found = [parse_smiles(c.smiles) for c in result.candidates]
    lines = loaded.model.predict(found).lines
    score = LineScore(ETHANOL, ScoreSettings())
    scores = score.score(lines, hydrogen_counts(loaded.model.nucleus, found))
    ratios = np.diff([math.log(c.probability) for c in result.candidates])
    np.testing.assert_allclose(ratios, np.diff(scores) / ScoreSettings().temperature, atol=1e-4)


def test_open_configurations_are_scored_as_stereoisomers_too(loaded, monkeypatch):
    scores = {"CC=CC": -10.0, "C/C=C/C": -2.0, "C/C=C\\C": -20.0, "C=CCC": -5.0}

    def likelihoods(pool, prediction, molecules):
        return np.array([scores[canonical_smiles(one, stereo=True)] for one in molecules])

    monkeypatch.setattr(CandidatePool, "_likelihoods", likelihoods)
    query = Query("a", ETHANOL, Formula.parse("C4H8"))
    result = elucidate(loaded, query, {"x": Listed("CC=CC", "C=CCC")})
    found = {c.smiles: math.log(c.probability) for c in result.candidates}
    temperature = ScoreSettings().temperature
    expected = np.log(
        0.5 * np.exp(-10 / temperature)
        + 0.25 * np.exp(-2 / temperature)
        + 0.25 * np.exp(-20 / temperature)
    )
    assert found["CC=CC"] - found["C=CCC"] == pytest.approx(expected + 5 / temperature)


def test_code_and_free_part_count_by_their_weights(loaded):
    molecules = ["CCO", "COC"]
    query = Query("a", ETHANOL)

    def ratio(**weights):
        calibration = Calibration(score=ScoreSettings(temperature=1.0, **weights))
        weighted = replace(loaded, calibration=calibration)
        result = elucidate(weighted, query, {"x": Listed(*molecules)})
        found = {c.smiles: math.log(c.probability) for c in result.candidates}
        return found["CCO"] - found["COC"]

    model = loaded.model
    prediction = model.predict([parse_smiles(text) for text in molecules])
    target = torch.from_numpy(model.codec.encode(ETHANOL)).expand(2, -1)
    code = model.codec.log_likelihood(prediction.code, target)
    free = -0.5 * prediction.free.square().sum(1)
    assert ratio(code_weight=0.5) - ratio() == pytest.approx(
        0.5 * float(code[0] - code[1]), abs=1e-3
    )
    assert ratio(free_weight=0.1) - ratio() == pytest.approx(
        0.1 * float(free[0] - free[1]), abs=1e-3
    )


def test_what_a_generator_knows_of_structures_counts_by_its_weight(loaded):
    class Knowing(Listed):
        def log_priors(self, molecules, inversion):
            known = {"CCCO": -1.0, "CCOC": -3.0}
            return np.array([known.get(Chem.MolToSmiles(one), math.nan) for one in molecules])

    def logs(generator, **weights):
        calibration = Calibration(score=ScoreSettings(temperature=1.0, **weights))
        result = elucidate(replace(loaded, calibration=calibration), Query("a", ETHANOL), generator)
        found = {c.smiles: math.log(c.probability) for c in result.candidates}
        return found["CCCO"] - found["CCOC"], found["CCOC"] - found["CC(C)O"]

    texts = ["CCCO", "CCOC", "CC(C)O"]
    plain = logs({"x": Listed(*texts)}, structure_weight=0.5)
    informed = logs({"x": Listed(*texts), "y": Knowing(*texts)}, structure_weight=0.5)
    assert informed[0] - plain[0] == pytest.approx(1.0, abs=1e-4)
    # What it cannot tell of is no likelier than the least likely.
    assert informed[1] == pytest.approx(plain[1], abs=1e-4)
    assert logs({"y": Knowing(*texts)}) == pytest.approx(plain, abs=1e-6)


def test_structures_are_weighed_among_their_isomers_and_known_compounds_not_at_all(loaded):
    class Library(Listed):
        invents = False

    def logs(generator, **weights):
        calibration = Calibration(score=ScoreSettings(temperature=1.0, **weights))
        result = elucidate(replace(loaded, calibration=calibration), Query("a", ETHANOL), generator)
        return {c.smiles: math.log(c.probability) for c in result.candidates}

    def changes(generator):
        plain, weighed = logs(generator), logs(generator, free_weight=0.1)
        return {smiles: weighed[smiles] - plain[smiles] for smiles in plain}

    texts = ["CCO", "COC", "CCN"]
    assert all(abs(change) < 1e-6 for change in changes({"x": Library(*texts)}).values())
    invented = changes({"x": Listed(*texts)})
    free = loaded.model.predict([parse_smiles(text) for text in texts]).free.square().sum(1)
    assert invented["CCO"] - invented["COC"] == pytest.approx(
        -0.05 * float(free[0] - free[1]), abs=1e-3
    )
    # The only one of its formula and the likeliest of another have the same prior.
    assert invented["CCN"] == pytest.approx(max(invented["CCO"], invented["COC"]), abs=1e-6)
    known = changes({"x": Library("CCS"), "y": Listed(*texts)})
    assert known["CCS"] == pytest.approx(known["CCN"], abs=1e-6)


def test_a_search_misses_less_than_a_library(loaded):
    class Library(Listed):
        invents = False

    def odds(*generators):
        calibration = Calibration(score=ScoreSettings(none_made_up=-2.0))
        named = {str(place): one for place, one in enumerate(generators)}
        result = elucidate(replace(loaded, calibration=calibration), Query("a", ETHANOL), named)
        return result.coverage.made_up, math.log(
            result.none_of_these / result.candidates[0].probability
        )

    (known, looked_up), (made_up, searched) = odds(Library("CCO")), odds(Listed("CCO"))
    assert (known, made_up) == (False, True)
    assert searched - looked_up == pytest.approx(-2.0, abs=1e-4)
    # A search that finds nothing but what the library holds was a search too.
    assert odds(Library("CCO"), Listed("CCO")) == (True, pytest.approx(searched))


def test_what_few_attempts_came_upon_leaves_more_for_none(loaded):
    class Library(Listed):
        invents = False

    class Trying(Listed):
        shares: ClassVar = {"CCO": 0.25, "COC": 0.5}

        def generate(self, query, inversion):
            for molecule in super().generate(query, inversion):
                self.last = Chem.MolToSmiles(molecule)
                yield molecule

        def recurrence(self):
            return self.shares.get(self.last)

    def odds(*generators):
        calibration = Calibration(score=ScoreSettings(none_recurrence=2.0))
        named = {str(place): one for place, one in enumerate(generators)}
        result = elucidate(replace(loaded, calibration=calibration), Query("a", ETHANOL), named)
        first = result.candidates[0]
        return result.coverage.recurrence, math.log(result.none_of_these / first.probability)

    (one, plain), (share, tried) = odds(Listed("CCO")), odds(Trying("CCO"))
    assert (one, share) == (1.0, 0.25)
    assert tried - plain == pytest.approx(2 * math.log(4), abs=1e-4)
    # Whoever proposed it first.
    assert odds(Listed("CCO"), Trying("CCO")) == (share, pytest.approx(tried))
    first = elucidate(loaded, Query("a", ETHANOL), {"x": Listed("CCO", "COC")}).candidates[0].smiles
    other = {"CCO": "COC", "COC": "CCO"}[first]
    # A better one that no attempt came upon.
    assert odds(Listed(first), Trying(other))[0] == Trying.shares[other]
    assert odds(Library(first), Trying(other))[0] == 1.0
    assert odds(Listed("CCO"), Trying())[0] == 1.0


def test_without_lines_scores_are_those_of_the_code(lineless):
    query = Query("a", ETHANOL)
    molecules = ["CCO", "CCN", "CC(=O)C", "c1ccccc1"]
    result = elucidate(lineless, query, {"x": Listed(*molecules)})
    model = lineless.model
    target = torch.from_numpy(model.codec.encode(ETHANOL))
    code = model.predict([parse_smiles(c.smiles) for c in result.candidates]).code
    with torch.no_grad():
        scores = model.codec.log_likelihood(code, target.expand_as(code))
    ratios = np.diff([math.log(c.probability) for c in result.candidates])
    np.testing.assert_allclose(ratios, np.diff(scores.numpy()) / 2.0, atol=1e-4)


def test_without_formula_structures_with_too_few_atoms_are_left_out(loaded):
    result = elucidate(loaded, Query("a", ETHANOL), {"x": Listed("C", "CO", "CCO", "CCC")})
    assert {candidate.smiles for candidate in result.candidates} == {"CCO", "CCC"}


def test_stereo_is_kept_but_does_not_make_a_candidate_new(loaded):
    result = elucidate(loaded, Query("a", ETHANOL), {"x": Listed("C[C@H](F)Cl", "C[C@@H](F)Cl")})
    assert result.candidates[0].spectrum.shifts
    assert [candidate.smiles for candidate in result.candidates] == ["C[C@H](F)Cl"]


def test_nothing_found_is_said(loaded):
    result = elucidate(loaded, Query("a", ETHANOL), {"x": Listed()})
    assert (result.candidates, result.none_of_these) == ((), 1.0)
    row = elucidation_row(Query("a", ETHANOL), result)
    assert row["candidates"] == []
    assert "no candidate was found" in row["notes"]


def test_rows_are_as_documented(loaded, carbon):
    query = Query("a", spectrum_of_shifts("13C", [carbon]), C2H6O, top=1)
    row = elucidation_row(query, elucidate(loaded, query, {"x": Listed("CCO", "COC")}))
    assert list(row) == ["id", "candidates", "none_of_these", "seconds"]
    (candidate,) = row["candidates"]
    assert list(candidate) == ["rank", "smiles", "probability", "mae_ppm", "source"]
    assert candidate["rank"] == 1
    json.dumps(row, allow_nan=False)


def test_the_same_twice(loaded):
    generators = {"x": Listed("CCO", "CCN", "CCC")}
    first, second = (elucidate(loaded, Query("a", ETHANOL), generators) for _ in range(2))
    assert first.candidates == second.candidates


@pytest.mark.parametrize(
    ("shifts", "formula", "message"),
    [
        ([], None, "empty"),
        ([1.0], "H2O", "H2O has no C, so it gives no 13C line"),
        ([1.0, 2.0, 3.0], "C2H6O", "3 distinct lines, but C2H6O has only 2 C"),
        ([1.0, 2.0, 3.0, 77.1], "C2H6O", r"4 distinct lines \(some may be of CDCl3\), but"),
        (
            [5000.0],
            None,
            "no 13C line lies at 5000 ppm .allowed: -300 to 450.: write shifts",
        ),
        (list(range(201)), None, "201 distinct lines, too many"),
    ],
)
def test_impossible_queries(shifts, formula, message):
    known = Formula.parse(formula) if formula else None
    with pytest.raises(SpectrumError, match=message):
        Query("a", spectrum_of_shifts("13C", shifts), known)


def test_repeated_lines_are_equivalent_atoms():
    query = Query("a", spectrum_of_shifts("13C", [128.5] * 6), Formula.parse("C6H6"))
    assert query.line_count == 1


def test_notes_say_what_is_odd(loaded):
    peaks = (
        Peak(18.1, multiplicity="Q"),
        Peak(18.1, multiplicity="Q"),
        Peak(57.8, multiplicity="T"),
    )
    query = Query("a", Spectrum("13C", peaks), Formula.parse("C2H4O"))
    notes = elucidate(loaded, query, {"x": Listed("CC=O", "C1CO1")}).notes
    assert "3 lines for 2 C: repeated shifts were taken as one" in notes
    assert "the multiplicities need at least 5 hydrogens, but C2H4O has 4" in notes
    assert "none of the candidates shown has the multiplicities given" in notes


def test_candidates_that_the_model_cannot_represent_are_counted(loaded):
    notes = elucidate(loaded, Query("a", ETHANOL), {"x": Listed("CCO", "CC[Og]")}).notes
    assert any("1 candidates left out" in note and "too heavy" in note for note in notes)


def test_generators_that_cannot_serve(loaded):
    both = {"needy": Needy(), "x": Listed("CCO")}
    query = Query("a", ETHANOL)
    with pytest.raises(UsageError, match="needs more"):
        elucidate(loaded, query, both)
    assert len(elucidate(loaded, query, both, require_all=False).candidates) == 1
    with pytest.raises(UsageError, match="nothing can propose candidates: needy: needs more"):
        elucidate(loaded, query, {"needy": Needy()}, require_all=False)


def test_generators_share_the_time(loaded):
    generators = {"x": Listed("CCO"), "y": Listed("CCC")}
    start = time.monotonic()
    elucidate(loaded, Query("a", ETHANOL, seconds=1000.0), generators)
    assert all(len(g.queries) == 1 for g in generators.values())
    first, second = (g.queries[0].deadline - start for g in generators.values())
    assert 500 <= first <= 600
    assert 1000 <= second <= 1100


def test_an_endless_generator_is_ended(loaded):
    class Endless(CandidateGenerator):
        def generate(self, query, inversion):
            while True:
                yield parse_smiles("CCO")

    result = elucidate(loaded, Query("a", ETHANOL, seconds=0.05), {"x": Endless()})
    assert [candidate.smiles for candidate in result.candidates] == ["CCO"]


def test_left_out_entries_of_a_library_weigh_on_none_of_these(loaded, lineless, tmp_path):
    smiles = ["CCO", "CCC", "CCN", "CCF"]
    calibration = Calibration(score=ScoreSettings(none_per_candidate=1.0))
    for model in (lineless, replace(loaded, calibration=calibration)):
        rows = (StructureRow("", text, text) for text in smiles)
        build_library(model, rows, tmp_path / "a.h5")
        with Library(tmp_path / "a.h5", model) as library:
            few = elucidate(model, Query("a", ETHANOL, C2H6O), {"x": Listed("CCO")})
            query = Query("a", ETHANOL, library=library)
            more = elucidate(model, query, {"x": Listed("CCO")})
            odds = [r.none_of_these / r.candidates[0].probability for r in (few, more)]
            assert odds[1] / odds[0] == pytest.approx(4)
            query = Query("a", ETHANOL, Formula.parse("C9H8O4"), library)
            notes = elucidate(model, query, {"x": Listed()}).notes
            assert "the library has no structure of formula C9H8O4" in notes


def test_what_a_compound_contains_and_lacks_is_kept_to(loaded):
    query = Query("a", ETHANOL, contains=(parse_smarts("[OH]"),), lacks=(parse_smarts("C=C"),))
    result = elucidate(loaded, query, {"x": Listed("CCO", "COC", "C=CO")})
    assert [candidate.smiles for candidate in result.candidates] == ["CCO"]
    assert "2 candidates left out for what the compound contains or lacks" in result.notes


def test_the_mass_is_kept_to(loaded):
    result = elucidate(loaded, Query("a", ETHANOL, mass=46.0419), {"x": Listed("CCO", "CCN")})
    assert [candidate.smiles for candidate in result.candidates] == ["CCO"]
    with pytest.raises(UsageError, match="mass 5 is outside 12 to 5000"):
        Query("a", ETHANOL, mass=5)
    with pytest.raises(UsageError, match="mass tolerance 0 ppm"):
        Query("a", ETHANOL, mass=46.0, mass_tolerance_ppm=0)


class Formulaic(Listed):
    needs_formula = True


def test_unknown_formulas_are_searched_by_their_probability(loaded):
    generator = Formulaic("CCO", "CC")
    result = elucidate(loaded, Query("a", ETHANOL, seconds=100.0), {"x": generator})
    formulas = [query.formula for query in generator.queries]
    assert formulas == list(result.formulas)[: len(formulas)]
    assert len(set(formulas)) == len(formulas) > 3
    assert "the formula is unknown" in " ".join(result.notes)
    assert {c.smiles for c in result.candidates} == {"CCO", "CC"}
    # What is not of these formulas is none of these.
    searched = sum(result.formulas[formula] for formula in formulas)
    assert 1 - searched <= result.none_of_these <= 1
    found = {Formula.of_molecule(parse_smiles(c.smiles)) for c in result.candidates}
    least = min(result.formulas.values())
    share = sum(result.formulas.get(formula, least) for formula in found)
    assert sum(c.probability for c in result.candidates) <= share
    total = sum(c.probability for c in result.candidates) + result.none_of_these
    assert total == pytest.approx(1.0)
    by_mass = Formulaic("CCO")
    elucidate(loaded, Query("a", ETHANOL, mass=46.0419), {"x": by_mass})
    assert [query.formula for query in by_mass.queries] == [C2H6O]
    with pytest.raises(UsageError, match="no molecular formula fits the lines and the mass"):
        elucidate(loaded, Query("a", ETHANOL, mass=46.3), {"x": Formulaic("CCO")})


def test_time_is_shared_among_formulas():
    start = time.monotonic()
    formulas = {C2H6O: 0.3, Formula.parse("C2H4O"): 0.1}
    query = Query("a", ETHANOL, deadline=start + 100)
    first, second = _parts(query, Formulaic(), formulas)
    assert first.deadline - start == pytest.approx(75, abs=1)
    assert second.deadline - start == pytest.approx(100, abs=1)


def test_lines_that_fit_nowhere_are_told(loaded, carbon):
    shifts = [carbon, 77.1]
    query = Query("a", Spectrum("13C", tuple(Peak(p) for p in shifts), solvent="CDCl3"), C2H6O)
    result = elucidate(loaded, query, {"x": Listed("CCO", "COC")})
    assert "the line at 77.1 ppm may be the solvent's: CDCl3 has one there" in result.notes
    first = result.candidates[0].match
    assert first.line_of_site == (1, 1)
    assert first.extra == (0,)
    assert any("belongs to no atom of the first: CDCl3" in note for note in result.notes)


def test_inversions_have_the_code_of_the_spectrum(loaded):
    model = loaded.model
    target = torch.from_numpy(model.codec.encode(ETHANOL))
    features = Inversion(model, target, {C2H6O: 1.0}, seed=3).sample(5)
    condition = torch.from_numpy(C2H6O.vector()).expand(5, -1)
    with torch.no_grad():
        outputs = model.backbone(features, condition)
    code = model.codec.embed(target)
    assert torch.allclose(outputs[:, : len(code)], code.expand(5, -1), atol=1e-4)
    free = outputs[:, len(code) :]
    assert free.std() > 0.3
    again = Inversion(model, target, {C2H6O: 1.0}, seed=3).sample(5)
    assert torch.equal(features, again)
    other = Inversion(model, target, {C2H6O: 1.0}, seed=4).sample(5)
    assert not torch.allclose(features, other)


def test_inversions_draw_formulas_by_weight(loaded):
    model = loaded.model
    target = torch.from_numpy(model.codec.encode(ETHANOL))
    formulas = {C2H6O: 1.0, Formula.parse("C60H60"): 0.0}
    certain = Inversion(model, target, {C2H6O: 1.0}, seed=0)
    weighted = Inversion(model, target, formulas, seed=0)
    assert certain.sample(4).shape == weighted.sample(4).shape
    with pytest.raises(UsageError, match="give the formula"):
        Inversion(model, target, {}, seed=0).sample(1)


def test_models_without_condition_need_no_formula():
    model = small_model(0).eval()
    target = torch.from_numpy(model.codec.encode(ETHANOL))
    assert Inversion(model, target, {}, seed=0).sample(3).shape == (3, 8)


def slow_mae(observed, predicted):
    """The definition, by trying all ways."""
    short, long = sorted([sorted(observed), sorted(predicted)], key=len)

    def best(i, j):
        if i == len(long):
            return 0.0 if j == len(short) - 1 else math.inf
        here = abs(long[i] - short[j]) + best(i + 1, j)
        if j + 1 < len(short):
            here = min(here, abs(long[i] - short[j + 1]) + best(i + 1, j + 1))
        return here

    return (abs(long[0] - short[0]) + best(1, 0)) / len(long)


shifts = st.lists(st.integers(0, 40).map(float), min_size=1, max_size=7)


@settings(deadline=None)
@given(shifts, shifts)
def test_matching_is_the_cheapest(observed, predicted):
    assert matched_mae(observed, predicted) == pytest.approx(slow_mae(observed, predicted))
    assert matched_mae(observed, predicted) == matched_mae(predicted, observed)


def test_matching_nothing():
    assert matched_mae([1.0], []) == math.inf
    assert matched_mae([20.0, 10.0], [10.0, 21.0]) == 0.5
