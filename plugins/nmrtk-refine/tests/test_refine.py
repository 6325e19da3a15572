import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from doubles import small_model
from nmrtk_refine import candidate_generators
from nmrtk_refine.distill import distill
from nmrtk_refine.energy import INVERSE_SCALE, LOG_WIDTH
from nmrtk_refine.kinds import Isomer
from nmrtk_refine.network import no_network
from nmrtk_refine.problem import make_problems
from nmrtk_refine.refine import RefineGenerator
from nmrtk_refine.states import Judge, State
from nmrtk_refine.tables import SHARPNESS, TABLES_FILE, EnvironmentTables, fingerprint
from refine_material import SMILES, make_tables

from nmrtk.checkpoint import Calibration, LoadedModel
from nmrtk.errors import DataError, UsageError
from nmrtk.formula import VECTOR_WIDTH, Formula
from nmrtk.inversion import Inversion
from nmrtk.molecule import canonical_smiles, parse_smiles
from nmrtk.query import Query
from nmrtk.recipe import Recipe
from nmrtk.spectrum import spectrum_of_shifts
from nmrtk.substructure import parse_smarts
from nmrtk.testing import check_candidate_generator
from nmrtk.testing.plain import plain_inversion

C3H6O = Formula.parse("C3H6O")
ACETONE = spectrum_of_shifts("13C", [30.8, 206.7])


@pytest.fixture
def loaded(tmp_path):
    model = small_model(VECTOR_WIDTH).eval()
    model.path = tmp_path / "model.safetensors"
    return LoadedModel(model, Recipe(), Calibration(), {}, model.path)


def tables_of(loaded):
    return distill(loaded, [parse_smiles(text) for text in SMILES])


def inversion_of(model, seed=0):
    target = torch.from_numpy(model.codec.encode(ACETONE))
    return Inversion(model, target, {C3H6O: 1.0}, seed)


def found_by(generator, model, query=None, seed=0):
    query = query or Query("a", ACETONE, C3H6O, deadline=time.monotonic() + 20)
    return [canonical_smiles(m) for m in generator.generate(query, inversion_of(model, seed))]


def test_hook_names_the_class():
    (component,) = candidate_generators()
    assert component.name == "refine"
    assert component.load() is RefineGenerator


def test_contract(tmp_path):
    path = tmp_path / "tables.safetensors"
    make_tables(fingerprint=fingerprint(plain_inversion().model)).save(path)
    check_candidate_generator(lambda: RefineGenerator(tables=str(path)))


def test_isomers_of_the_formula_are_found(loaded):
    tables_of(loaded).save(loaded.path.parent / TABLES_FILE)
    found = found_by(RefineGenerator(rounds=3), loaded.model)
    assert len(found) == len(set(found)) == 9
    assert {str(Formula.of_molecule(parse_smiles(text))) for text in found} == {"C3H6O"}
    assert "CC(C)=O" in found


def test_it_tells_how_many_of_its_chains_came_upon_each(loaded):
    tables_of(loaded).save(loaded.path.parent / TABLES_FILE)
    generator = RefineGenerator(rounds=3)
    query = Query("a", ACETONE, C3H6O, deadline=time.monotonic() + 20)
    found = generator.generate(query, inversion_of(loaded.model))
    shares = [generator.recurrence() for _ in found]
    assert all(0 < share <= 1 for share in shares)
    assert max(shares) > 0.5


def test_what_the_compound_contains_and_lacks_is_kept_to(loaded):
    tables_of(loaded).save(loaded.path.parent / TABLES_FILE)
    query = Query("a", ACETONE, C3H6O, deadline=time.monotonic() + 20)
    carbonyl = replace(query, contains=(parse_smarts("C=O"),))
    generator = RefineGenerator(rounds=3)
    assert set(found_by(generator, loaded.model, carbonyl)) == {"CC(C)=O", "CCC=O"}
    no_ring = replace(query, lacks=(parse_smarts("[R]"), parse_smarts("C=C")))
    assert set(found_by(generator, loaded.model, no_ring)) == {"CC(C)=O", "CCC=O"}


def test_tables_come_back_from_their_file(loaded, tmp_path):
    tables = tables_of(loaded)
    tables.save(tmp_path / "a.safetensors")
    again = EnvironmentTables.load(tmp_path / "a.safetensors")
    assert (again.keys == tables.keys).all()
    assert abs(again.shifts - tables.shifts).max() <= 0.006
    assert (again.patterns, again.usual) == (tables.patterns, tables.usual)
    assert again.fingerprint == tables.fingerprint == fingerprint(loaded.model)


def test_tables_hold_what_the_model_says(loaded):
    """All carbons of this model have one shift."""
    tables = tables_of(loaded)
    line = loaded.model.predict([parse_smiles("CCO")]).lines.shift[0].item()
    table = tables.table()
    carbons = table.values[:-1, 0] != 0
    assert carbons.any()
    assert abs(table.values[:-1, 0][carbons] - line).max() < 0.01


def test_missing_tables_name_the_command(loaded):
    with pytest.raises(UsageError, match="python -m nmrtk_refine distill"):
        found_by(RefineGenerator(), loaded.model)
    loaded.model.path = None
    with pytest.raises(UsageError, match="refine.tables=FILE"):
        found_by(RefineGenerator(), loaded.model)


def test_tables_of_another_model_are_refused(loaded):
    tables_of(loaded).save(loaded.path.parent / TABLES_FILE)
    with torch.no_grad():
        next(loaded.model.parameters()).add_(1)
    with pytest.raises(UsageError, match="another model"):
        found_by(RefineGenerator(), loaded.model)


def test_halved_weights_have_the_same_fingerprint(loaded):
    before = fingerprint(loaded.model)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.copy_(parameter.half().float())
    assert fingerprint(loaded.model) == before


def test_a_file_that_holds_no_tables(loaded, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(UsageError, match="damaged"):
        found_by(RefineGenerator(tables=str(path)), loaded.model)


def test_structures_like_those_of_the_tables_are_likelier(loaded):
    tables_of(loaded).save(loaded.path.parent / TABLES_FILE)
    inversion = inversion_of(loaded.model)
    texts = ["CC(=O)OC", "COC(C)=O", "OOC1CC1", "[Na+].[Cl-]"]
    priors = RefineGenerator().log_priors([parse_smiles(text) for text in texts], inversion)
    assert priors[0] == pytest.approx(priors[1])
    assert priors[1] > priors[2]
    assert np.isnan(priors[3])


def test_without_tables_nothing_is_known_of_structures(loaded):
    molecules = [parse_smiles("CCO")]
    assert RefineGenerator().log_priors(molecules, inversion_of(loaded.model)) is None


def test_formula_is_needed(loaded):
    with pytest.raises(UsageError, match="--formula"):
        found_by(RefineGenerator(), loaded.model, Query("a", ACETONE))


@pytest.mark.parametrize(
    "options", [{"moves": -1}, {"rounds": -1}, {"judged": 0}, {"candidates": 0}]
)
def test_options_out_of_range(options):
    with pytest.raises(UsageError, match="at least"):
        RefineGenerator(**options)


def test_nothing_to_distil(loaded):
    with pytest.raises(DataError, match="no structure"):
        distill(loaded, [parse_smiles("[Na+].[Cl-]")])


def test_command_says_what_is_wrong(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "nmrtk_refine", "distill", "--structures", "a.smi", "--split", "x"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert run.returncode == 2
    assert "choose train, val, test or all" in run.stderr


def test_listing_imports_nothing_heavy():
    code = (
        "import sys, nmrtk_refine; nmrtk_refine.candidate_generators();"
        "print([m for m in ('numba', 'torch', 'rdkit') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert run.stdout.strip() == "[]"


def with_factor(loaded, factor):
    score = replace(loaded.calibration.score, scale_factor=factor)
    return replace(loaded, calibration=replace(loaded.calibration, score=score))


def test_tables_and_judge_take_calibrated_scales(loaded):
    plain, unsure = (with_factor(loaded, factor) for factor in (SHARPNESS, 3 * SHARPNESS))
    narrow, wide = tables_of(plain), tables_of(unsure)
    assert (wide.scales > narrow.scales).any()
    assert (wide.scales >= narrow.scales).all()
    problems = make_problems(C3H6O, ACETONE, narrow)
    learned = []
    for one in (plain, unsure):
        target = torch.from_numpy(one.model.codec.encode(ACETONE))
        score = one.calibration.score
        judge = Judge(
            *(one.model, target, problems, narrow.table(), narrow.network, narrow.prior), score
        )
        isomer = Isomer.of_molecule(parse_smiles("CC(C)=O"))
        (said,) = judge.judge([State(0, isomer, 0.0)])
        learned.append(said.values[:, INVERSE_SCALE])
    np.testing.assert_allclose(learned[0], 3 * learned[1], rtol=1e-5)


def test_energies_are_estimated_by_what_the_table_holds(loaded):
    tables = tables_of(loaded)
    problems = make_problems(C3H6O, ACETONE, tables)
    table = tables.table()
    target = torch.from_numpy(loaded.model.codec.encode(ACETONE))
    # With a network, the table would be asked for the prior alone.
    judge = Judge(
        *(loaded.model, target, problems, table, no_network(), tables.prior),
        loaded.calibration.score,
    )
    states = [
        State(0, Isomer.of_molecule(parse_smiles(text)), 0.0) for text in ("CC(C)=O", "CCC=O")
    ]
    judge.estimate(states)
    before = [state.energy for state in states]
    assert all(np.isfinite(before))
    table.values[:, LOG_WIDTH] += 1.0
    judge.estimate(states[:1])
    # One for each line.
    assert states[0].energy == pytest.approx(before[0] + 3, abs=1e-3)
    assert states[1].energy == before[1]
