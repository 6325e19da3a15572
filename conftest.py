"""What the tests of the core and of the plugins share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Before torch is imported: with one thread, sums have one order, and the figures are the same on
# every machine. Two test processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent
SHARED_DATA = ROOT.parent / "shared" / "data"

# The same examples in every run; no time limit, because shared machines stall.
settings.register_profile("nmrtk", deadline=None, derandomize=True, database=None)
settings.load_profile("nmrtk")

# `make install` leaves this plugin out there: DGL does not work on these Pythons.
collect_ignore_glob = ["plugins/nmrtk-dgl/*"] if sys.version_info >= (3, 12) else []


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the measured spectra, which are not part of this repository.

    Tests that use it are skipped where it is missing, except in CI (`CI=true`), where they fail.
    """
    if not (SHARED_DATA / "README.md").is_file():
        message = f"measured spectra are not at {SHARED_DATA} (../shared/data of the repository)"
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI=true, but {message}")
        pytest.skip(message)
    return SHARED_DATA


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the repository."""
    return ROOT
