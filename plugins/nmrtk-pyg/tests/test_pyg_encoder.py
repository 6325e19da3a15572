import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from graph_checks import CARBON, CHECKS, build, close, encode, molecules
from nmrtk_pyg import structure_encoders
from nmrtk_pyg.gine import GineConvolution, GineEncoder

from nmrtk.testing import check_structure_encoder


def test_contract():
    check_structure_encoder(GineEncoder)


def test_hook_names_the_class():
    (component,) = structure_encoders()
    assert component.name == "pyg-gine"
    assert component.load() is GineEncoder


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_graph_encoder(check):
    check(GineEncoder)


def test_network_is_that_of_dgl_gin():
    gin = pytest.importorskip("nmrtk_dgl.gin", reason="dgl-gin needs DGL")
    ours, theirs = build(GineEncoder, members=2), build(gin.GinEncoder, members=2)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    # Every name and shape is the same, so a trained model of one can be read by the other.
    ours.load_state_dict(theirs.state_dict())
    first, second = encode(ours, molecules()), encode(theirs, molecules())
    close(first.features, second.features)
    close(first.lines.shift, second.lines.shift)
    close(first.lines.scale, second.lines.scale)
    assert first.lines.shift.std() > 0.1


def test_defaults_are_those_of_dgl_gin():
    gin = pytest.importorskip("nmrtk_dgl.gin", reason="dgl-gin needs DGL")
    ours, theirs = GineEncoder(CARBON).state_dict(), gin.GinEncoder(CARBON).state_dict()
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in theirs.items()}


def test_convolution_is_that_of_pyg(monkeypatch, tmp_path):
    from torch_geometric.nn import GINEConv

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where PyG leaves files
    torch.manual_seed(0)
    ours = GineConvolution(8)
    theirs = GINEConv(ours.update, eps=0.3)
    # PyG sets the weights of what it is given anew, so they are the same now.
    with torch.no_grad():
        ours.epsilon.fill_(0.3)
    edges = torch.tensor([[0, 1, 1, 2, 3], [1, 0, 2, 1, 0]])
    states, bonds = torch.randn(4, 8), torch.tensor([0, 5, 239, 17, 5])
    heard = (ours.source(states), states)
    close(ours(edges, states, bonds), theirs(heard, edges, ours.bonds(bonds)))


def test_atoms_without_bonds_hear_nothing():
    torch.manual_seed(0)
    convolution = GineConvolution(8)
    states, nothing = torch.randn(3, 8), torch.zeros(0, dtype=torch.int64)
    close(convolution(nothing.expand(2, 0), states, nothing), convolution.update(states))


def test_import_and_use_print_and_warn_nothing_and_leave_no_file(tmp_path: Path):
    code = (
        "from nmrtk.nucleus import Nucleus\n"
        "from nmrtk.molecule import parse_smiles\n"
        "from nmrtk_pyg.gine import GineEncoder\n"
        "encoder = GineEncoder(Nucleus.parse('13C'), hidden_dim=8, layers=2)\n"
        "encoder(encoder.collate([encoder.prepare(parse_smiles('CCO'))]))"
    )
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # The folder for compiled code is made by torch itself, also where an optimiser is made.
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_hooks_import_neither_torch_nor_pyg():
    code = "import sys, nmrtk_pyg; nmrtk_pyg.structure_encoders(); " + (
        "print([m for m in ('torch', 'torch_geometric', 'rdkit') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
