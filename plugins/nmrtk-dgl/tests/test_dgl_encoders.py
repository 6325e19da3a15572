import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem

from nmrtk import Component
from nmrtk.errors import ConfigurationError, MoleculeError
from nmrtk.interfaces import Example
from nmrtk.molecule import Molecule, parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Peak, Spectrum
from nmrtk.testing import check_structure_encoder

pytest.importorskip("dgl", reason="DGL has no wheel for this Python")

from nmrtk_dgl import structure_encoders
from nmrtk_dgl.backend import dgl
from nmrtk_dgl.descriptor import ENVIRONMENTS, EnvironmentDescriptor, environment_counts
from nmrtk_dgl.encoder import BondTable, GraphEncoder
from nmrtk_dgl.gat import GatEncoder
from nmrtk_dgl.gin import GineConvolution, GinEncoder

CARBON = Nucleus.parse("13C")
ENCODERS = [GinEncoder, GatEncoder]
SMILES = [
    "CCO",
    "C",
    "O",
    "[Na+].[Cl-]",
    "CC(=O)Nc1ccc(O)cc1.Cl",
    "C[N+](C)(C)CC(=O)[O-]",
    "C/C=C\\C1CC2CCC1C2",
    "C[Si](C)(C)C#C[Se]C",
    "C" * 300,
]


def build(kind: type[GraphEncoder], **options: object) -> GraphEncoder:
    """A small encoder whose heads are not zero, as they are before training."""
    torch.manual_seed(0)
    encoder = kind(CARBON, hidden_dim=16, layers=3, pooled_dim=8, descriptor_dim=6, **options)
    for head in (encoder.shift_head, encoder.scale_head):
        torch.nn.init.normal_(head[-1].weight)
    return encoder.eval()


def encode(encoder: GraphEncoder, molecules: list[Molecule]):
    return encoder(encoder.collate([encoder.prepare(molecule) for molecule in molecules]))


def molecules() -> list[Molecule]:
    return [parse_smiles(smiles) for smiles in SMILES]


def example(smiles: str, shifts: list[float]) -> Example:
    return Example(smiles, parse_smiles(smiles), Spectrum("13C", tuple(map(Peak, shifts))))


@pytest.mark.parametrize("kind", ENCODERS)
def test_contract(kind):
    check_structure_encoder(kind)


def test_hook_names_both_classes():
    found = {one.name: one for one in structure_encoders()}
    assert all(isinstance(one, Component) for one in found.values())
    assert found["dgl-gin"].load() is GinEncoder
    assert found["dgl-gat"].load() is GatEncoder


@pytest.mark.parametrize("kind", ENCODERS)
def test_lines_follow_the_sites(kind):
    encoder = build(kind)
    encoded = encode(encoder, molecules())
    counts = [len(CARBON.sites(molecule)) for molecule in molecules()]
    assert encoded.features.shape == (len(SMILES), 14) == (len(SMILES), encoder.width)
    assert torch.bincount(encoded.lines.molecule, minlength=len(SMILES)).tolist() == counts
    assert torch.isfinite(encoded.features).all()
    assert (encoded.lines.scale > 0).all()


@pytest.mark.parametrize("kind", ENCODERS)
def test_molecules_without_a_site_have_no_lines(kind):
    encoded = encode(build(kind), [parse_smiles("O"), parse_smiles("[Na+].[Cl-]")])
    assert encoded.lines.shift.shape == encoded.lines.scale.shape == (0,)
    assert encoded.features.shape == (2, 14)


@pytest.mark.parametrize("kind", ENCODERS)
def test_atom_order_only_permutes_lines(kind):
    encoder = build(kind)
    molecule = parse_smiles("CC(=O)Nc1ccc(OCC#N)cc1C(F)(F)F")
    order = np.random.default_rng(1).permutation(molecule.GetNumAtoms()).tolist()
    first = encode(encoder, [molecule])
    second = encode(encoder, [Chem.RenumberAtoms(molecule, order)])
    place = {site: row for row, site in enumerate(CARBON.sites(molecule))}
    moved = [place[atom] for atom in order if atom in place]
    torch.testing.assert_close(second.lines.shift, first.lines.shift[moved], atol=1e-4, rtol=0)
    torch.testing.assert_close(second.lines.scale, first.lines.scale[moved], atol=1e-4, rtol=0)
    torch.testing.assert_close(second.features, first.features, atol=1e-4, rtol=0)
    assert first.lines.shift.std() > 0.1  # the network speaks: this is no trivial agreement


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("training", [False, True])
def test_rows_do_not_depend_on_their_batch(kind, training):
    encoder = build(kind).train(training)
    together = encode(encoder, molecules())
    for row, molecule in enumerate(molecules()):
        alone = encode(encoder, [molecule])
        mine = together.lines.molecule == row
        torch.testing.assert_close(alone.features[0], together.features[row], atol=1e-4, rtol=0)
        torch.testing.assert_close(
            alone.lines.shift, together.lines.shift[mine], atol=1e-4, rtol=1e-5
        )


@pytest.mark.parametrize("kind", ENCODERS)
def test_equivalent_atoms_have_equal_lines(kind):
    shift = encode(build(kind), [parse_smiles("Cc1ccccc1")]).lines.shift
    torch.testing.assert_close(shift[[2, 3]], shift[[6, 5]], atol=1e-4, rtol=0)
    assert abs(shift[1] - shift[2]) > 1e-2


@pytest.mark.parametrize("kind", ENCODERS)
def test_gradients_reach_every_parameter(kind):
    encoder = build(kind).train()
    encoded = encode(encoder, molecules())
    loss = (
        encoded.features.cos().sum() + encoded.lines.shift.cos().sum() + encoded.lines.scale.sum()
    )
    loss.backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("kind", ENCODERS)
def test_scale_does_not_shape_the_states(kind):
    encoder = build(kind)
    encode(encoder, molecules()).lines.scale.sum().backward()
    assert encoder.atom_embedding.weight.grad is None
    assert encoder.scale_head[0].weight.grad.any()


@pytest.mark.parametrize("kind", ENCODERS)
def test_fit_sets_buffers_and_state_dict_keeps_them(kind):
    examples = [
        example("CCO", [18.2, 57.8]),
        example("CC(C)=O", [30.9, 30.9, 207.1]),
        example("CCCCCC", [14.1, 14.1, 22.7, 22.7, 31.6, 31.6]),
        example("CC#N", [1.9, 116.4]),
    ]
    encoder = kind(CARBON, hidden_dim=16, layers=2)
    encoder.fit(examples)
    before = encode(encoder, [one.molecule for one in examples])
    assert encoder.spread > 0
    # Untrained heads add nothing: shifts are the means of classes, scales a tenth of the spread.
    assert before.lines.shift.std() > 1
    torch.testing.assert_close(
        before.lines.scale, (0.1025 * encoder.spread).expand_as(before.lines.scale)
    )
    other = kind(CARBON, hidden_dim=16, layers=2)
    other.load_state_dict(encoder.state_dict())
    after = encode(other, [one.molecule for one in examples])
    assert torch.equal(after.features, before.features)
    assert torch.equal(after.lines.shift, before.lines.shift)


@pytest.mark.parametrize("kind", ENCODERS)
def test_training_lowers_the_loss(kind):
    encoder = build(kind).train()
    batch = encoder.collate([encoder.prepare(parse_smiles("CCCCO"))])
    wanted = torch.tensor([13.9, 19.0, 34.9, 62.4])
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.01)
    losses = []
    for _ in range(100):
        loss = (encoder(batch).lines.shift - wanted).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_hydrogen_sites_are_heavy_atoms():
    encoder = GinEncoder(Nucleus.parse("1H"), hidden_dim=8, layers=1)
    assert encode(encoder, [parse_smiles("CC(=O)O")]).lines.shift.shape == (2,)


def test_a_molecule_without_atoms_is_refused():
    with pytest.raises(MoleculeError, match="no atoms"):
        GinEncoder(CARBON).prepare(Chem.Mol())


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (GinEncoder, {"hidden_dim": 0}, "hidden_dim=0 is not allowed: from 1 to 4096"),
        (GinEncoder, {"layers": 0}, "layers=0 is not allowed"),
        (GatEncoder, {"dropout": 1.0}, "dropout=1.0 is not allowed"),
        (GinEncoder, {"pooled_dim": 0}, "pooled_dim=0 is not allowed"),
        (GinEncoder, {"descriptor_dim": 2000}, f"from 0 to {ENVIRONMENTS}"),
        (GatEncoder, {"heads": 0}, "heads=0 is not allowed"),
        (GatEncoder, {"hidden_dim": 30}, "hidden_dim=30 is not a multiple of heads=4"),
    ],
)
def test_options_out_of_range_are_named(kind, options, message):
    with pytest.raises(ConfigurationError, match=message):
        kind(CARBON, **options)


def test_descriptor_can_be_left_out():
    encoder = GinEncoder(CARBON, hidden_dim=8, layers=1, pooled_dim=5, descriptor_dim=0)
    encoder.fit([example("CCO", [18.2, 57.8])])
    assert encode(encoder, molecules()).features.shape == (len(SMILES), 5)


def test_gine_convolution_is_that_of_dgl():
    torch.manual_seed(0)
    ours = GineConvolution(8)
    with torch.no_grad():
        ours.epsilon.fill_(0.3)
        torch.nn.init.eye_(ours.source.weight)
        ours.source.bias.zero_()
    theirs = dgl.nn.GINEConv(ours.update, init_eps=0.3)
    graph = dgl.graph(([0, 1, 1, 2, 3], [1, 0, 2, 1, 0]))
    states, bonds = torch.randn(4, 8), torch.tensor([0, 5, 239, 17, 5])
    torch.testing.assert_close(ours(graph, states, bonds), theirs(graph, states, ours.bonds(bonds)))


def test_bond_table_tells_kinds_apart():
    table = BondTable(8)(torch.arange(240))
    assert len(torch.unique(table, dim=0)) == 240


def test_environment_counts_do_not_depend_on_the_atom_order():
    molecule = parse_smiles("CC(=O)Nc1ccc(OCC#N)cc1C(F)(F)F")
    order = np.random.default_rng(2).permutation(molecule.GetNumAtoms()).tolist()
    places, counts = environment_counts(molecule)
    others = environment_counts(Chem.RenumberAtoms(molecule, order))
    assert (places == others[0]).all()
    assert (counts == others[1]).all()
    # One environment an atom and radius: bonds fewer than two away run out of new ones.
    assert molecule.GetNumAtoms() <= counts.sum() <= 3 * molecule.GetNumAtoms()


def test_fitted_descriptor_is_white():
    generator = np.random.default_rng(0)
    counted = [environment_counts(parse_smiles(_random_chain(generator))) for _ in range(400)]
    descriptor = EnvironmentDescriptor(8)
    descriptor.fit(counted)
    lengths = [len(places) for places, _ in counted]
    described = descriptor(
        torch.from_numpy(np.concatenate([p for p, _ in counted]).astype(np.int64)),
        torch.tensor([0, *np.cumsum(lengths)[:-1]]),
        torch.from_numpy(np.sqrt(np.concatenate([c for _, c in counted])).astype(np.float32)),
    )
    torch.testing.assert_close(described.mean(0), torch.zeros(8), atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.cov(described.T), torch.eye(8), atol=2e-2, rtol=0)


def _random_chain(generator: np.random.Generator) -> str:
    return "".join(generator.choice(list("CCCCNOS"), size=generator.integers(4, 20)))


def test_import_prints_and_writes_nothing(tmp_path: Path):
    environment = {k: v for k, v in os.environ.items() if k != "DGLBACKEND"}
    environment |= {
        "HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import nmrtk_dgl.gin, nmrtk_dgl.gat"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_hooks_import_neither_torch_nor_dgl():
    code = "import sys, nmrtk_dgl; nmrtk_dgl.structure_encoders(); " + (
        "print([m for m in ('torch', 'dgl', 'rdkit') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
