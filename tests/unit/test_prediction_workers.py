"""Many structures in several processes: order, bounds, failures."""

from __future__ import annotations

import itertools
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest

from nmrtk import prediction_workers
from nmrtk.errors import NmrtkError
from nmrtk.prediction_formats import FORMATS
from nmrtk.prediction_workers import render_in_workers, usual_workers
from nmrtk.rows import StructureRow

BATCH = 4


def structures(count=None):
    numbers = itertools.count(1) if count is None else range(1, count + 1)
    return (StructureRow(f"line {number}", str(number), "C" * number) for number in numbers)


class Pool:
    """Does its work at once, and counts what nobody has fetched."""

    most = 0

    def __init__(self, workers, **options):
        self.pending = 0
        self.closed = False
        Pool.last = self

    def submit(self, work, model, precision, batch, form):
        self.pending += 1
        Pool.most = max(Pool.most, self.pending)
        future: Future = Future()
        future.set_result([(f"{row.id}\n", "") for row in batch])
        fetch = future.result

        def result():
            self.pending -= 1
            return fetch()

        future.result = result
        return future

    def shutdown(self, **options):
        self.closed = True


@pytest.fixture
def pool(monkeypatch):
    monkeypatch.setattr(prediction_workers, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(prediction_workers, "_BATCH_SIZE", BATCH)
    Pool.most = 0
    return Pool


@pytest.mark.parametrize("count", [1, 3, 4, 5, 41])
def test_rows_come_in_order_and_none_is_lost(pool, count):
    rendered = list(render_in_workers("m", structures(count), "jsonl", 3))
    assert rendered == [(f"{number}\n", "") for number in range(1, count + 1)]
    assert pool.last.closed


def test_structures_are_read_as_the_workers_get_on(pool):
    read = []

    def watched():
        for row in structures():
            read.append(row)
            yield row

    rendered = render_in_workers("m", watched(), "jsonl", 2)
    assert [next(rendered) for _ in range(50)][-1] == ("50\n", "")
    assert len(read) <= 50 + 5 * BATCH
    assert pool.most <= 4
    rendered.close()
    assert pool.last.closed


def test_a_process_that_died_is_told(pool, monkeypatch):
    def submit(self, *arguments):
        raise BrokenProcessPool("gone")

    monkeypatch.setattr(pool, "submit", submit)
    with pytest.raises(NmrtkError, match="fewer --workers"):
        list(render_in_workers("m", structures(3), "jsonl", 2))
    assert pool.last.closed


def test_usual_workers_are_within_bounds():
    assert 1 <= usual_workers() <= prediction_workers.MOST_WORKERS


def test_real_processes_give_what_one_gives(model_file, monkeypatch, tmp_path):
    from click.testing import CliRunner

    from nmrtk.cli.main import cli

    monkeypatch.setattr(prediction_workers, "_BATCH_SIZE", BATCH)
    source = tmp_path / "a.smi"
    source.write_text("".join(f"{'C' * n}O m{n}\n" for n in range(1, 12)) + "xyz bad\nCC last\n")
    outputs = []
    for workers in ("0", "2"):
        output = tmp_path / f"{workers}.csv"
        arguments = ["predict", "--input", source, "-o", output, "--workers", workers]
        result = CliRunner().invoke(cli, [*map(str, arguments), "--model", str(model_file)])
        assert result.exit_code == 0, result.output
        assert "1 of 13 structures could not be predicted:\n  line 12" in result.stderr
        outputs.append(output.read_text())
    assert outputs[0] == outputs[1]
    assert set(FORMATS) == {"jsonl", "csv", "sdf", "acs"}


def test_a_missing_model_costs_no_output(tmp_path):
    from click.testing import CliRunner

    from nmrtk.cli.main import cli

    output = tmp_path / "a.jsonl"
    output.write_text("precious")
    arguments = ["predict", "CC", "--workers", "1", "-o", str(output), "--model", "nowhere"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 1
    assert "'nowhere' is neither a folder, a file, nor an installed model" in result.stderr
    assert output.read_text() == "precious"
