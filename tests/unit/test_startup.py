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
    [["--help"], ["list"], ["list", "--json"], ["plugins"], ["predict", "--help"], ["--version"]],
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
