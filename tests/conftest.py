"""What the tests of the core share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


class SitePackages:
    """A folder that stands for installed distributions, on top of the environment's own.

    Args:
        folder: empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self,
        distribution: str,
        entry_points: dict[str, str],
        sources: dict[str, str],
        version: str = "1.0",
    ) -> None:
        """Lay down what pip would.

        Args:
            distribution: its name, such as `nmrtk-x`.
            entry_points: names and values of the group `nmrtk`.
            sources: contents of files by path.
            version: its version.
        """
        information = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        information.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        (information / "METADATA").write_text(metadata)
        lines = [f"{name} = {value}" for name, value in entry_points.items()]
        (information / "entry_points.txt").write_text("\n".join(["[nmrtk]", *lines, ""]))
        for path, text in sources.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_text(text)

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python with the folder on its path; `variables` are added to the environment."""
        plain = {k: v for k, v in os.environ.items() if not k.startswith("NMRTK_")}
        path = os.pathsep.join([str(self.folder), *filter(None, [plain.get("PYTHONPATH")])])
        return subprocess.run(
            [sys.executable, *arguments],
            env={**plain, "PYTHONPATH": path, **variables},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def nmrtk(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        return self.run("-m", "nmrtk", *arguments, **variables)


@pytest.fixture
def site_packages(tmp_path: Path) -> SitePackages:
    """An empty folder for distributions that a test makes."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    return SitePackages(folder)
