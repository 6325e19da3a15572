"""What the other tests of this folder rely on."""

import pytest

from nmrtk.plugins import KINDS, components


def test_no_plugin_can_be_found_or_imported():
    assert [name for kind in KINDS for name in components(kind)] == []
    for name in ("nmrtk_binned", "nmrtk_binned.binary", "dgl"):
        with pytest.raises(ModuleNotFoundError, match="the core must do without"):
            __import__(name)


def test_plugins_are_there_for_a_test_that_asks_for_them(plugins):
    pytest.importorskip("nmrtk_binned", reason="shows that plugins can be imported")
    assert "binary-128" in components("spectrum_codecs")
