"""Memory of arrays that are freed."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource
import sys
from nmrtk.memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(20):
    bytearray(40_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it does nothing")
def test_pages_are_cleared_once_and_not_for_each_array():
    def faults(how):
        command = [sys.executable, "-c", FAULTS, how]
        return int(subprocess.run(command, capture_output=True, check=True).stdout)

    kept, given_back = faults("keep"), faults("leave")
    assert given_back - kept > 10 * 40_000_000 // 4096
