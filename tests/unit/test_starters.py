"""The components that `nmrtk new-plugin` copies keep their contracts and say what they refuse."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from nmrtk.errors import ConfigurationError, DataError, UsageError
from nmrtk.formula import Formula
from nmrtk.interfaces import AtomLines, BadRecord, Record
from nmrtk.nucleus import Nucleus
from nmrtk.query import Query
from nmrtk.spectrum import spectrum_of_shifts
from nmrtk.starters.backbone import CouplingBackbone
from nmrtk.starters.baseline import SizeBaseline
from nmrtk.starters.codec import BinsCodec
from nmrtk.starters.encoder import AtomSumEncoder
from nmrtk.starters.generator import RandomGenerator
from nmrtk.starters.reader import JsonLinesReader
from nmrtk.testing import (
    PlainCodec,
    check_baseline,
    check_candidate_generator,
    check_invertible_backbone,
    check_reader,
    check_spectrum_codec,
    check_structure_encoder,
    plain_inversion,
    plain_query,
)
from nmrtk.testing.material import examples

CARBON = Nucleus.parse("13C")
ETHANOL = {"id": "ethanol", "smiles": "CCO", "spectra": {"13C": [18.1, 57.8]}}


@pytest.mark.parametrize(
    ("check", "component"),
    [
        (check_structure_encoder, AtomSumEncoder),
        (check_spectrum_codec, BinsCodec),
        (check_invertible_backbone, CouplingBackbone),
        (check_candidate_generator, RandomGenerator),
        (check_baseline, SizeBaseline),
    ],
)
def test_they_keep_their_contracts(check, component):
    check(component)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AtomSumEncoder(CARBON, hidden=0), "hidden=0 must be at least 1"),
        (lambda: AtomSumEncoder(CARBON).fit([]), "no examples"),
        (lambda: BinsCodec(CARBON, bins=0), "bins=0: high must be above low"),
        (lambda: BinsCodec(CARBON, low=5, high=5), "low=5, high=5"),
        (lambda: BinsCodec(CARBON, high=math.inf), "high=inf"),
        (lambda: CouplingBackbone(4, 1, 0, hidden=0), "hidden=0 must be at least 1"),
        (lambda: SizeBaseline(PlainCodec(CARBON), neighbours=0), "neighbours=0"),
        (lambda: RandomGenerator(tries=0), "tries=0 must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_the_backbone_takes_any_width_but_one():
    check_invertible_backbone(CouplingBackbone, width=7)
    with pytest.raises(ConfigurationError, match="at least 2 features, not 1"):
        CouplingBackbone(1, 1, 0)


def test_the_codec_asks_for_the_range_of_another_nucleus():
    phosphorus = Nucleus.parse("31P")
    with pytest.raises(UsageError, match="is for 13C: give low and high for 31P"):
        BinsCodec(phosphorus)
    spectra = [spectrum_of_shifts("31P", shifts) for shifts in ([-150, 10], [31], [4, 90])]
    check_spectrum_codec(
        lambda nucleus: BinsCodec(nucleus, low=-200), spectra=spectra, nucleus="31P"
    )


def test_the_code_of_a_line_is_surest_in_its_bin():
    codec = BinsCodec(CARBON)
    lines = AtomLines(torch.tensor([57.5]), torch.tensor([1.0]), torch.tensor([1]))
    occupancy = codec.occupancy(codec.expected(lines, 2))
    assert occupancy[1].argmax() == 57 // 5
    # Within 2.5 scales of a Laplace distribution lies 1 - exp(-2.5) of it.
    assert occupancy[1, 11].item() == pytest.approx(1 - math.exp(-2.5), abs=0.01)
    assert occupancy[0].max().item() == pytest.approx(0.001, abs=1e-4)


def test_the_generator_makes_isomers():
    query = plain_query()
    found = list(RandomGenerator(tries=200).generate(query, plain_inversion()))
    assert {str(Formula.of_molecule(molecule)) for molecule in found} == {str(query.formula)}


@pytest.mark.parametrize("formula", ["C2H6O", "C6H6", "C4H5NOS", "CH4", "C3H9OP", "CBrClFI"])
def test_random_structures_have_the_formula(formula):
    query = Query("x", spectrum_of_shifts("13C", [50.0]), Formula.parse(formula))
    found = list(RandomGenerator(tries=50).generate(query, plain_inversion()))
    assert found
    assert {Formula.of_molecule(molecule) for molecule in found} == {Formula.parse(formula)}


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("C2H6NaO", "C2H6NaO: random structures are of uncharged B, C"),
        ("C4H12N+", "random structures are of uncharged"),
        ("C2H7O", "no structure of usual valences"),
    ],
)
def test_formulas_without_random_structures_are_refused(formula, message):
    query = plain_query()
    object.__setattr__(query, "formula", Formula.parse(formula))
    with pytest.raises(UsageError, match=message):
        list(RandomGenerator().generate(query, plain_inversion()))
    with pytest.raises(UsageError, match="need a formula"):
        list(RandomGenerator().generate(replace(query, formula=None), plain_inversion()))


def test_the_baseline_looks_at_molecules_of_like_size():
    learned = examples(CARBON)
    baseline = SizeBaseline(PlainCodec(CARBON), neighbours=1)
    baseline.fit(learned)
    by_name = {example.id: example for example in learned}
    naphthalene = by_name["c1ccc2ccccc2c1"]  # the only one of ten carbons
    (scores,) = baseline.predict_occupancy([naphthalene.molecule])
    assert scores.tolist() == baseline.codec.encode(naphthalene.spectrum).tolist()


@pytest.fixture
def written(tmp_path):
    def write(*rows):
        path = tmp_path / "sample.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return path

    return write


def test_the_reader_keeps_its_contract(written):
    check_reader(JsonLinesReader, sample=written(ETHANOL, {**ETHANOL, "smiles": "CC("}))


def test_the_reader_gives_every_nucleus(written):
    path = written({**ETHANOL, "spectra": {"1H": [1.2], "13C": [57.8, 18]}})
    (record,) = JsonLinesReader().read(path, CARBON)
    assert [(s.nucleus, s.shifts) for s in record.spectra] == [("1H", [1.2]), ("13C", [18, 57.8])]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"smiles": "CCO"}, "not an entry"),
        ([1, 2], "not an entry"),
        ({**ETHANOL, "smiles": "CC("}, "unreadable structure"),
    ],
)
def test_a_bad_line_costs_itself_alone(written, row, reason):
    first, bad, last = JsonLinesReader().read(written(ETHANOL, row, ETHANOL), CARBON)
    assert isinstance(bad, BadRecord)
    assert (bad.position, bad.reason) == ("line 2", reason)
    assert isinstance(first, Record)
    assert isinstance(last, Record)


@pytest.mark.parametrize("shifts", [[], "18.1", [18.1, "57.8"], [True], [1e9], [10**400], {}])
def test_a_bad_spectrum_costs_itself_alone(written, shifts):
    path = written({**ETHANOL, "spectra": {"1H": [1.2], "13C": shifts}})
    (record,) = JsonLinesReader().read(path, CARBON)
    assert [spectrum.nucleus for spectrum in record.spectra] == ["1H"]
    (problem,) = record.problems
    assert problem.startswith("13C: ")


def test_a_file_of_another_format_is_refused_as_a_whole(written):
    path = written({"molecule": "CCO"}, ETHANOL)
    with pytest.raises(DataError, match='line 1: an object with a text "smiles"'):
        list(JsonLinesReader().read(path, CARBON))
    path.write_text("\n\n")
    with pytest.raises(DataError, match="only blank lines"):
        list(JsonLinesReader().read(path, CARBON))
