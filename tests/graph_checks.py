"""Checks that every encoder on `GraphEncoder` passes, whatever its convolutions do.

The checks of `nmrtk.testing` see a new encoder, whose heads add nothing yet. Here they speak.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from rdkit import Chem

from nmrtk.graph_encoder import GraphEncoder
from nmrtk.interfaces import Encoded, Example
from nmrtk.molecule import Molecule, parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Peak, Spectrum

CARBON = Nucleus.parse("13C")
SMILES = [
    "CCO",
    "C[C@H]1CCCC[C@@H]1O",
    "C",
    "O",
    "[Na+].[Cl-]",
    "CC(=O)Nc1ccc(O)cc1.Cl",
    "C[N+](C)(C)CC(=O)[O-]",
    "C/C=C\\C1CC2CCC1C2",
    "C[Si](C)(C)C#C[Se]C",
    "C" * 300,
]


def build(kind: type[GraphEncoder], **options: object) -> GraphEncoder:
    """A small encoder whose heads are not zero, as they are before training."""
    torch.manual_seed(0)
    small = {"hidden_dim": 16, "layers": 3, "pooled_dim": 8, "descriptor_dim": 6, "dropout": 0.0}
    encoder = kind(CARBON, **{**small, **options})
    for network in encoder.networks:
        for head in (network.shift_head, network.scale_head):
            torch.nn.init.normal_(head.last.weight)
    return encoder.eval()


def encode(encoder: GraphEncoder, molecules: Sequence[Molecule]) -> Encoded:
    encoded: Encoded = encoder(encoder.collate([encoder.prepare(one) for one in molecules]))
    return encoded


def molecules() -> list[Molecule]:
    return [parse_smiles(smiles) for smiles in SMILES]


def example(smiles: str, shifts: list[float]) -> Example:
    return Example(smiles, parse_smiles(smiles), Spectrum("13C", tuple(map(Peak, shifts))))


def close(first: torch.Tensor, second: torch.Tensor) -> None:
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-5)


def lines_follow_the_sites(kind: type[GraphEncoder]) -> None:
    encoder = build(kind)
    encoded = encode(encoder, molecules())
    counts = [len(CARBON.sites(molecule)) for molecule in molecules()]
    assert encoded.features.shape == (len(SMILES), 14) == (len(SMILES), encoder.width)
    assert torch.bincount(encoded.lines.molecule, minlength=len(SMILES)).tolist() == counts
    assert torch.isfinite(encoded.features).all()
    assert (encoded.lines.scale > 0).all()


def molecules_without_a_site_have_no_lines(kind: type[GraphEncoder]) -> None:
    encoded = encode(build(kind), [parse_smiles("O"), parse_smiles("[Na+].[Cl-]")])
    assert encoded.lines.shift.shape == encoded.lines.scale.shape == (0,)
    assert encoded.features.shape == (2, 14)


def atom_order_only_permutes_lines(kind: type[GraphEncoder]) -> None:
    encoder = build(kind)
    molecule = parse_smiles("CC(=O)Nc1ccc(OCC#N)cc1C(F)(F)F")
    order = np.random.default_rng(1).permutation(molecule.GetNumAtoms()).tolist()
    first = encode(encoder, [molecule])
    second = encode(encoder, [Chem.RenumberAtoms(molecule, order)])
    place = {site: row for row, site in enumerate(CARBON.sites(molecule))}
    moved = [place[atom] for atom in order if atom in place]
    close(second.lines.shift, first.lines.shift[moved])
    close(second.lines.scale, first.lines.scale[moved])
    close(second.features, first.features)
    assert first.lines.shift.std() > 0.1  # the network speaks: this is no trivial agreement


def rows_do_not_depend_on_their_batch(kind: type[GraphEncoder]) -> None:
    for training in (False, True):
        encoder = build(kind, members=2).train(training)
        together = encode(encoder, molecules())
        for row, molecule in enumerate(molecules()):
            alone = encode(encoder, [molecule])
            mine = together.lines.molecule == row
            close(alone.features[0], together.features[row])
            close(alone.lines.shift, together.lines.shift[mine])
            close(alone.lines.scale, together.lines.scale[mine])


def equivalent_atoms_have_equal_lines(kind: type[GraphEncoder]) -> None:
    pair = [parse_smiles("Cc1ccccc1"), parse_smiles("CC(C)(C)c1ccncc1")]
    lines = encode(build(kind, members=2).eval(), pair).lines
    for values in (lines.shift, lines.scale):
        close(values[[2, 3]], values[[6, 5]])  # ortho, meta
        close(values[[7, 7]], values[[9, 10]])  # methyls of tert-butyl
        close(values[[12, 13]], values[[15, 14]])  # beta, alpha to nitrogen
    assert (lines.shift[1] - lines.shift[2]).abs() > 1e-2


def dropout_is_at_work_in_training_alone(kind: type[GraphEncoder]) -> None:
    toluene = [parse_smiles("Cc1ccccc1")]
    for training in (False, True):
        encoder = build(kind, dropout=0.5).train(training)
        first, second = (encode(encoder, toluene).lines.shift for _ in range(2))
        assert ((first - second).abs().max() > 1e-2) == training


def diastereomers_differ_and_mirror_images_do_not(kind: type[GraphEncoder]) -> None:
    cis, trans, mirrored = map(
        parse_smiles,
        ("C[C@H]1CCCC[C@H]1O", "C[C@H]1CCCC[C@@H]1O", "C[C@@H]1CCCC[C@H]1O"),
    )
    shifts = [encode(build(kind).eval(), [one]).lines.shift for one in (cis, trans, mirrored)]
    assert (shifts[0] - shifts[1]).abs().max() > 1e-3
    close(shifts[1], shifts[2])


def gradients_reach_every_parameter(kind: type[GraphEncoder]) -> None:
    encoder = build(kind, members=2).train()
    encoded = encode(encoder, molecules())
    loss = (
        encoded.features.cos().sum() + encoded.lines.shift.cos().sum() + encoded.lines.scale.sum()
    )
    loss.backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def members_make_an_ensemble(kind: type[GraphEncoder]) -> None:
    encoder = build(kind, members=2)
    encoded = encode(encoder, molecules())
    first, second = encoded.members
    close(encoded.lines.shift, (first.shift + second.shift) / 2)
    disagreement = (first.shift - second.shift) / 2
    assert disagreement.abs().max() > 0.1
    # The variance of a Laplace distribution is twice the square of its scale.
    variance = first.scale.square() + second.scale.square() + disagreement.square()
    close(2 * encoded.lines.scale.square(), variance)

    first.shift.sum().backward()
    # What one learns does not touch the other.
    assert any(parameter.grad is not None for parameter in encoder.networks[0].parameters())
    assert all(parameter.grad is None for parameter in encoder.networks[1].parameters())


def training_lowers_the_loss(kind: type[GraphEncoder]) -> None:
    encoder = build(kind).train()
    batch = encoder.collate([encoder.prepare(parse_smiles("CCCCO"))])
    wanted = torch.tensor([13.9, 19.0, 34.9, 62.4])
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        loss = (encoder(batch).lines.shift - wanted).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


CHECKS = [
    lines_follow_the_sites,
    molecules_without_a_site_have_no_lines,
    atom_order_only_permutes_lines,
    rows_do_not_depend_on_their_batch,
    equivalent_atoms_have_equal_lines,
    dropout_is_at_work_in_training_alone,
    diastereomers_differ_and_mirror_images_do_not,
    gradients_reach_every_parameter,
    members_make_an_ensemble,
    training_lowers_the_loss,
]
