"""The demo, with one epoch: the whole way through real commands' code."""

import re
import subprocess
import sys

import pytest

pytest.importorskip("dgl", reason="the demo trains dgl-gin, which needs DGL")


def test_demo_ends_in_a_page_that_holds_everything(tmp_path):
    command = [sys.executable, "-m", "nmrtk", "demo", "-o", str(tmp_path / "demo"), "--epochs", "1"]
    for attempt in ("first", "again"):  # an earlier demo is replaced
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (attempt, done.stderr)
        page = (tmp_path / "demo" / "demo.html").read_text(encoding="utf-8")
        assert page.count("<svg") > 20
        assert not re.search(r"""(src|href)=["']?https?:""", page)
        assert "none of these" in page
    assert (tmp_path / "demo" / "run" / "model.safetensors").is_file()
    assert sorted(path.name for path in (tmp_path / "demo").iterdir() if path.is_dir()) == ["run"]
