from dataclasses import replace

import numpy as np
import pytest
import torch
from doubles import FewBins
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.DataStructs import TanimotoSimilarity

from nmrtk.cohort import make_cohort, run_forward
from nmrtk.generation import (
    BondScore,
    evaluate_generation,
    evaluate_retrieval,
    mean_difference,
)
from nmrtk.interfaces import Encoded, Example, InvertibleBackbone, StructureEncoder
from nmrtk.model import ReversibleModel
from nmrtk.molecule import canonical_smiles, parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import spectrum_of_shifts

CARBON = Nucleus.parse("13C")

# Every constitution has a code of its own.
SPECTRA = {
    "CCO": [18.2, 57.8],
    "c1ccccc1": [128.4],
    "CC(C)=O": [30.9, 207.1],
    "C=CC": [19.4, 133.9, 115.9],
}


def silent(done, total):
    pass


class Palette(StructureEncoder):
    """Knows a few molecules: features are the code of their spectrum, then one place each and one
    for nothing; the greatest place is decoded."""

    decodes = True
    width = FewBins.width + len(SPECTRA) + 1

    def prepare(self, molecule):
        return list(SPECTRA).index(canonical_smiles(molecule))

    def collate(self, prepared):
        return torch.tensor(prepared)

    def forward(self, batch):
        codec = FewBins(self.nucleus)
        spectra = [spectrum_of_shifts("13C", shifts) for shifts in SPECTRA.values()]
        targets = torch.stack([torch.from_numpy(codec.encode(spectrum)) for spectrum in spectra])
        places = 9 * torch.eye(len(SPECTRA) + 1)[batch]
        return Encoded(torch.cat([codec.embed(targets)[batch], places], dim=1))

    def decode(self, features):
        found = features[:, FewBins.width :].argmax(dim=1).tolist()
        smiles = [*SPECTRA, None]
        return [parse_smiles(smiles[i]) if smiles[i] else None for i in found]


class Counting(Palette):
    """Tells the bonds of what it decodes, and none where that is nothing."""

    def bond_counts(self, features):
        counts = torch.zeros(len(features), 2)
        for row, molecule in enumerate(self.decode(features)):
            if molecule is not None:
                aromatic = sum(bond.GetIsAromatic() for bond in molecule.GetBonds())
                counts[row] = torch.tensor([molecule.GetNumBonds(), aromatic])
        return counts


class Same(InvertibleBackbone):
    """The identity."""

    conditioned = False

    def __init__(self, width, code_width, condition_width=0):
        super().__init__(width, code_width, condition_width)
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, features, condition=None):
        return features

    def inverse(self, outputs, condition=None):
        return outputs


class Telling(Same):
    """Draws are replaced by what the code says: a model that always finds the truth."""

    def inverse(self, outputs, condition=None):
        codes = Palette(CARBON)(torch.arange(len(SPECTRA))).features
        distance = torch.cdist(outputs[:, : self.code_width], codes[:, : self.code_width])
        return codes[distance.argmin(dim=1)]


def setting(encoder=Palette, backbone=Same):
    model = ReversibleModel(
        encoder(CARBON), FewBins(CARBON), backbone(Palette.width, FewBins.width)
    )
    examples = [
        Example(smiles, parse_smiles(smiles), spectrum_of_shifts("13C", shifts))
        for smiles, shifts in SPECTRA.items()
    ]
    cohort = make_cohort(model, examples, "test", silent)
    return model, cohort, run_forward(model, cohort, silent)


def generate(encoder=Palette, backbone=Same, draws=40, seed=0):
    return evaluate_generation(*setting(encoder, backbone), draws, seed, silent)


def test_mean_difference_is_that_of_all_pairs():
    features = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    pairs = [(features[i] - features[j]).abs().mean() for i in range(7) for j in range(i)]
    assert mean_difference(features) == pytest.approx(float(torch.stack(pairs).mean()), rel=1e-5)


def test_variation_of_standard_normal_draws():
    section, _ = generate(draws=200)
    # Two normal numbers differ by 2 / sqrt(pi) on average; the features of the code do not vary.
    expected = 2 / np.sqrt(np.pi) * (Palette.width - FewBins.width) / Palette.width
    assert section.variation.mean == pytest.approx(expected, rel=0.05)
    assert section.variation.sd < 0.1


def test_random_draws_are_counted_for_what_they_are():
    section, _ = generate(draws=200)
    found = section.molecules
    # One place of five stands for nothing, one for the truth.
    assert found.valid == pytest.approx(0.8, abs=0.05)
    assert found.formula == pytest.approx(0.2, abs=0.05)
    assert found.spectra_with_valid == found.spectra_with_formula == found.exact == 1
    assert found.best_tanimoto == 1
    assert found.exact_with_true_free == 1
    morgan = GetMorganGenerator(radius=2, fpSize=2048)
    prints = [morgan.GetFingerprint(parse_smiles(smiles)) for smiles in SPECTRA]
    even = np.mean([TanimotoSimilarity(a, b) for a in prints for b in prints])
    assert found.mean_tanimoto == pytest.approx(even, abs=0.03)


def test_a_model_that_knows_the_answer_is_seen_to():
    section, _ = generate(Counting, Telling, draws=3)
    assert section.variation.mean == 0
    assert section.molecules.valid == section.molecules.formula == section.molecules.exact == 1
    scores = section.bonds
    assert (scores.bonds, scores.aromatic) == (pytest.approx(1), pytest.approx(1))
    assert (scores.bonds_of_means, scores.aromatic_of_means) == (
        pytest.approx(1),
        pytest.approx(1),
    )


def test_draws_that_ignore_the_spectrum_do_not_correlate():
    section, _ = generate(Counting, draws=150)
    assert section.bonds.bonds == pytest.approx(0, abs=0.15)


def test_nothing_decoded_leaves_no_similarity():
    class Mute(Palette):
        def decode(self, features):
            return [None] * len(features)

    section, _ = generate(Mute, draws=2)
    found = section.molecules
    assert (found.valid, found.exact, found.exact_with_true_free) == (0, 0, 0)
    assert found.best_tanimoto is None
    assert found.mean_tanimoto is None
    assert "–" in section.table().to_markdown()


def test_encoders_that_do_not_decode_say_so():
    class Plain(Palette):
        decodes = False

    section, _ = generate(Plain, draws=2)
    assert section.molecules is None
    assert section.bonds is None
    assert "n/a, features of this encoder are not decodable" in section.table().to_markdown()


def test_draws_follow_from_the_seed():
    assert generate(draws=5)[0] == generate(draws=5)[0]
    assert generate(draws=5)[0] != generate(draws=5, seed=1)[0]


def test_bond_score_without_variation_is_none():
    class Constant(Palette):
        def bond_counts(self, features):
            return torch.ones(len(features), 2)

    assert generate(Constant, draws=2)[0].bonds == BondScore(None, None, None, None)


def test_retrieval_by_perfect_codes_and_features():
    model, cohort, forward = setting()
    section = evaluate_retrieval(model, cohort, forward, forward.features)
    assert (section.library, section.queries) == (4, 4)
    assert section.by_likelihood.top_1 == section.by_features.top_1 == 1
    assert "guessing" in section.table().to_markdown()


def test_retrieval_gains_nothing_from_codes_that_are_all_alike():
    model, cohort, forward = setting()
    blind = replace(forward, outputs=torch.zeros_like(forward.outputs))
    section = evaluate_retrieval(model, cohort, blind, torch.full_like(forward.features, torch.nan))
    for score in (section.by_likelihood, section.by_features):
        assert (score.top_1, score.median_rank) == (0, 4)


def test_one_constitution_is_one_entry_of_the_library():
    model, cohort, _ = setting()
    twice = make_cohort(model, [*cohort.examples, *cohort.examples], "test", silent)
    forward = run_forward(model, twice, silent)
    section = evaluate_retrieval(model, twice, forward, forward.features)
    assert (section.library, section.queries) == (4, 8)
    assert section.by_likelihood.top_1 == 1
