"""Contract of structure encoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from rdkit import Chem
from torch import Tensor

from nmrtk.errors import MoleculeError
from nmrtk.interfaces import AtomLines, Encoded, Example, StructureEncoder
from nmrtk.molecule import Molecule, canonical_smiles
from nmrtk.nucleus import DEFAULT_NUCLEUS, Nucleus
from nmrtk.testing.material import examples as default_examples
from nmrtk.testing.material import odd_molecules
from nmrtk.testing.report import TOLERANCES, Report, difference, has_gradient, same_after_reload

_SAME = TOLERANCES[torch.float32].same
_LEAST = 4


def check_structure_encoder(
    build: Callable[[Nucleus], StructureEncoder],
    *,
    examples: Sequence[Example] | None = None,
    nucleus: str = DEFAULT_NUCLEUS,
) -> None:
    """Check everything that nmrtk relies on in a structure encoder.

    Args:
        build: the class, or a function that makes an instance for a nucleus.
        examples: molecules with spectra; those that the encoder refuses are left out. Small
            organic molecules with 13C spectra unless given.
        nucleus: to build it for.

    Raises:
        AssertionError: a property does not hold; says what was measured and what is allowed.

    Example:
        A test of a plugin is one line: `check_structure_encoder(MyEncoder)`.
    """
    torch.manual_seed(0)
    context = Nucleus.parse(nucleus)
    encoder = build(context)
    report = Report(encoder)
    report.options(type(encoder), 1)
    _check_refusals(report, encoder)
    kept = _encodable(report, encoder, examples or default_examples(context))
    encoder.fit(kept)
    molecules = [example.molecule for example in kept]
    encoder.eval()
    encoded = _encode(encoder, molecules)
    _check_features(report, encoder, encoded, len(molecules))
    _check_lines(report, encoder, molecules, encoded.lines)
    _check_many(report, encoder, molecules, encoded)
    _check_rows(report, encoder, molecules, encoded)
    _check_atom_order(report, encoder, molecules, encoded)
    _check_odd_molecules(report, encoder)
    _check_decode(report, encoder, molecules, encoded.features)
    _check_generation_penalty(report, encoder, encoded.features)
    _check_gradients(report, encoder, molecules)
    same_after_reload(
        report, encoder, build(context), lambda part: _encode(part, molecules).features
    )


def _encode(encoder: StructureEncoder, molecules: Sequence[Molecule]) -> Encoded:
    with torch.no_grad():
        return _forward(encoder, molecules)


def _forward(encoder: StructureEncoder, molecules: Sequence[Molecule]) -> Encoded:
    encoded: Encoded = encoder(encoder.collate([encoder.prepare(m) for m in molecules]))
    return encoded


def _check_refusals(report: Report, encoder: StructureEncoder) -> None:
    report.raises(
        "molecule without atoms",
        MoleculeError,
        lambda: encoder.prepare(Chem.Mol()),
        "prepare raises MoleculeError for what the encoder cannot represent",
    )


def _encodable(
    report: Report, encoder: StructureEncoder, examples: Sequence[Example]
) -> list[Example]:
    kept = []
    for example in examples:
        try:
            encoder.prepare(example.molecule)
        except MoleculeError:
            continue
        kept.append(example)
    report.require(
        f"encodes {len(kept)} of {len(examples)} molecules",
        len(kept) >= _LEAST,
        f"only {len(kept)} of {len(examples)} molecules that it can represent",
        f"a check needs at least {_LEAST}: give it `examples` that fit the encoder",
    )
    return kept


def _check_features(report: Report, encoder: StructureEncoder, encoded: Encoded, rows: int) -> None:
    features = encoded.features
    report.require(
        "shape and type of features",
        features.shape == (rows, encoder.width) and features.dtype == torch.float32,
        f"{tuple(features.shape)} {features.dtype} for {rows} molecules and width {encoder.width}",
        "features are (B, width), float32",
    )
    report.require(
        "finite features", bool(torch.isfinite(features).all()), "nan or inf", "all are finite"
    )


def _check_many(
    report: Report, encoder: StructureEncoder, molecules: Sequence[Molecule], encoded: Encoded
) -> None:
    contract = "prepare_many gives for each molecule what prepare gives, or its MoleculeError"
    found = encoder.prepare_many([molecules[0], Chem.Mol(), *molecules[1:]])
    refused = [index for index, one in enumerate(found) if isinstance(one, MoleculeError)]
    report.require(
        "many prepared together, one of them without atoms",
        len(found) == len(molecules) + 1 and refused == [1],
        f"{len(found)} for {len(molecules) + 1} molecules, {len(refused)} of them errors",
        contract,
    )
    with torch.no_grad():
        again: Encoded = encoder(encoder.collate([found[0], *found[2:]]))
    report.measure(
        "prepared together or each alone",
        difference(encoded.features, again.features),
        0.0,
        contract,
    )


def _check_rows(
    report: Report, encoder: StructureEncoder, molecules: Sequence[Molecule], encoded: Encoded
) -> None:
    contract = "the output for one molecule does not depend on the others of its batch"
    again = _encode(encoder, molecules)
    report.measure(
        "same batch twice, evaluation mode",
        difference(encoded.features, again.features),
        0.0,
        "in evaluation mode the features of a batch are always the same",
    )
    alone = [_encode(encoder, [molecule]) for molecule in molecules]
    features = torch.cat([one.features for one in alone])
    report.measure(
        "row alone and in a batch", difference(encoded.features, features), _SAME, contract
    )
    if encoded.lines is not None:
        shifts = torch.cat([one.lines.shift for one in alone if one.lines is not None])
        report.measure(
            "lines alone and in a batch", difference(encoded.lines.shift, shifts), _SAME, contract
        )
    backwards = _encode(encoder, molecules[::-1])
    report.measure(
        "batch in another order",
        difference(encoded.features, backwards.features.flip(0)),
        _SAME,
        "rows stand in the order in which the batch was collated",
    )
    encoder.train()
    first, second = _encode(encoder, molecules), _encode(encoder, molecules)
    if difference(first.features, second.features) > 0.0:
        report.skip("row alone and in a batch, training mode", "training mode is random")
    else:
        # Batch norm gives itself away here: it mixes rows only in training mode.
        half = _encode(encoder, molecules[: len(molecules) // 2]).features
        report.measure(
            "row in a batch and in half of it, training mode",
            difference(first.features[: len(half)], half),
            _SAME,
            contract,
        )
    encoder.eval()


def _check_atom_order(
    report: Report, encoder: StructureEncoder, molecules: Sequence[Molecule], encoded: Encoded
) -> None:
    # Whether that holds can depend on an option, so an instance may say so.
    if not encoder.order_invariant:
        report.skip("atom order", "order_invariant is False")
        return
    generator = np.random.default_rng(0)
    # Atom i of a shuffled molecule is atom orders[row][i] of the original.
    orders = [generator.permutation(molecule.GetNumAtoms()).tolist() for molecule in molecules]
    shuffled = [
        Chem.RenumberAtoms(molecule, order)
        for molecule, order in zip(molecules, orders, strict=True)
    ]
    other = _encode(encoder, shuffled)
    report.measure(
        "features after shuffling the atoms",
        difference(encoded.features, other.features),
        _SAME,
        "with order_invariant, features do not depend on the order of the atoms",
    )
    if encoded.lines is None or other.lines is None:
        return
    moved = [
        (row, order[site])
        for row, (molecule, order) in enumerate(zip(shuffled, orders, strict=True))
        for site in encoder.nucleus.sites(molecule)
    ]
    back = torch.tensor(sorted(range(len(moved)), key=moved.__getitem__), dtype=torch.int64)
    report.measure(
        "lines after shuffling the atoms",
        difference(encoded.lines.shift, other.lines.shift[back]),
        _SAME,
        "the line of an atom goes with the atom, by ascending index (Nucleus.sites)",
    )


def _check_lines(
    report: Report,
    encoder: StructureEncoder,
    molecules: Sequence[Molecule],
    lines: AtomLines | None,
) -> None:
    report.require(
        "lines only if predicts_lines",
        encoder.predicts_lines == (lines is not None),
        f"predicts_lines is {encoder.predicts_lines}, lines are "
        f"{'missing' if lines is None else 'there'}",
        "forward returns lines where predicts_lines is True, else None",
    )
    if lines is None:
        return
    rows = [row for row, m in enumerate(molecules) for _ in range(len(encoder.nucleus.sites(m)))]
    report.require(
        "one line a site",
        lines.molecule.tolist() == rows and lines.molecule.dtype == torch.int64,
        f"rows {lines.molecule.tolist()} instead of {rows}",
        "lines stand molecule by molecule, one for each of Nucleus.sites; molecule is int64",
    )
    report.require(
        "shapes of lines",
        lines.shift.shape == lines.scale.shape == (len(rows),),
        f"shift {tuple(lines.shift.shape)}, scale {tuple(lines.scale.shape)}",
        "shift and scale are (A,)",
    )
    finite = torch.isfinite(lines.shift).all() and torch.isfinite(lines.scale).all()
    report.require(
        "finite shifts, positive scales",
        bool(finite) and bool((lines.scale > 0).all()),
        f"smallest scale {lines.scale.min().item():g}",
        "shifts are finite and scales positive",
    )


def _check_odd_molecules(report: Report, encoder: StructureEncoder) -> None:
    refused = 0
    contract = "prepare raises MoleculeError, or the features are finite"
    for molecule in odd_molecules():
        what = f"odd molecule {canonical_smiles(molecule)[:20]}"
        try:
            prepared = encoder.prepare(molecule)
        except MoleculeError:
            refused += 1
            continue
        except Exception as error:
            report.require(what, False, f"{type(error).__name__}: {error}", contract)
        try:
            with torch.no_grad():
                encoded: Encoded = encoder(encoder.collate([prepared]))
        except Exception as error:
            report.require(
                what, False, f"prepared, but then {type(error).__name__}: {error}", contract
            )
        sites = len(encoder.nucleus.sites(molecule))
        good = bool(torch.isfinite(encoded.features).all())
        if encoded.lines is not None:
            good = good and encoded.lines.shift.shape == (sites,)
        report.require(what, good, "features that are not finite, or a wrong count", contract)
    report.skip("odd molecules", f"{refused} refused with MoleculeError")


def _check_decode(
    report: Report, encoder: StructureEncoder, molecules: Sequence[Molecule], features: Tensor
) -> None:
    if not encoder.decodes:
        report.skip("decode", "decodes is False")
        return
    contract = "decode gives for each row the molecule, or None where the features mean none"
    with torch.no_grad():
        decoded = encoder.decode(features)
        noise = encoder.decode(torch.randn_like(features))
    wanted = [canonical_smiles(molecule) for molecule in molecules]
    found = [None if molecule is None else canonical_smiles(molecule) for molecule in decoded]
    wrong = [pair for pair in zip(wanted, found, strict=False) if pair[0] != pair[1]]
    report.require(
        "decode round trip",
        len(found) == len(wanted) and not wrong,
        f"{len(found)} molecules, of which differ (wanted, found): {wrong[:3]}",
        contract,
    )
    kinds = {type(molecule).__name__ for molecule in noise}
    report.require(
        "decode noise",
        len(noise) == len(features) and kinds <= {"Mol", "RWMol", "NoneType"},
        f"{len(noise)} entries of {sorted(kinds)} for {len(features)} rows",
        contract,
    )


def _check_generation_penalty(report: Report, encoder: StructureEncoder, features: Tensor) -> None:
    if type(encoder).generation_penalty is StructureEncoder.generation_penalty:
        report.skip("generation penalty", "the encoder has none")
        return
    noise = torch.randn_like(features).requires_grad_(True)
    penalty = encoder.generation_penalty(noise)
    contract = "the generation penalty is (B,), finite, at least 0, and differentiable"
    report.require(
        "shape and sign of the generation penalty",
        penalty.shape == (len(features),)
        and bool(torch.isfinite(penalty).all())
        and bool((penalty >= 0).all()),
        f"shape {tuple(penalty.shape)}, smallest {penalty.min().item():g}",
        contract,
    )
    report.require(
        "gradient of the generation penalty",
        has_gradient(penalty, noise),
        "no gradient, or one that is not finite",
        contract,
    )


def _check_gradients(
    report: Report, encoder: StructureEncoder, molecules: Sequence[Molecule]
) -> None:
    parameters = {n: p for n, p in encoder.named_parameters() if p.requires_grad}
    if not parameters:
        report.skip("gradients", "the encoder has no parameters")
        return
    encoder.train()
    encoder.zero_grad()
    encoded = _forward(encoder, molecules)
    total = encoded.features.square().sum()
    if encoded.lines is not None:
        total = total + encoded.lines.shift.square().sum() + encoded.lines.scale.sum()
    if total.requires_grad:
        total.backward()  # type: ignore[no-untyped-call]
    missing = [name for name, parameter in parameters.items() if parameter.grad is None]
    encoder.zero_grad()
    encoder.eval()
    report.require(
        "gradients reach every parameter",
        not missing,
        f"none for {', '.join(missing[:5])}",
        "every parameter takes part in the features or the lines",
    )
