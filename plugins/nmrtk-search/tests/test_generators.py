import time
from pathlib import Path

import numpy as np
import pytest
import torch
from doubles import CountingEncoder, FewBins, Shear, small_model
from nmrtk_search.decode import DecodeGenerator
from nmrtk_search.library import LibraryGenerator

from nmrtk import library as library_module
from nmrtk.checkpoint import Calibration, LoadedModel
from nmrtk.elucidation import Inversion, Query
from nmrtk.errors import UsageError
from nmrtk.formula import VECTOR_WIDTH, Formula
from nmrtk.library import Library, build_library
from nmrtk.line_score import LineScore, hydrogen_counts
from nmrtk.model import ReversibleModel
from nmrtk.molecule import canonical_smiles, parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.recipe import Recipe
from nmrtk.rows import StructureRow
from nmrtk.spectrum import spectrum_of_shifts

ETHANOL = spectrum_of_shifts("13C", [57.8, 18.1])
C2H6O = Formula.parse("C2H6O")
SMILES = [
    *("CCO", "COC", "CC", "CCN", "CCF", "CC=O", "c1ccccc1", "CC(C)=O", "CCCl", "CC#N"),
    *("C1CCCCC1", "CCOCC", "OCCO", "CC(=O)O", "ClCCl", "CBr", "CCS", "NCCN", "C=C", "C#C"),
]


class SignEncoder(CountingEncoder):
    """Decodes by the sign of the first feature; nothing where it is small."""

    decodes = True

    def decode(self, features):
        choices = [parse_smiles("CCO"), None, parse_smiles("COC")]
        return [choices[int(row[0].sign() * (row[0].abs() > 0.1)) + 1] for row in features]


@pytest.fixture(scope="module")
def loaded():
    model = small_model(VECTOR_WIDTH).eval()
    return LoadedModel(model, Recipe(), Calibration(), {}, Path("double"))


@pytest.fixture(scope="module")
def library(loaded, tmp_path_factory):
    path = tmp_path_factory.mktemp("library") / "a.h5"
    build_library(loaded, (StructureRow("", s, s) for s in SMILES), path)
    with Library(path, loaded) as found:
        yield found


def inversion(model, formulas=None, spectrum=ETHANOL):
    target = torch.from_numpy(model.codec.encode(spectrum))
    return Inversion(model, target, formulas or {C2H6O: 1.0}, seed=0)


def smiles(molecules):
    return [canonical_smiles(molecule) for molecule in molecules]


def test_library_keeps_to_the_formula(loaded, library):
    query = Query("a", ETHANOL, C2H6O, library)
    found = smiles(LibraryGenerator().generate(query, inversion(loaded.model)))
    assert sorted(found) == ["CCO", "COC"]
    query = Query("a", ETHANOL, Formula.parse("C9H20"), library)
    assert list(LibraryGenerator().generate(query, inversion(loaded.model))) == []


@pytest.mark.parametrize("block", [3, 1000])
def test_forward_search_without_lines_goes_by_codes(loaded, library, monkeypatch, block):
    monkeypatch.setattr(library_module, "BLOCK", block)
    monkeypatch.setattr(Library, "has_lines", False)
    query = Query("a", spectrum_of_shifts("13C", [100.0]), None, library, top=1)
    backwards = inversion(loaded.model, spectrum=query.spectrum)
    generator = LibraryGenerator(draws=0, likeliest=5)
    found = smiles(generator.generate(query, backwards))
    molecules = [parse_smiles(text) for text in SMILES]
    with torch.no_grad():
        code = loaded.model.predict(molecules).code
        scores = loaded.model.codec.log_likelihood(code, backwards.target.expand_as(code)).numpy()
    best = [canonical_smiles(molecules[i]) for i in np.argsort(-scores, kind="stable")[:5]]
    assert found == best


@pytest.mark.parametrize("block", [3, 1000])
def test_forward_search_puts_the_likeliest_first(loaded, library, monkeypatch, block):
    monkeypatch.setattr(library_module, "BLOCK", block)
    spectrum = spectrum_of_shifts("13C", [100.0])
    backwards = inversion(loaded.model, spectrum=spectrum)
    generator = LibraryGenerator(draws=0, likeliest=5)
    found = list(generator.generate(Query("a", spectrum, None, library, top=1), backwards))
    score = LineScore(spectrum, backwards.settings)

    def scores(molecules):
        with torch.no_grad():
            lines = loaded.model.predict(molecules).lines
        return score.score(lines, hydrogen_counts(loaded.model.nucleus, molecules))

    everything = [parse_smiles(text) for text in SMILES]
    everything = [m for m in everything if loaded.model.nucleus.sites(m)]
    expected = np.sort(scores(everything))[::-1][:5]
    np.testing.assert_allclose(scores(found), expected, atol=1e-4)


def test_no_fewer_entries_than_the_query_wants(loaded, library):
    query = Query("a", spectrum_of_shifts("13C", [100.0]), None, library, top=7)
    generator = LibraryGenerator(draws=0, likeliest=5)
    assert len(list(generator.generate(query, inversion(loaded.model)))) == 7


@pytest.mark.parametrize("block", [3, 1000])
def test_backward_search_finds_what_its_features_come_from(loaded, library, monkeypatch, block):
    """With the structure's own code and free part, the nearest entry is the structure."""
    monkeypatch.setattr(library_module, "BLOCK", block)
    query = Query("a", spectrum_of_shifts("13C", [100.0]), None, library)
    for text in ("CCF", "CCS", "CC(C)=O"):
        prediction = loaded.model.predict([parse_smiles(text)])
        backwards = inversion(loaded.model)
        backwards.sample = lambda count, p=prediction: p.features.expand(count, -1)
        generator = LibraryGenerator(draws=2, neighbors=4, likeliest=0)
        found = smiles(generator.generate(query, backwards))
        assert found[0] == text
        assert len(found) == 4


def test_both_directions_are_joined_without_repeats(loaded, library):
    query = Query("a", spectrum_of_shifts("13C", [100.0]), None, library)
    found = smiles(
        LibraryGenerator(draws=3, neighbors=50, likeliest=3).generate(
            query, inversion(loaded.model)
        )
    )
    assert sorted(found) == sorted({canonical_smiles(parse_smiles(text)) for text in SMILES})


def test_library_is_needed(loaded):
    with pytest.raises(UsageError, match="--library"):
        list(LibraryGenerator().generate(Query("a", ETHANOL), inversion(loaded.model)))


@pytest.fixture(scope="module")
def decoding():
    torch.manual_seed(0)
    encoder, codec = SignEncoder(Nucleus.parse("13C")), FewBins(Nucleus.parse("13C"))
    backbone = Shear(encoder.width, codec.width, VECTOR_WIDTH)
    return ReversibleModel(encoder, codec, backbone).eval()


def test_decode_gives_what_the_drawn_features_stand_for(decoding):
    generator = DecodeGenerator(draws=100, batch_size=30)
    found = list(generator.generate(Query("a", ETHANOL, C2H6O), inversion(decoding)))
    backwards = inversion(decoding)
    features = torch.cat([backwards.sample(count) for count in (30, 30, 30, 10)])
    expected = [m for m in decoding.encoder.decode(features) if m is not None]
    assert smiles(found) == smiles(expected)
    assert 0 < len(found) <= 100


def test_decode_ends_at_the_deadline(decoding):
    query = Query("a", ETHANOL, C2H6O, deadline=time.monotonic() - 1)
    assert list(DecodeGenerator().generate(query, inversion(decoding))) == []


def test_decode_needs_an_encoder_that_decodes(loaded):
    with pytest.raises(UsageError, match="cannot be decoded"):
        list(DecodeGenerator().generate(Query("a", ETHANOL), inversion(loaded.model)))


@pytest.mark.parametrize(
    ("generator", "options"),
    [
        (DecodeGenerator, {"draws": -1}),
        (DecodeGenerator, {"batch_size": 0}),
        (LibraryGenerator, {"draws": -1}),
        (LibraryGenerator, {"neighbors": 0}),
        (LibraryGenerator, {"draws": 0, "likeliest": 0}),
    ],
)
def test_options_out_of_range(generator, options):
    with pytest.raises(UsageError, match="must be at least"):
        generator(**options)
