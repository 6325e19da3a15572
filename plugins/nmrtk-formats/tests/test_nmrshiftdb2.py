import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmrtk_formats.molblock import read_molblock
from nmrtk_formats.nmrshiftdb2 import NmrshiftdbReader, _read_peaks
from nmrtk_formats.values import read_condition, read_quantity
from rdkit import Chem

from nmrtk.errors import DataError, SpectrumError
from nmrtk.interfaces import BadRecord, Record
from nmrtk.molecule import canonical_smiles, parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Peak
from nmrtk.testing import check_reader

CARBON = Nucleus.parse("13C")
REAL = Path(__file__).parents[4] / "shared/data/nmrshiftdb2-assigned.sdf.gz"


def molblock(atoms, bonds):
    lines = ["a title", "     RDKit          3D", ""]
    lines.append(f"{len(atoms):3d}{len(bonds):3d}  0  0  0  0  0  0  0  0999 V2000")
    for i, element in enumerate(atoms):
        lines.append(f"{1.2 * i:10.4f}{i % 2:10.4f}{0:10.4f} {element:<3} 0  0  0  0")
    lines += [f"{i:3d}{j:3d}{order:3d}  0" for i, j, order in bonds]
    return "\n".join([*lines, "M  END"])


def record(block, items, end="$$$$\n"):
    text = "".join(f">  <{name}>  (1) \n{value}\n\n" for name, value in items.items())
    return f"{block}\n{text}{end}"


# Ethanol with two of its hydrogens, between the heavy atoms: H, C, O, H, C.
ETHANOL = molblock(["H", "C", "O", "H", "C"], [(1, 2, 1), (2, 3, 1), (2, 5, 1), (4, 5, 1)])
PEAKS = {"Spectrum 13C 0": "18.1;0.0Q;4|57.8;3.5T;1|"}


@pytest.fixture
def read(tmp_path):
    def read(text, nucleus="13C"):
        path = tmp_path / "a.sd"
        path.write_text(text)
        return list(NmrshiftdbReader().read(path, Nucleus.parse(nucleus)))

    return read


def test_contract(tmp_path):
    path = tmp_path / "a.sd"
    path.write_text(record(ETHANOL, PEAKS) + record(ETHANOL, {}) + record("junk", PEAKS))
    check_reader(NmrshiftdbReader, sample=path)


def test_indices_count_explicit_hydrogens(read):
    [entry] = read(record(ETHANOL, {"nmrshiftdb2 ID": "7", **PEAKS}))
    assert entry.id == "nmrshiftdb2:7"
    assert entry.position == "record 1"
    assert [a.GetSymbol() for a in entry.molecule.GetAtoms()] == ["C", "O", "C"]
    [spectrum] = entry.spectra
    assert spectrum.peaks == (
        Peak(18.1, multiplicity="Q", atoms=(2,)),
        Peak(57.8, 3.5, multiplicity="T", atoms=(0,)),
    )
    assert spectrum.atom_count == 2
    assert entry.problems == ()


def test_hydrogens_of_one_atom_become_its_line(read):
    items = {"Spectrum 1H 0": "1.2;0.0;3|1.2;0.0;4|3.7;0.0br s;0|3.7;0.0br s;0|2.6;0.0;2|"}
    [entry] = read(record(ETHANOL, items), "1H")
    assert [(p.ppm, p.atoms, p.multiplicity) for p in entry.spectra[0].peaks] == [
        (1.2, (2,), ""),
        (2.6, (1,), ""),
        (3.7, (0,), "br s"),
    ]


def test_conditions_go_by_number(read):
    items = {
        "Temperature [K]": "1:298 0:Unreported ",
        "Solvent": "0:Unreported 1:Dimethylsulphoxide-D6 (DMSO-D6, C2D6SO)) ",
        "Field Strength [MHz]": "1:100.6 ",
        "Spectrum 13C 0": "18.1;0.0Q;4|57.8;0.0T;1|",
        "Spectrum 13C 1": "18.3;0.0q;4|57.9;0.0;1|",
    }
    [entry] = read(record(ETHANOL, items))
    first, second = entry.spectra
    assert (first.solvent, first.field_mhz, first.temperature_k) == ("", None, None)
    assert second.solvent == "Dimethylsulphoxide-D6 (DMSO-D6, C2D6SO)"
    assert (second.field_mhz, second.temperature_k) == (100.6, 298)
    assert [peak.multiplicity for peak in second.peaks] == ["Q", ""]


def test_values_wrap_anywhere(read):
    whole = {"Solvent": "0:Chloroform-D1 (CDCl3) 1:Unreported", **PEAKS}
    wrapped = {
        "Solvent": "0:Chloroform-D1 \n(CDCl3)\n1:Unreported",
        "Spectrum 13C 0": "18.\n1;0.0Q;4|5\n7.8;3.5T;1|\n",
    }
    [expected], [entry] = read(record(ETHANOL, whole)), read(record(ETHANOL, wrapped))
    assert entry.spectra == expected.spectra
    assert entry.spectra[0].solvent == "Chloroform-D1 (CDCl3)"


def test_windows_line_ends_gzip_and_a_last_record_without_its_end(tmp_path):
    text = record(ETHANOL, PEAKS) + record(ETHANOL, PEAKS, end="")
    path = tmp_path / "a.bin"
    path.write_bytes(gzip.compress(text.replace("\n", "\r\n").encode()))
    assert NmrshiftdbReader().recognizes(path, text.replace("\n", "\r\n").encode()[:4096])
    first, second = NmrshiftdbReader().read(path, CARBON)
    assert first.spectra == second.spectra
    assert len(first.spectra[0].peaks) == 2


def test_record_counted_from_one_by_its_elements(read):
    [entry] = read(record(ETHANOL, {"Spectrum 13C 0": "18.1;0.0Q;5|57.8;0.0T;2|"}))
    assert [peak.atoms for peak in entry.spectra[0].peaks] == [(2,), (0,)]


def test_record_counted_from_one_by_its_multiplicities(read):
    propane = molblock(["C", "C", "C", "C"], [(1, 2, 1), (2, 3, 1), (3, 4, 1)])
    items = {"Spectrum 13C 0": "13.4;0.0Q;1|25.2;0.0T;2|25.2;0.0T;3|"}
    [entry] = read(record(propane, items))
    assert [peak.atoms for peak in entry.spectra[0].peaks] == [(0,), (1,), (2,)]


def test_file_counted_from_one_decides_where_a_record_says_nothing(read):
    ring = molblock(["C"] * 3, [(1, 2, 1), (2, 3, 1), (3, 1, 1)])
    silent = record(ring, {"Spectrum 13C 0": "-2.8;0.0T;2|-2.8;0.0T;1|"})
    from_one = record(ETHANOL, {"Spectrum 13C 0": "18.1;0.0Q;5|57.8;0.0T;2|"})
    assert {p.atoms for p in read(silent)[0].spectra[0].peaks} == {(1,), (2,)}
    *_, last = read(from_one + from_one + silent)
    assert {p.atoms for p in last.spectra[0].peaks} == {(0,), (1,)}


def test_wrong_letter_alone_does_not_move_the_assignment(read):
    [entry] = read(record(ETHANOL, {"Spectrum 13C 0": "18.1;0.0D;4|57.8;0.0T;1|"}))
    assert [peak.atoms for peak in entry.spectra[0].peaks] == [(2,), (0,)]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("1e9;0.0Q;4|", "the shift 1e+09 ppm is impossible"),
        ("nan;0.0Q;4|", "the shift nan ppm is impossible"),
        ("18.1;0.0Q;4|many;0.0T;1|", "peak 2, 'many;0.0T;1', is not shift"),
        ("18.1;0.0Q;4,1|", "is not shift;intensity multiplicity;atom"),
        ("18.1;0.0Q;99|", "atom 99 does not exist: there are 5"),
        ("18.1;0.0Q;4|57.8;0.0T;1|70;0.0;2|", "atom 2 is O, which gives no 13C"),
        ("|", "it has no peaks"),
    ],
)
def test_bad_spectrum_leaves_the_good_one(read, value, problem):
    [entry] = read(record(ETHANOL, {"Spectrum 13C 0": value, "Spectrum 13C 1": "58;0.0T;1|"}))
    assert len(entry.spectra) == 1
    [text] = entry.problems
    assert text.startswith("unreadable spectrum: Spectrum 13C 0: ")
    assert problem in text


def test_calculated_spectra_are_no_measured_ones(read):
    items = {**PEAKS, "Spectrum 13C 1": "17;0.0Q;4|", "Program": "1:CSEARCH ", "Solvent": "0:neat"}
    [entry] = read(record(ETHANOL, items))
    assert [s.solvent for s in entry.spectra] == ["neat"]
    assert entry.problems == ("calculated spectrum: Spectrum 13C 1 was not measured",)


def test_peaks_without_atom(read):
    [entry] = read(record(ETHANOL, {"Spectrum 13C 0": "18.1;0.0Q;|18.1;0.0Q;|57.8;0.0T|"}))
    [spectrum] = entry.spectra
    assert [peak.atoms for peak in spectrum.peaks] == [(), (), ()]
    assert spectrum.atom_count is None


def test_bad_structures_are_listed_and_the_rest_is_read(read):
    five_bonds = molblock(["C"] * 6, [(1, i, 1) for i in range(2, 7)])
    torn = ETHANOL.replace("  5  4  0", "  9  9  0")
    text = "".join(record(block, PEAKS) for block in (five_bonds, torn, "no block at all", ETHANOL))
    *bad, good = read(text + record(ETHANOL, {"Spectrum 1H 0": "1.2;0.0;3|"}))[:4]
    assert [entry.reason for entry in bad] == [
        "unreadable structure",
        "unreadable structure",
        "no structure",
    ]
    assert "valence" in bad[0].detail
    assert isinstance(good, Record)
    assert good.position == "record 4"


def test_other_nuclei(read):
    [entry] = read(record(ETHANOL, PEAKS), "31P")
    assert entry == BadRecord("record 1", "a title", "no 31P spectrum")


def test_file_without_record_ends(tmp_path):
    path = tmp_path / "a.sd"
    path.write_text("x\n" * 100_010)
    with pytest.raises(DataError, match=r"record 1 has no \$\$\$\$"):
        list(NmrshiftdbReader().read(path, CARBON))


def test_recognizes_by_items_or_by_name_where_the_molecule_is_large():
    reader = NmrshiftdbReader()
    head = record(ETHANOL, PEAKS).encode()
    assert reader.recognizes(Path("a"), head)
    assert not reader.recognizes(Path("a.sdf"), head.replace(b"Spectrum", b"Other"))
    assert not reader.recognizes(Path("a.sdf"), head + b"> <NMREDATA_VERSION>\n")
    assert reader.recognizes(Path("a.sdf.gz"), ETHANOL.encode())
    assert not reader.recognizes(Path("a.mol"), ETHANOL.encode())


def test_stereo_comes_from_the_smiles_where_the_block_has_none():
    # Lactic acid, atoms in another order than in the SMILES.
    block = molblock(
        ["O", "C", "O", "C", "C", "O"], [(2, 1, 2), (2, 3, 1), (4, 2, 1), (4, 5, 1), (4, 6, 1)]
    ).splitlines()
    molecule, atoms = read_molblock(block, "C[C@H](O)C(=O)O")
    assert canonical_smiles(molecule, stereo=True) == canonical_smiles(
        parse_smiles("C[C@H](O)C(=O)O"), stereo=True
    )
    assert "".join(a.GetSymbol() for a in molecule.GetAtoms()) == "OCOCCO"
    assert [atom.hydrogens for atom in atoms] == [0, 0, 1, 1, 3, 1]
    assert [molecule.GetAtomWithIdx(i).GetTotalNumHs() for i in range(6)] == [0, 0, 1, 1, 3, 1]
    for other in ("CC", "not a SMILES", ""):
        flat, _ = read_molblock(block, other)
        assert canonical_smiles(flat, stereo=True) == "CC(O)C(=O)O"


def test_flat_block_called_3d_has_no_invented_centres():
    # Sulfonamide: RDKit sees square planes in flat coordinates that a header calls 3D.
    smiles = "CS(=O)(=O)NC"
    flat = Chem.MolToMolBlock(parse_smiles(smiles)).replace("2D", "3D").splitlines()
    molecule, _ = read_molblock(flat, "")
    assert canonical_smiles(molecule, stereo=True) == canonical_smiles(parse_smiles(smiles))


@given(st.text("0123456789.;|QSTD -eE\nxn", max_size=40))
def test_any_value_is_read_or_refused(text):
    try:
        lines = _read_peaks(text, "13C")
    except SpectrumError as error:
        lines = [str(error)]
    assert lines


def test_conditions_and_quantities():
    assert read_condition(" Unknown ") == read_condition("unreported") == ""
    assert read_condition("Acetone-D6 ((CD3)2CO)") == "Acetone-D6 ((CD3)2CO)"
    values = [read_quantity(t) for t in ("298", "100 Mhz", "0.0", "-5", "1 or 2", "1e5", "")]
    assert values == [298, 100, None, None, None, None, None]


@pytest.mark.skipif(not REAL.exists(), reason="../shared/data is not there")
def test_real_records_fit_their_molecules():
    entries = NmrshiftdbReader().read(REAL, CARBON)
    right = wrong = spectra = 0
    for entry, _ in zip(entries, range(150), strict=False):
        if isinstance(entry, BadRecord):
            assert entry.reason in ("no 13C spectrum", "unreadable spectrum")
            continue
        letters = dict(
            zip(CARBON.sites(entry.molecule), CARBON.multiplicities(entry.molecule), strict=True)
        )
        for spectrum in entry.spectra:
            spectra += 1
            for peak in spectrum.peaks:
                if peak.multiplicity and peak.atoms:
                    fits = letters[peak.atoms[0]] == peak.multiplicity
                    right, wrong = right + fits, wrong + (not fits)
    assert spectra > 100
    assert wrong / (right + wrong) < 0.01
