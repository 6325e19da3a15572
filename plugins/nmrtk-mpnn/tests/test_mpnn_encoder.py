import os
import subprocess
import sys

import pytest
import torch
from graph_checks import CHECKS, build, close, encode, molecules
from nmrtk_mpnn import structure_encoders
from nmrtk_mpnn.encoder import GatedConvolution, MpnnEncoder
from nmrtk_mpnn.layers import all_atoms, shared

from nmrtk.molecule import parse_smiles
from nmrtk.precision import reduce_products
from nmrtk.testing import check_structure_encoder


def test_contract():
    check_structure_encoder(MpnnEncoder)


def test_hook_names_the_class():
    (component,) = structure_encoders()
    assert component.name == "mpnn"
    assert component.load() is MpnnEncoder


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_graph_encoder(check):
    check(MpnnEncoder)


def test_convolution_is_its_formula():
    torch.manual_seed(0)
    convolution = GatedConvolution(8)
    encoder = build(MpnnEncoder, hidden_dim=8)
    batch = encoder.collate([encoder.prepare(parse_smiles("CC(=O)N"))])
    states = torch.randn(4, 8)
    (graph,) = all_atoms(batch, 1)
    gates, offsets = convolution.gates(batch.edges), convolution.offsets(batch.edges)
    heard = states.clone()
    for bond, (source, target) in enumerate(zip(batch.sources, batch.targets, strict=True)):
        heard[target] += torch.relu(states[source] * gates[bond] + offsets[bond])
    close(convolution(graph, states, batch.edges), convolution.update(heard))


def test_sharing_surroundings_changes_nothing():
    # Without dropout, training mode computes every atom.
    encoder = build(MpnnEncoder, members=2)
    apart, together = (encode(encoder.train(mode), molecules()) for mode in (True, False))
    close(apart.features, together.features)
    close(apart.lines.shift, together.lines.shift)
    close(apart.lines.scale, together.lines.scale)


def test_gradients_are_those_of_every_atom():
    encoder = build(MpnnEncoder)
    gradients = []
    for mode in (True, False):
        encoder.train(mode).zero_grad()
        encode(encoder, molecules()).lines.shift.cos().sum().backward()
        gradients.append([p.grad for p in encoder.parameters() if p.grad is not None])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, atol=1e-3, rtol=1e-3)


def test_layers_compute_surroundings_once():
    encoder = build(MpnnEncoder)
    batch = encoder.collate([encoder.prepare(parse_smiles(s)) for s in ("CCCCCC", "CCCCCC")])
    # One bond away: CH3, the CH2 beside it, other CH2; in hexane no more kinds than that.
    assert [len(graph.atoms) for graph in shared(batch, 3)] == [3, 3, 3]
    long = encoder.collate([encoder.prepare(parse_smiles("C" * 20))])
    assert [len(graph.atoms) for graph in shared(long, 3)] == [3, 4, 5]
    assert [len(graph.atoms) for graph in all_atoms(long, 3)] == [20, 20, 20]


def test_messages_of_some_bonds_at_a_time_are_those_of_all(monkeypatch):
    encoder = build(MpnnEncoder)
    at_once = encode(encoder, molecules()).lines.shift
    monkeypatch.setattr("nmrtk_mpnn.encoder._BONDS_AT_ONCE", 3)
    close(encode(encoder, molecules()).lines.shift, at_once)


@pytest.mark.parametrize("options", [{}, {"hidden_dim": 1}, {"pooled_dim": 1}])
def test_products_in_16_bits_change_little(options):
    encoder = build(MpnnEncoder, **options)
    exact = encode(encoder, molecules())
    reduce_products(encoder)
    reduced = encode(encoder, molecules())
    assert reduced.features.dtype == reduced.lines.shift.dtype == torch.float32
    torch.testing.assert_close(reduced.lines.shift, exact.lines.shift, atol=2.0, rtol=0)
    torch.testing.assert_close(reduced.features, exact.features, atol=0.1, rtol=0)


def test_hooks_import_neither_torch_nor_rdkit():
    code = "import sys, nmrtk_mpnn; nmrtk_mpnn.structure_encoders(); " + (
        "print([m for m in ('torch', 'rdkit') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
