"""The benchmark's own parts; the predictors that it runs are tested elsewhere."""

import json
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from nmrtk.interfaces import Example
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Peak, Spectrum

CARBON = Nucleus.parse("13C")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

# Stands in for the command of csp5: ethanol for every molecule but water.
FAKE_CSP5 = """#!{python}
import json, sys
arguments = dict(zip(sys.argv[1::1], sys.argv[2::1]))
if "--smiles-file" in arguments:
    lines = [{{"atom_map": 1, "shift_ppm": 18.4}}, {{"atom_map": 2, "shift_ppm": 58.1}}]
    smiles = open(arguments["--smiles-file"]).read().split()
    found = [{{"smiles": s, "predictions": lines}} for s in smiles if s != "O"]
    json.dump({{"molecules": found}}, open(arguments["--output-json"], "w"))
"""


@pytest.fixture
def modules(monkeypatch):
    """`forward_runs`, `forward_baselines` and `forward`, as the script imports them."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("forward_runs", "forward_baselines", "forward")
    yield [__import__(name) for name in names]
    for name in names:
        sys.modules.pop(name, None)


def test_csp5_is_run_by_its_command_and_its_atoms_count_from_0(modules, tmp_path):
    runs, _, forward = modules
    program = tmp_path / runs.CSP5.replace("==", "-") / "bin" / "csp5"
    program.parent.mkdir(parents=True)
    program.write_text(FAKE_CSP5.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (program.parent.parent / ".installed").touch()
    run = runs.run_csp5(tmp_path, ["CCO", "O"], 1, tmp_path)
    assert run.spectra[1] is None
    assert [(p.ppm, p.atoms) for p in run.spectra[0].peaks] == [(18.4, (0,)), (58.1, (1,))]
    assert (run.timed, run.start_seconds > 0, run.rate > 0) == (1, True, True)
    run.repeat()
    assert (len(run.usages), len(run.starts)) == (2, 2)
    observed = Spectrum("13C", (Peak(18.0, multiplicity="Q"), Peak(58.0, multiplicity="T")))
    some = [Example("e", parse_smiles("CCO"), observed), Example("w", parse_smiles("O"), observed)]
    rows = forward.accuracy(CARBON, some, [run])
    assert {row.group: row.molecules for row in rows} == {"usual molecules": 1, "all molecules": 1}
    assert rows[0].score.mae == pytest.approx(np.mean([0.4, 0.1]))
    text = forward.Comparison({}, 1, {"x": rows}, [run], ["a note"])
    assert "csp5" in text.to_markdown()
    assert json.loads(text.to_json())["speed"][0]["unanswered"] == 1


def test_times_are_medians_of_the_rounds(modules):
    runs, _, _ = modules
    usages = [runs.Usage(seconds, 100 * seconds) for seconds in (9.0, 3.0, 5.0)]
    run = runs.Run("some", [], 8, usages, [1.0, 4.0, 0.5])
    assert (run.usage.peak_mib, run.start_seconds, run.rate) == (500.0, 1.0, 2.0)
    run.repeat()  # no command, no further round
    assert len(run.usages) == 3


def test_a_command_that_fails_says_why(modules):
    with pytest.raises(SystemExit, match="no such thing"):
        modules[0].measure([sys.executable, "-c", "import sys; sys.exit('no such thing')"])
