"""Spectra to structures: candidates from generators, compared by the forward direction."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from nmrtk.candidates import Candidate, CandidatePool, matched_mae
from nmrtk.checkpoint import LoadedModel
from nmrtk.coverage import Coverage
from nmrtk.errors import UsageError
from nmrtk.formula import Formula
from nmrtk.formula_search import candidate_formulas
from nmrtk.interfaces import CandidateGenerator
from nmrtk.inversion import Inversion
from nmrtk.molecule import Molecule
from nmrtk.other_lines import OtherLines
from nmrtk.query import Query, spectrum_notes
from nmrtk.rows import Row

__all__ = [
    "Candidate",
    "Elucidation",
    "Inversion",
    "Query",
    "elucidate",
    "elucidation_row",
    "matched_mae",
]

SEARCHED_FORMULAS = 8
"""Formulas that a search goes through where the formula is unknown."""

_PROBABILITY_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Elucidation:
    """The answer to a query.

    Args:
        candidates: all that were found, most probable first; with `none_of_these`, the
            probabilities sum to 1.
        none_of_these: probability that the compound is not among them.
        seconds: that it took.
        notes: what the user should know.
        coverage: what tells how much was not found.
        formulas: the most probable ones with their probabilities, where the formula is unknown and
            no library says what to look among.
    """

    candidates: tuple[Candidate, ...]
    none_of_these: float
    seconds: float
    notes: tuple[str, ...]
    coverage: Coverage = field(default_factory=lambda: Coverage(0))
    formulas: Mapping[Formula, float] = field(default_factory=dict)


def elucidate(
    loaded: LoadedModel,
    query: Query,
    generators: Mapping[str, CandidateGenerator],
    *,
    seed: int = 0,
    require_all: bool = True,
    others: Sequence[OtherLines] = (),
) -> Elucidation:
    """Find structures for a spectrum.

    Where neither formula nor library is given, the generators that need a formula search through
    the most probable ones, each for a share of the time by its probability.

    Args:
        loaded: the model.
        query: the lines and what is known of the compound.
        generators: by name; in this order, each may take an equal share of the time left.
        seed: of the draws.
        require_all: raise if a generator cannot serve the query, else leave it out while another
            can.
        others: lines of further nuclei. They decide which of the candidates is right, but not
            whether any is.

    Raises:
        UsageError: a generator needs something that the model or the query lacks, or no formula
            fits the lines and the mass.
        SpectrumError: the codec cannot take the spectrum.
    """
    if others and not loaded.model.encoder.predicts_lines:
        raise UsageError("lines of other nuclei need a model that predicts lines of atoms")
    for other in others:
        if other.spectrum.nucleus == query.spectrum.nucleus:
            raise UsageError(
                f"both spectra are of {query.spectrum.nucleus}: give the lines of another nucleus"
            )
    start = time.monotonic()
    query = replace(query, deadline=start + query.seconds)
    target = torch.from_numpy(loaded.model.codec.encode(query.spectrum))
    entries = None
    if query.library is not None:
        entries = query.library.matching(query.formula, query.least_sites)
    open_search = query.library is None and query.formula is None
    formulas: dict[Formula, float] = {}
    if query.formula is None and (open_search or any(g.needs_formula for g in generators.values())):
        formulas = candidate_formulas(query)
    tried = dict(list(formulas.items())[:SEARCHED_FORMULAS])
    inversion = Inversion(
        *(loaded.model, target, _weights(query, entries, formulas), seed),
        loaded.calibration.score,
    )
    pool = CandidatePool(
        *(loaded, query, target, formulas if open_search else {}, others),
        lambda molecules: _log_priors(generators.values(), molecules, inversion),
    )
    refusals = []
    for place, (name, generator) in enumerate(generators.items()):
        now = time.monotonic()
        share = max(query.deadline - now, 0.0) / (len(generators) - place)
        part = replace(query, deadline=now + share)
        try:
            for one in _parts(part, generator, tried):
                for molecule in generator.generate(one, inversion):
                    pool.offer(molecule, name, not generator.invents, generator.recurrence())
                    if time.monotonic() >= one.deadline:
                        break
        except UsageError as error:
            if require_all:
                raise
            refusals.append(f"{name}: {error}")
    if len(refusals) == len(generators):
        raise UsageError("nothing can propose candidates: " + "; ".join(refusals))
    notes = spectrum_notes(query)
    if entries is not None and not len(entries):
        what = f"of formula {query.formula}" if query.formula else "with enough atoms for the lines"
        notes.append(f"the library has no structure {what}")
    answer = pool.answer(0 if entries is None else len(entries))
    notes += answer.notes
    if open_search:
        notes.append(_formula_note(tried))
    if not answer.candidates:
        notes.append("no candidate was found")
    return Elucidation(
        answer.candidates,
        answer.none_of_these,
        time.monotonic() - start,
        tuple(notes),
        answer.coverage,
        formulas if open_search else {},
    )


def elucidation_row(query: Query, result: Elucidation) -> Row:
    """The row that answers a query; `notes` only where there are some."""
    row: Row = {
        "id": query.id,
        "candidates": [
            {
                "rank": rank,
                "smiles": candidate.smiles,
                "probability": round(candidate.probability, _PROBABILITY_DIGITS),
                "mae_ppm": round(candidate.mae_ppm, 2)
                if math.isfinite(candidate.mae_ppm)
                else None,
                "source": candidate.source,
            }
            for rank, candidate in enumerate(result.candidates[: query.top], start=1)
        ],
        "none_of_these": round(result.none_of_these, _PROBABILITY_DIGITS),
        "seconds": round(result.seconds, 2),
    }
    if result.notes:
        row["notes"] = list(result.notes)
    return row


def _parts(
    query: Query, generator: CandidateGenerator, formulas: Mapping[Formula, float]
) -> Iterator[Query]:
    """The query, or, for a generator that needs a formula where none is known, one for each of
    the most probable, with its share of the time.
    """
    if query.formula is not None or not generator.needs_formula:
        yield query
        return
    if not formulas:
        raise UsageError("no molecular formula fits the lines and the mass")
    left = sum(formulas.values())
    for formula, weight in formulas.items():
        now = time.monotonic()
        share = max(query.deadline - now, 0.0) * weight / left
        left = max(left - weight, 1e-9)
        yield replace(query, formula=formula, deadline=now + share)


def _log_priors(
    generators: Iterable[CandidateGenerator], molecules: Sequence[Molecule], inversion: Inversion
) -> NDArray[np.float64] | None:
    """What the first generator that knows of structures says of them."""
    for generator in generators:
        priors = generator.log_priors(molecules, inversion)
        if priors is not None:
            return priors
    return None


def _weights(
    query: Query, entries: NDArray[np.int64] | None, formulas: Mapping[Formula, float]
) -> Mapping[Formula, float]:
    """Formulas to run backwards with: the query's own, else those of the library's entries, else
    the most probable.
    """
    if query.formula is not None:
        return {query.formula: 1.0}
    if query.library is None or entries is None:
        return formulas
    counts = query.library.formula_counts(entries)
    # The text of a structure without any known element, such as a lone dummy atom, is empty.
    return {_parsed(text): float(count) for text, count in counts.items() if text}


@cache
def _parsed(text: str) -> Formula:
    return Formula.parse(text)


def _formula_note(tried: Mapping[Formula, float]) -> str:
    if not tried:
        return "no molecular formula fits the lines and the mass"
    shown = ", ".join(f"{formula} ({weight:.1%})" for formula, weight in tried.items())
    return f"the formula is unknown; the most probable were searched: {shown}"
