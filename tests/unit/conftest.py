"""The core is tested alone: no plugin and no graph library can be imported or found."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nmrtk.checkpoint import Calibration, save_model
from nmrtk.model import build_model
from nmrtk.plugins import KINDS, ONLY_VARIABLE, components, registry
from nmrtk.recipe import make_recipe

NOT_CORE = re.compile(r"(nmrtk_\w+|dgl|torch_geometric|numba)(\.|$)")


class Refusal:
    """Stands before the finders of modules."""

    def find_spec(self, name: str, *_: object) -> None:
        """Raise for what is not the core's."""
        if NOT_CORE.match(name):
            raise ModuleNotFoundError(f"the core must do without {name}", name=name)


@pytest.fixture(scope="session")
def plugins() -> None:
    """What a test asks for that is about the core and installed plugins together."""
    if not any(components(kind) for kind in KINDS):
        pytest.skip("the core is installed without any plugin")


@pytest.fixture(autouse=True)
def alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if nothing but the core were installed, unless the test asks for `plugins`."""
    if "plugins" in request.fixturenames:
        yield
        return
    monkeypatch.setenv(ONLY_VARIABLE, "")
    monkeypatch.setattr(sys, "meta_path", [Refusal(), *sys.meta_path])
    for name in [name for name in sys.modules if NOT_CORE.match(name)]:
        monkeypatch.delitem(sys.modules, name)
    registry.cache_clear()
    yield
    registry.cache_clear()


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory, plugins: None) -> Path:
    """A model that nobody trained, of the smallest parts that are installed."""
    pytest.importorskip("nmrtk_mpnn", reason="this encoder needs nothing but torch")
    pytest.importorskip("nmrtk_binned", reason="the default codec is in nmrtk-binned")
    pytest.importorskip("nmrtk_irevnet", reason="the default backbone is in nmrtk-irevnet")
    recipe = make_recipe(
        {
            "encoder": {"name": "mpnn", "hidden_dim": 8, "layers": 1},
            "codec": {"name": "binary-128"},
            "backbone": {"name": "irevnet-flat", "depth": 1, "hidden_dim": 8},
        },
        "test",
    )
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, build_model(recipe), recipe, Calibration(), {})
    return path
