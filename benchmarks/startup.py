"""Time until `nmrtk --help` and `nmrtk list` have answered: the median of several runs."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 9
COMMANDS = (["--help"], ["list"], ["plugins"], ["elucidate", "--help"])


def measure(arguments: list[str]) -> float:
    """Wall time in seconds of one run, from an empty interpreter to its end."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "nmrtk", *arguments], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    print(f"{'command':<24} {'median s':>9} {'slowest s':>10}   ({RUNS} runs after one to warm up)")
    for arguments in COMMANDS:
        measure(arguments)
        times = [measure(arguments) for _ in range(RUNS)]
        name = " ".join(["nmrtk", *arguments])
        print(f"{name:<24} {statistics.median(times):>9.3f} {max(times):>10.3f}")


if __name__ == "__main__":
    main()
