"""A virtual environment beside this one: the same dependencies, nmrtk from a built wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

_OURS = ("nmrtk", "_nmrtk", "__editable__")
_SECONDS = 600


class FreshEnvironment:
    """Sees what this environment sees, but neither the checkout nor any plugin of it.

    Nothing is downloaded: what packages and builds need is taken from this environment.

    Args:
        folder: empty.
        repository: of whose core the wheel is built.
    """

    def __init__(self, folder: Path, repository: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.work.mkdir()
        venv.create(folder / "venv", with_pip=False, symlinks=True)
        self._scripts = folder / "venv" / "bin"
        self._borrow()
        wheels = folder / "wheels"
        self._pip("wheel", "--no-deps", "--wheel-dir", str(wheels), str(repository))
        self.install(*wheels.glob("*.whl"))

    def install(self, *packages: Path) -> None:
        """Install wheels or folders with sources, and check what they need."""
        self._pip("install", *map(str, packages))

    def run(self, *arguments: str) -> str:
        """Output of a script of the environment, such as `python`, run in `work`."""
        name, *rest = arguments
        return _run([str(self._scripts / name), *rest], self.work)

    def _pip(self, command: str, *arguments: str) -> None:
        python = str(self._scripts / "python")
        options = ["--quiet", "--no-index", "--no-build-isolation"]
        pip = [sys.executable, "-m", "pip", "--python", python]
        _run([*pip, command, *options, *arguments], self.work)

    def _borrow(self) -> None:
        """Links to what this environment has installed, without nmrtk and its plugins."""
        borrowed = self.folder / "borrowed"
        borrowed.mkdir()
        paths = sysconfig.get_paths()
        for source in {Path(paths["purelib"]), Path(paths["platlib"])}:
            for entry in source.iterdir():
                if not entry.name.startswith(_OURS) and entry.suffix != ".pth":
                    (borrowed / entry.name).symlink_to(entry)
        (site,) = (self.folder / "venv").glob("lib/python*/site-packages")
        (site / "borrowed.pth").write_text(f"{borrowed}\n")


def _run(command: list[str], folder: Path) -> str:
    ours = ("NMRTK_", "PYTHON", "VIRTUAL_ENV")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    completed = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=_SECONDS
    )
    assert completed.returncode == 0, (command, completed.stdout, completed.stderr)
    return completed.stdout
