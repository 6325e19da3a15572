"""Contract of candidate generators."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import numpy as np

from nmrtk.elucidation import Inversion, Query
from nmrtk.errors import MoleculeError, UsageError
from nmrtk.interfaces import CandidateGenerator
from nmrtk.molecule import Molecule, canonical_smiles, parse_smiles
from nmrtk.testing.plain import plain_inversion, plain_query
from nmrtk.testing.report import Report

_SECONDS = 5.0
_LOOKED_AT = 50
_AFTER_DEADLINE = 1000
_WEIGHED = ("CCO", "OCC", "COC", "[Na+].[Cl-]", "CCCCCCCCCC")


def check_candidate_generator(
    build: Callable[[], CandidateGenerator],
    *,
    query: Query | None = None,
    make_inversion: Callable[[], Inversion] = plain_inversion,
) -> None:
    """Check everything that nmrtk relies on in a candidate generator.

    Args:
        build: the class, or a function that makes an instance.
        query: one for which it finds candidates. Unless given, the lines and the formula of
            ethanol, without a library; a generator that needs more may refuse that one.
        make_inversion: the model run backwards for the query, the same at every call. Unless
            given, that of a small model whose encoder decodes.

    Raises:
        AssertionError: a property does not hold; says what was found.

    Example:
        A test of a plugin is one line: `check_candidate_generator(MyGenerator)`.
    """
    generator = build()
    report = Report(generator)
    report.options(type(generator), 0)
    chosen = query or plain_query()
    runs: list[list[Molecule]] = []
    shares: list[float | None] = []
    for _ in range(2):
        timed = replace(chosen, deadline=time.monotonic() + _SECONDS)
        try:
            found = generator.generate(timed, make_inversion())
            runs.append([])
            for molecule in islice(found, _LOOKED_AT):
                runs[-1].append(molecule)
                shares.append(generator.recurrence())
        except UsageError as error:
            report.require(
                "serves the query given", query is None, f"UsageError: {error}", "it does"
            )
            report.skip("candidates", f"the query of the check is refused: {error}")
            break
    else:
        _check_candidates(report, *runs)
        report.require(
            "recurrence",
            all(share is None or 0 < share <= 1 for share in shares),
            shares[:5],
            "recurrence is a share above 0 to 1, or None where there are no attempts",
        )
    _check_deadline(report, generator, chosen, make_inversion)
    _check_bare_query(report, generator, chosen, make_inversion)
    _check_log_priors(report, generator, make_inversion)


def _check_candidates(report: Report, first: list[Molecule], second: list[Molecule]) -> None:
    report.require("finds candidates", bool(first), "none", "it finds some for the query")
    for molecule in first:
        what, contract = "valid candidates", "every candidate is a valid molecule with atoms"
        report.require(
            what, isinstance(molecule, Molecule), f"a {type(molecule).__name__}", contract
        )
        try:
            parse_smiles(canonical_smiles(molecule))
        except MoleculeError as error:
            report.require(what, False, error, contract)
    texts = [[canonical_smiles(molecule) for molecule in run] for run in (first, second)]
    shared = min(map(len, texts))
    report.require(
        "same candidates again",
        texts[0][:shared] == texts[1][:shared],
        f"{texts[0][:3]}, then {texts[1][:3]}",
        "the same query and the same draws give the same candidates, as far as time allows",
    )


def _check_deadline(
    report: Report,
    generator: CandidateGenerator,
    query: Query,
    make_inversion: Callable[[], Inversion],
) -> None:
    late = replace(query, deadline=-math.inf)
    try:
        count = sum(1 for _ in islice(generator.generate(late, make_inversion()), _AFTER_DEADLINE))
    except UsageError:
        report.skip("deadline", "the query is refused")
        return
    report.require(
        "deadline",
        count < _AFTER_DEADLINE,
        f"{count} candidates and no end after the deadline",
        "a generator ends when query.deadline has passed",
    )


def _check_bare_query(
    report: Report,
    generator: CandidateGenerator,
    query: Query,
    make_inversion: Callable[[], Inversion],
) -> None:
    bare = replace(query, formula=None, library=None, deadline=time.monotonic() + _SECONDS)
    contract = "what the query lacks is a UsageError"
    try:
        list(islice(generator.generate(bare, make_inversion()), 1))
    except UsageError as error:
        report.require("query of lines alone", bool(str(error)), "an error without text", contract)
        return
    except Exception as error:
        report.require("query of lines alone", False, f"{type(error).__name__}: {error}", contract)
    report.require("query of lines alone", True, "", contract)


def _check_log_priors(
    report: Report, generator: CandidateGenerator, make_inversion: Callable[[], Inversion]
) -> None:
    molecules = [parse_smiles(text) for text in _WEIGHED]
    priors = generator.log_priors(molecules, make_inversion())
    if priors is None:
        report.skip("priors of structures", "it tells none")
        return
    values = np.asarray(priors, np.float64)
    report.require(
        "shape of the priors",
        values.shape == (len(molecules),),
        values.shape,
        "log_priors gives one number for each molecule, or None",
    )
    report.require(
        "priors of structures",
        not np.isinf(values).any() and bool(np.isclose(values[0], values[1], equal_nan=True)),
        values.tolist(),
        "priors are finite, or nan where nothing is known, and do not depend on the order of atoms",
    )
