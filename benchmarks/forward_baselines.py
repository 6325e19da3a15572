"""Baselines that predict lines, each fitted and run in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from forward_runs import Run, Usage

from nmrtk.checkpoint import load_model
from nmrtk.evaluation_data import Plan, read_material
from nmrtk.molecule import parse_smiles
from nmrtk.plugins import build
from nmrtk.spectrum import Spectrum


def run_baselines(model: str, plan: Plan, names: Sequence[str], smiles: Sequence[str]) -> list[Run]:
    """Fit baselines and predict, one after the other.

    Args:
        model: decides about nucleus and splits.
        plan: names the data.
        names: `hose` or `nearest`.
        smiles: the molecules to predict.
    """
    runs = []
    for name in names:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            runs.append(pool.submit(_run, name, model, plan, smiles).result())
    return runs


def _run(name: str, model: str, plan: Plan, smiles: Sequence[str]) -> Run:
    started = time.perf_counter()
    loaded = load_model(model)
    material = read_material(loaded, plan, learns_lines=name == "hose")
    baseline = build("baselines", name, None, loaded.model.codec)
    assigned = material.assigned_train if baseline.learns_atoms else None
    baseline.fit(material.train if assigned is None else assigned)
    ready = time.perf_counter()
    # One by one, as a user would ask.
    molecules = [parse_smiles(text) for text in smiles]
    spectra: list[Spectrum | None] = [baseline.predict_spectra([m])[0] for m in molecules]
    ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Run(name, spectra, len(smiles), [Usage(ended - started, peak)], [ready - started])
