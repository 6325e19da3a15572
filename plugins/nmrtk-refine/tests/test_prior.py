import numpy as np
import pytest
import torch
from doubles import small_model
from nmrtk_refine.gathered import Gathered
from nmrtk_refine.graphs import BondGraph
from nmrtk_refine.kinds import Isomer
from nmrtk_refine.prior import StructurePrior, prior_of, prior_tensors
from nmrtk_refine.prior_training import RivalSet, train_prior
from nmrtk_refine.problem import make_problems
from nmrtk_refine.refine import log_priors
from nmrtk_refine.rivals import rival_sets
from nmrtk_refine.states import Judge, State
from nmrtk_refine.student import Lesson
from refine_material import SMILES, lines_of, make_tables

from nmrtk.formula import VECTOR_WIDTH, Formula
from nmrtk.molecule import canonical_smiles, parse_smiles
from nmrtk.score_settings import ScoreSettings

ESTERS = ["CC(=O)OC", "CCC(=O)OC", "CCOC(C)=O", "CCCC(=O)OC", "O=C(OC)c1ccccc1", "CC(=O)OCC(C)C"]
PEROXIDES = ["CCOOC", "CCCOOC", "CCCOOC", "CCCCOOC", "COOCc1ccccc1", "CCOOCC(C)C"]


def isomer_of(text):
    return Isomer.of_molecule(parse_smiles(text))


def kinds_of(texts):
    return sorted({kind for text in texts for kind in isomer_of(text).kinds})


@pytest.fixture
def random_prior():
    torch.manual_seed(1)
    prior = StructurePrior(kinds_of(SMILES)).eval()
    torch.nn.init.normal_(prior.out.weight)
    return prior


@pytest.fixture(scope="module")
def taught():
    sets = [
        RivalSet(
            (BondGraph.of(isomer_of(ester)), BondGraph.of(isomer_of(peroxide))),
            np.zeros(2, np.float32),
        )
        for ester, peroxide in zip(ESTERS, PEROXIDES, strict=True)
    ]
    return train_prior(sets * 8, epochs=5)


def test_before_it_is_taught_it_knows_nothing():
    isomers = [isomer_of(text) for text in SMILES]
    assert (StructurePrior(kinds_of(SMILES)).log_odds(isomers) == 0).all()
    assert (train_prior([]).log_odds(isomers) == 0).all()


def test_it_learns_what_rivals_are_like(taught):
    unseen = [isomer_of("CCCCCC(=O)OC"), isomer_of("CCCCCCOOC")]
    ester, peroxide = taught.log_odds(unseen)
    assert ester > peroxide + 1


def test_it_adds_to_what_the_counts_say():
    """Where the counts tell the right one already, there is nothing to learn."""
    pair = tuple(BondGraph.of(isomer_of(text)) for text in ("CC(=O)OC", "CCOOC"))
    told = RivalSet(pair, np.array([0.0, 50.0], np.float32))
    prior = train_prior([told] * 32, epochs=5)
    ester, peroxide = prior.log_odds([isomer_of("CC(=O)OC"), isomer_of("CCOOC")])
    assert abs(ester - peroxide) < 1e-3


def test_order_of_atoms_and_neighbours_in_the_batch_do_not_matter(random_prior):
    forward = random_prior.log_odds([isomer_of("CCOC(C)=O"), isomer_of("COc1cc(C=O)ccc1O")])
    again = random_prior.log_odds([isomer_of("O=Cc1ccc(O)c(OC)c1")])
    np.testing.assert_allclose(again, forward[1:], atol=1e-4)
    assert forward[0] != pytest.approx(forward[1])


def test_no_structures(random_prior):
    assert random_prior.log_odds([]).shape == (0,)


def test_an_atom_that_it_never_saw(random_prior):
    assert np.isfinite(random_prior.log_odds([isomer_of("C[Ge](C)(C)C")])).all()


def test_it_comes_back_from_a_file(random_prior):
    again = prior_of(prior_tensors(random_prior), random_prior.kinds)
    isomers = [isomer_of(text) for text in SMILES]
    np.testing.assert_allclose(
        again.log_odds(isomers), random_prior.log_odds(isomers), rtol=0.01, atol=0.05
    )


def test_priors_of_structures_are_counts_and_odds(random_prior):
    table = make_tables().table()
    molecules = [parse_smiles(text) for text in ("CCO", "[Na+].[Cl-]", "COC=C")]
    counts = log_priors(molecules, table, None)
    both = log_priors(molecules, table, random_prior)
    assert np.isnan(counts).tolist() == np.isnan(both).tolist() == [False, True, False]
    odds = random_prior.log_odds([isomer_of("CCO"), isomer_of("COC=C")])
    np.testing.assert_allclose((both - counts)[[0, 2]], odds, atol=1e-5)


def test_the_judge_prefers_what_the_prior_does(random_prior):
    tables = make_tables()
    model = small_model(VECTOR_WIDTH).eval()
    spectrum = lines_of("CC(C)=O")
    problems = make_problems(Formula.parse("C3H6O"), spectrum, tables)
    target = torch.from_numpy(model.codec.encode(spectrum))
    scores = []
    for prior in (StructurePrior([]), random_prior):
        isomer = isomer_of("CC(C)=O")
        state = State(0, isomer, 0.0)
        judge = Judge(
            *(model, target, problems, tables.table(), tables.network, prior), ScoreSettings()
        )
        judge.judge([state])
        scores.append(state.score)
    (odds,) = random_prior.log_odds([isomer])
    assert scores[1] == pytest.approx(scores[0] - odds, abs=1e-3)


def test_rivals_are_other_isomers_found_by_tables_that_do_not_know_the_structure(monkeypatch):
    gathered, lessons = Gathered(), []
    for molecule, isomer in gathered.usable([parse_smiles(text) for text in SMILES]):
        sites = np.flatnonzero([kind.element == "C" for kind in isomer.kinds])
        lines = [peak.ppm for peak in lines_of(canonical_smiles(molecule)).peaks]
        # In the order of the atoms of the canonical SMILES, which will do.
        shifts = np.array(lines, np.float32)
        lesson = Lesson(BondGraph.of(isomer), sites, shifts, np.ones(len(sites), np.float32))
        gathered.add(isomer, lesson)
        lessons.append(lesson)
    without = []
    condensed = Gathered.condensed
    monkeypatch.setattr(
        Gathered, "condensed", lambda self, rows: without.append(rows) or condensed(self, rows)
    )
    seen = []
    sets = rival_sets(gathered, lessons, make_tables(), on_progress=seen.append)
    assert sorted({row for rows in without for row in rows}) == list(range(len(lessons)))
    assert all(len(rows) < len(lessons) for rows in without)
    assert len(sets) > 5
    assert seen[-1] == len(seen)
    right = {tuple(sorted(isomer.kinds)) for isomer in gathered.isomers}
    for one in sets:
        assert len(one.graphs) == len(one.energies) >= 2
        assert {tuple(sorted(graph.kinds)) for graph in one.graphs} <= right
        assert len({int(graph.hydrogens.sum()) for graph in one.graphs}) == 1
        assert np.isfinite(one.energies).all()
