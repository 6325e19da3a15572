from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
import torch
from nmrtk_baselines import baselines
from nmrtk_baselines.environments import environments
from nmrtk_baselines.fingerprints import MorganCounts
from nmrtk_baselines.hose import HoseBaseline
from nmrtk_baselines.linear import LinearBaseline
from nmrtk_baselines.mean import MeanBaseline
from nmrtk_baselines.nearest import NearestBaseline
from rdkit import Chem
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.DataStructs import TanimotoSimilarity

from nmrtk.errors import NmrtkError, UsageError
from nmrtk.interfaces import Example
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.scoring import best_threshold, score_code
from nmrtk.spectrum import Peak, Spectrum, spectrum_of_shifts
from nmrtk.testing import PlainCodec, check_baseline

CARBON = Nucleus.parse("13C")
CODEC = PlainCodec(CARBON)


def example(smiles: str, *lines: float, atoms: bool = False, skeleton: str = "") -> Example:
    molecule = parse_smiles(smiles)
    sites = CARBON.sites(molecule)
    peaks = tuple(
        Peak(ppm, atoms=(site,) if atoms else ()) for ppm, site in zip(lines, sites, strict=True)
    )
    return Example(smiles, molecule, Spectrum("13C", peaks), skeleton)


def bins(*shifts: float) -> np.ndarray:
    return CODEC.encode(spectrum_of_shifts("13C", shifts))


@pytest.mark.parametrize("component", baselines(), ids=lambda c: c.name)
def test_contract(component):
    check_baseline(component.load())


def test_mean_is_the_frequency():
    baseline = MeanBaseline(CODEC)
    baseline.fit([example("C", 2.5), example("C", 2.5), example("CC", 2.5, 52.5), example("C", 7)])
    scores = baseline.predict_occupancy([parse_smiles("N"), parse_smiles("CCCC")])
    wanted = 0.75 * bins(2.5) + 0.25 * bins(7) + 0.25 * bins(52.5)
    assert np.allclose(scores, [wanted, wanted])


def test_nearest_returns_the_spectrum_of_the_same_molecule():
    baseline = NearestBaseline(CODEC, neighbors=1)
    baseline.fit([example("CCO", 18, 58), example("c1ccccc1", *[128] * 6), example("CC#N", 2, 116)])
    scores = baseline.predict_occupancy([parse_smiles("N#CC"), parse_smiles("OCC")])
    assert (scores > 0.5).tolist() == [(bins(2, 116) > 0).tolist(), (bins(18, 58) > 0).tolist()]


def test_nearest_weighs_neighbours_by_tanimoto_similarity():
    texts, query = ["CCCO", "CCCCN", "c1ccccc1O"], parse_smiles("CCCCO")
    generator = GetMorganGenerator(radius=2, fpSize=2048)
    own = generator.GetFingerprint(query)
    weights = [
        TanimotoSimilarity(own, generator.GetFingerprint(parse_smiles(text))) for text in texts
    ]
    shifts = [12.5, 62.5, 112.5]
    baseline = NearestBaseline(CODEC, neighbors=3)
    baseline.fit(
        [
            Example(t, parse_smiles(t), spectrum_of_shifts("13C", [s]))
            for t, s in zip(texts, shifts, strict=True)
        ]
    )
    scores = baseline.predict_occupancy([query])[0]
    found = np.array([scores[bins(shift) > 0].item() for shift in shifts])
    # The training mean, a third each, has the weight of a similarity of 0.01.
    assert np.allclose(found, (np.array(weights) + 0.01 / 3) / (sum(weights) + 0.01), atol=1e-6)


def test_nearest_gives_the_mean_for_a_molecule_without_any_neighbour():
    baseline = NearestBaseline(CODEC, radius=0, neighbors=1)
    baseline.fit([example("CC", 7, 7), example("CCC", 17, 17, 17)])
    scores = baseline.predict_occupancy([parse_smiles("[Na+].[Cl-]")])[0]
    assert np.allclose(scores, (bins(7) + bins(17)) / 2)


def lettered(smiles: str, *lines: tuple[float, str]) -> Example:
    peaks = tuple(Peak(ppm, multiplicity=letter) for ppm, letter in lines)
    return Example(smiles, parse_smiles(smiles), Spectrum("13C", peaks))


def test_nearest_gives_back_the_lines_that_it_knows():
    baseline = NearestBaseline(CODEC, line_neighbors=1)
    ethanol = lettered("CCO", (18.0, "Q"), (58.0, "T"))
    baseline.fit([ethanol, lettered("CC#N", (2.0, "Q"), (116.0, "S"))])
    (spectrum,) = baseline.predict_spectra([parse_smiles("OCC")])
    assert [(p.ppm, p.multiplicity) for p in spectrum.peaks] == [(18.0, "Q"), (58.0, "T")]


def test_nearest_spreads_lines_over_more_sites_and_falls_back_to_the_usual():
    baseline = NearestBaseline(CODEC)
    baseline.fit([lettered("CCC", (15.0, "Q"), (16.0, "T"), (15.0, "Q"))])
    butane, chloride, salt = baseline.predict_spectra(
        [parse_smiles(text) for text in ("CCCC", "ClC(Cl)(Cl)Cl", "[Na+].[Cl-]")]
    )
    assert butane.shifts == [15, 15, 16, 16]
    # No known molecule has a quaternary carbon: the median of all lines.
    assert chloride.shifts == [15.0]
    assert salt.shifts == []


def test_mean_lines_are_spread_as_those_of_training():
    baseline = MeanBaseline(CODEC)
    baseline.fit([lettered("CO", (50.0, "Q")), lettered("CCl", (26.0, "Q")), example("C", -2)])
    one, two = baseline.predict_spectra([parse_smiles("CBr"), parse_smiles("CC")])
    assert one.shifts == [38.0]
    assert two.shifts == [26.0, 50.0]
    assert [peak.multiplicity for peak in two.peaks] == ["Q", "Q"]


def test_linear_finds_what_a_group_adds():
    rest = ["C", "CC", "CCC", "CCCC", "CCCCC"]
    alkanes = [Example(s, parse_smiles(s), spectrum_of_shifts("13C", [20])) for s in rest]
    nitriles = [
        Example(s, parse_smiles(s + "C#N"), spectrum_of_shifts("13C", [20, 118])) for s in rest
    ]
    baseline = LinearBaseline(CODEC, alpha=1.0)
    baseline.fit(alkanes + nitriles)
    nitrile, alkane = baseline.predict_occupancy(
        [parse_smiles("CCCCCCC#N"), parse_smiles("CCCCCCC")]
    )
    at = int(bins(118).argmax())
    assert nitrile[at] > 0.6 > 0.4 > alkane[at]
    assert nitrile[int(bins(20).argmax())] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: NearestBaseline(CODEC, neighbors=0), "neighbors is 0: it must be at least 1"),
        (lambda: NearestBaseline(CODEC, line_neighbors=0), "line_neighbors is 0: it must be at"),
        (lambda: NearestBaseline(CODEC, radius=-1), "radius is -1: it must be from 0 to 10"),
        (lambda: LinearBaseline(CODEC, bits=0), "bits is 0: it must be from 1 to"),
        (lambda: LinearBaseline(CODEC, alpha=0.0), "alpha is 0: it must be a positive number"),
        (lambda: HoseBaseline(CODEC, radius=11), "radius is 11: it must be from 0 to 10"),
    ],
)
def test_options_out_of_range_are_refused(build, text):
    with pytest.raises(UsageError, match=text):
        build()


def test_counts_are_those_of_rdkit():
    molecule = parse_smiles("CC(=O)Oc1ccccc1C(=O)O")
    dense = MorganCounts(2, 512)([parse_smiles("C"), molecule]).toarray()[1]
    wanted = GetMorganGenerator(radius=2, fpSize=512).GetCountFingerprint(molecule)
    assert {i: int(dense[i]) for i in dense.nonzero()[0]} == wanted.GetNonzeroElements()


def test_environments_grow_with_the_radius():
    # Carbons of 1-hexanol: the chain's middle atoms differ only in how far the ends are.
    levels = environments(parse_smiles("CCCCCCO"), 4)
    assert len(levels) == 6
    distinct = [len({level[atom] for atom in range(6)}) for level in levels]
    assert distinct == sorted(distinct)
    assert distinct[0] == 1
    assert distinct[-1] == 6
    assert levels[1][2] == levels[1][3]
    assert levels[3][2] == levels[3][3]
    assert levels[4][2] != levels[4][3]


def test_environments_do_not_depend_on_the_order_of_atoms():
    molecule = parse_smiles("Cc1ccc(C(=O)N2CCCC2)cc1[N+](=O)[O-]")
    order = np.random.default_rng(0).permutation(molecule.GetNumAtoms()).tolist()
    levels, moved = environments(molecule, 3), environments(Chem.RenumberAtoms(molecule, order), 3)
    assert [[level[atom] for atom in order] for level in levels] == moved


def test_hose_falls_back_to_the_largest_known_environment():
    baseline = HoseBaseline(CODEC)
    baseline.fit(
        [
            example("CCO", 18, 58, atoms=True),
            example("CCCO", 10, 26, 64, atoms=True),
            example("CCCCO", 14, 19, 35, 62, atoms=True),
        ]
    )
    known, longer, foreign = baseline.predict_spectra(
        [parse_smiles("OCC"), parse_smiles("CCCCCCO"), parse_smiles("[C-]#[O+]")]
    )
    assert {peak.atoms: peak.ppm for peak in known.peaks} == {(2,): 18, (1,): 58}
    # The carbon beside oxygen: butanol shares four bonds with hexanol, propanol only three.
    assert next(peak.ppm for peak in longer.peaks if peak.atoms == (5,)) == 62
    # No carbon like it was seen: the median of all.
    assert [peak.ppm for peak in foreign.peaks] == [26]
    assert [peak.multiplicity for peak in known.peaks] == ["Q", "T"]


def test_hose_takes_the_median_of_several():
    baseline = HoseBaseline(CODEC)
    baseline.fit([example("CO", ppm, atoms=True) for ppm in (49.0, 50.0, 90.0)])
    assert baseline.predict_spectra([parse_smiles("CO")])[0].shifts == [50.0]


def test_hose_is_less_sure_of_what_it_has_not_seen():
    noise = np.random.default_rng(1)
    chains = ["C" * n + "O" for n in range(2, 14)]
    examples = [
        example(s, *noise.normal(30 + 3 * np.arange(len(s) - 1), 0.2), atoms=True) for s in chains
    ]
    baseline = HoseBaseline(CODEC)
    baseline.fit(examples)
    seen, foreign = baseline.predict_spectra([parse_smiles("CCCO"), parse_smiles("CC(C)(C)S")])
    assert max(p.sigma for p in seen.peaks) < min(p.sigma for p in foreign.peaks)


def test_hose_occupancy_spreads_over_the_sigma_of_a_line():
    baseline = HoseBaseline(CODEC)
    baseline.fit([example("CO", ppm, atoms=True, skeleton="A") for ppm in np.linspace(40, 60, 9)])
    scores = baseline.predict_occupancy([parse_smiles("CO"), parse_smiles("O")])
    assert scores[0, 8:12].sum() > 0.5
    assert scores[0].argmax() in (9, 10)
    assert scores[0].sum() == pytest.approx(1.0)
    assert not scores[1].any()


def test_hose_leaves_out_lines_without_atoms():
    baseline = HoseBaseline(CODEC)
    baseline.fit([example("CO", 50, atoms=True), example("CO", 99)])
    assert baseline.predict_spectra([parse_smiles("CO")])[0].shifts == [50]


def test_hose_says_what_it_needs():
    lacking = Example("CC", parse_smiles("CC"), spectrum_of_shifts("13C", [7]))
    with pytest.raises(UsageError, match=r"none of the 1 .* imported from assigned records"):
        HoseBaseline(CODEC).fit([lacking])


def test_hose_gives_lines_to_atoms_by_their_order_where_nobody_has():
    fluorine = Nucleus.parse("19F")
    codec = PlainCodec(fluorine, low=-300.0)
    known = [("CF", [-272]), ("FC(F)F", [-78] * 3), ("FCC(F)(F)F", [-230, -78, -78, -78])]
    examples = [Example(s, parse_smiles(s), spectrum_of_shifts("19F", p)) for s, p in known]
    baseline = HoseBaseline(codec)
    baseline.fit(examples)
    (spectrum,) = baseline.predict_spectra([parse_smiles("FCC(F)(F)F")])
    assert {peak.atoms: peak.ppm for peak in spectrum.peaks} == {
        (0,): -230,
        **{(atom,): -78 for atom in (3, 4, 5)},
    }


def measured(path, splits):
    """Every twentieth complete 13C spectrum of each split."""
    found = {split: [] for split in splits}
    with gzip.open(path, "rt") as file:
        for line in list(file)[::20]:
            row = json.loads(line)
            spectra = [s for s in row["spectra"] if s["nucleus"] == "13C"]
            if not spectra or row["split"] not in found:
                continue
            try:
                molecule = parse_smiles(row["smiles"])
            except NmrtkError:
                continue
            spectrum = spectrum_of_shifts("13C", [ppm for ppm, _ in spectra[0]["peaks"]])
            if spectrum.is_complete(len(CARBON.sites(molecule))):
                found[row["split"]].append(Example(row["id"], molecule, spectrum))
    return found


def test_baselines_rank_as_expected_on_measured_spectra(shared_data):
    examples = measured(shared_data / "nmrshiftdb2.jsonl.gz", ("train", "val"))
    targets = torch.tensor(np.stack([CODEC.encode(e.spectrum) for e in examples["val"]]))
    observed = CODEC.occupied(targets).numpy()
    micro = {}
    for build in (MeanBaseline, NearestBaseline, LinearBaseline):
        baseline = build(CODEC)
        baseline.fit(examples["train"])
        scores = baseline.predict_occupancy([e.molecule for e in examples["val"]])
        threshold = best_threshold(scores, observed)
        micro[build.__name__] = score_code(scores >= threshold, observed).micro_f1
    assert micro["MeanBaseline"] + 0.1 < min(micro["NearestBaseline"], micro["LinearBaseline"])
