"""Help and lists import nothing heavy."""

from __future__ import annotations

import pytest

HEAVY = ("torch", "dgl", "rdkit", "sklearn", "scipy", "h5py", "numpy", "pandas", "lightning_fabric")

PROGRAM = """
import sys
from nmrtk.cli.main import cli
try:
    cli(sys.argv[1:], prog_name="nmrtk")
finally:
    print("\\nheavy:", [name for name in {heavy!r} if name in sys.modules])
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["list"],
        ["list", "--json"],
        ["plugins"],
        ["predict", "--help"],
        ["new-plugin", "--help"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(site_packages, arguments):
    completed = site_packages.run("-c", PROGRAM.format(heavy=HEAVY), *arguments)
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.endswith("\nheavy: []\n")


def test_the_check_sees_a_plugin_that_imports_something_heavy(site_packages):
    site_packages.add("nmrtk-slow", {"slow": "slow"}, {"slow.py": "import numpy"})
    completed = site_packages.run("-c", PROGRAM.format(heavy=HEAVY), "list")
    assert completed.stdout.endswith("\nheavy: ['numpy']\n")


def test_what_is_impossible_is_told_before_anything_large_is_loaded(site_packages):
    site_packages.add(
        "nmrtk-stub",
        {"stub": "stub"},
        {
            "stub.py": "from nmrtk import Component, hookimpl\n"
            "@hookimpl\n"
            "def pretrained_models():\n"
            "    return [Component('13c', 'stub:None', 'no model')]\n"
        },
    )
    arguments = ["elucidate", "206.9", "--formula", "H2O"]
    completed = site_packages.run(
        "-c", PROGRAM.format(heavy=("torch", "h5py")), *arguments, NMRTK_PLUGINS="stub"
    )
    assert completed.returncode == 1
    assert "the formula H2O has no C" in completed.stderr
    assert completed.stdout.endswith("\nheavy: []\n")
