import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from graph_checks import CARBON, CHECKS, build, close, encode, molecules

from nmrtk import Component
from nmrtk.errors import ConfigurationError
from nmrtk.testing import check_structure_encoder

pytest.importorskip("dgl", reason="DGL has no wheel for this Python")

from nmrtk_dgl import structure_encoders
from nmrtk_dgl.backend import dgl
from nmrtk_dgl.gat import AttentionConvolution, GatEncoder
from nmrtk_dgl.gin import GineConvolution, GinEncoder

ENCODERS = [GinEncoder, GatEncoder]


@pytest.mark.parametrize("kind", ENCODERS)
def test_contract(kind):
    check_structure_encoder(kind)


def test_hook_names_both_classes():
    found = {one.name: one for one in structure_encoders()}
    assert all(isinstance(one, Component) for one in found.values())
    assert found["dgl-gin"].load() is GinEncoder
    assert found["dgl-gat"].load() is GatEncoder


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_graph_encoder(check, kind):
    check(kind)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, "dropout=1.0 is not allowed"),
        ({"heads": 0}, "heads=0 is not allowed"),
        ({"hidden_dim": 30}, "hidden_dim=30 is not a multiple of heads=4"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(ConfigurationError, match=message):
        GatEncoder(CARBON, **options)


def test_attention_weighs_neighbours_alike_where_scores_are_equal():
    torch.manual_seed(0)
    convolution = AttentionConvolution(16, heads=4)
    torch.nn.init.zeros_(convolution.attention)
    graph = dgl.graph(([1, 2, 3], [0, 0, 0]), num_nodes=4)
    states, bonds = torch.randn(4, 16), torch.tensor([0, 5, 239])
    messages = convolution.source(states[1:]) + convolution.bonds(bonds)
    wanted = convolution.update(states[0] + messages.mean(0))
    close(convolution(graph, states, bonds)[0], wanted)


def test_a_device_that_dgl_cannot_use_is_named(monkeypatch):
    def refuse(*arguments: object, **options: object) -> None:
        raise dgl.DGLError("Check failed: allow_missing: Device API cuda is not enabled.")

    encoder = build(GinEncoder)
    monkeypatch.setattr(dgl, "graph", refuse)
    with pytest.raises(ConfigurationError, match="cannot compute on cpu: its build on PyPI"):
        encode(encoder, molecules())


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
