"""Predictors of lines, each in processes of its own: what they say, how fast, in what memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmrtk.nucleus import Nucleus
from nmrtk.recipe import Precision
from nmrtk.spectrum import Peak, Spectrum

CSP5, CSP5_NUCLEUS = "csp5==0.3.1", "13C"
CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"

_MIB = 2**20
_POLL_SECONDS = 0.1
_LAST_LINES = 3


class Unavailable(Exception):
    """A predictor cannot be had; the message says why."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a command took.

    Args:
        seconds: from its start to its end.
        peak_mib: most memory of all its processes together; what they share counts once.
    """

    seconds: float
    peak_mib: float


@dataclass(slots=True)
class Run:
    """What a predictor says of B molecules, and what that took.

    Args:
        name: the predictor's.
        spectra: B; None where it gives none.
        timed: number of molecules of the run that was timed.
        usages: of that run, in each round.
        starts: seconds for one molecule from a cold start, in each round.
        command: that was timed; empty where it was no command.
        start_command: the same for one molecule.
    """

    name: str
    spectra: list[Spectrum | None]
    timed: int
    usages: list[Usage]
    starts: list[float]
    command: Sequence[str] = ()
    start_command: Sequence[str] = ()

    @property
    def usage(self) -> Usage:
        """That of the median time."""
        return sorted(self.usages, key=lambda usage: usage.seconds)[len(self.usages) // 2]

    @property
    def start_seconds(self) -> float:
        """Median of the starts."""
        return statistics.median(self.starts)

    @property
    def rate(self) -> float:
        """Molecules a second, parsing included, start-up not."""
        return self.timed / max(self.usage.seconds - self.start_seconds, 1e-3)

    def repeat(self) -> None:
        """Time the commands once more, if there are any."""
        if self.command:
            self.starts.append(measure(self.start_command).seconds)
            self.usages.append(measure(self.command))


def run_nmrtk(
    model: str,
    nucleus: Nucleus,
    smiles: Sequence[str],
    others: Sequence[str],
    folder: Path,
    precision: Precision,
) -> Run:
    """`nmrtk predict` on a file.

    Args:
        model: as the command takes it.
        nucleus: of the model.
        smiles: the molecules to predict.
        others: further molecules for the time alone, since a few are done too fast to measure.
        folder: for what the command reads and writes.
        precision: as the command takes it.
    """
    command = [sys.executable, "-m", "nmrtk", "predict", "--model", model]
    command += ["--precision", precision]
    start_command = [*command, "CCO"]
    start = _cold_start(start_command)
    source, output = folder / "structures.jsonl", folder / "predicted.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for index, text in enumerate([*smiles, *others]):
            file.write(json.dumps({"id": index, "smiles": text}) + "\n")
    command += ["--input", str(source), "-o", str(output)]
    usage = measure(command)
    spectra: list[Spectrum | None] = [None] * len(smiles)
    with output.open(encoding="utf-8") as file:
        for line, index in zip(file, range(len(smiles)), strict=False):
            row = json.loads(line)
            if "peaks" in row:
                spectra[index] = _spectrum(nucleus, row["peaks"])
    timed = len(smiles) + len(others)
    return Run(f"nmrtk, {precision}", spectra, timed, [usage], [start], command, start_command)


def run_csp5(cache: Path, smiles: Sequence[str], cores: int, folder: Path) -> Run:
    """The command `csp5` on a file, with its defaults.

    Args:
        cache: where its environment is or will be.
        smiles: the molecules to predict.
        cores: number of processes that make geometries.
        folder: for what the command reads and writes.

    Raises:
        Unavailable: it cannot be installed.
    """
    command = [str(_install_csp5(cache) / "bin" / "csp5"), "--nucleus", CSP5_NUCLEUS, "--no-status"]
    command += ["--device", "cpu"]
    start_command = [*command, "--smiles", "CCO"]
    start = _cold_start(start_command)
    source, output = folder / "csp5.smi", folder / "csp5.json"
    command += ["--num-workers", str(cores)]
    command += ["--smiles-file", str(source), "--output-json", str(output)]

    def predict(some: Sequence[str]) -> Usage:
        source.write_text("\n".join(some) + "\n", encoding="utf-8")
        return measure(command)

    predict(smiles)
    nucleus = Nucleus.parse(CSP5_NUCLEUS)
    found = {
        molecule["smiles"]: _spectrum(
            nucleus,
            (
                {"ppm": peak["shift_ppm"], "atoms": [peak["atom_map"] - 1]}
                for peak in molecule["predictions"]
            ),
        )
        for molecule in json.loads(output.read_text(encoding="utf-8"))["molecules"]
    }
    # It can search for minutes for a geometry that it never finds; that is not its usual speed.
    answered = [text for text in smiles if text in found]
    spectra = [found.get(text) for text in smiles]
    usages = [predict(answered)]
    return Run("csp5", spectra, len(answered), usages, [start], command, start_command)


def measure(command: Sequence[str]) -> Usage:
    """Run a command, quietly unless it fails."""
    with tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, text=True)
        peak, ended = [0.0], threading.Event()

        def watch() -> None:
            while not ended.wait(_POLL_SECONDS):
                peak[0] = max(peak[0], sum(map(_proportional_bytes, _with_children(process.pid))))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        process.wait()
        seconds = time.perf_counter() - started
        ended.set()
        watcher.join()
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{errors.read()}")
    return Usage(seconds, peak[0] / _MIB)


def _cold_start(command: Sequence[str]) -> float:
    """Seconds from a cold start, after one run that warms the file cache."""
    measure(command)
    return measure(command).seconds


def _install_csp5(cache: Path) -> Path:
    """The environment of csp5, made where it is missing.

    The constraints keep torch, NumPy and RDKit at the versions that nmrtk is tested with.

    Raises:
        Unavailable: pip cannot install it.
    """
    home = cache / CSP5.replace("==", "-")
    stamp = home / ".installed"
    if stamp.exists():
        return home
    print(f"installing {CSP5} into {home}, about 2 GB", file=sys.stderr)
    venv.create(home, with_pip=True, clear=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    done = subprocess.run(
        [*pip, "--disable-pip-version-check", "--constraint", str(CONSTRAINTS), CSP5],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = " ".join(done.stderr.strip().splitlines()[-_LAST_LINES:])
        raise Unavailable(f"{CSP5} cannot be installed: {reason}")
    stamp.touch()
    return home


def _spectrum(nucleus: Nucleus, peaks: Iterable[Mapping[str, Any]]) -> Spectrum:
    lines = tuple(
        Peak(
            peak["ppm"],
            multiplicity=peak.get("multiplicity", ""),
            atoms=tuple(peak["atoms"]),
            sigma=peak.get("sigma"),
        )
        for peak in peaks
    )
    return Spectrum(str(nucleus), lines, len(lines))


def _with_children(pid: int) -> Iterator[int]:
    """A process and all that it started, as far as they still run."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _with_children(int(child))


def _proportional_bytes(pid: int) -> int:
    """Resident memory of a process, shared pages divided among those that share them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def limit_cores(cores: int) -> None:
    """Let this process and all that it starts run on so many cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    os.environ["OMP_NUM_THREADS"] = str(cores)
