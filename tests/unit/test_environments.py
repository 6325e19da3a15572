import numpy as np
import torch
from rdkit import Chem

from nmrtk.environments import ENVIRONMENTS, EnvironmentDescriptor, environment_counts
from nmrtk.molecule import parse_smiles


def chain(generator: np.random.Generator) -> str:
    return "".join(generator.choice(list("CCCCNOS"), size=generator.integers(4, 20)))


def describe(descriptor: EnvironmentDescriptor, counted: list) -> torch.Tensor:
    lengths = [len(places) for places, _ in counted]
    return descriptor(
        torch.from_numpy(np.concatenate([p for p, _ in counted]).astype(np.int64)),
        torch.tensor([0, *np.cumsum(lengths)[:-1]]),
        torch.from_numpy(np.sqrt(np.concatenate([c for _, c in counted])).astype(np.float32)),
    )


def test_counts_do_not_depend_on_the_atom_order():
    molecule = parse_smiles("CC(=O)Nc1ccc(OCC#N)cc1C(F)(F)F")
    order = np.random.default_rng(2).permutation(molecule.GetNumAtoms()).tolist()
    places, counts = environment_counts(molecule)
    others = environment_counts(Chem.RenumberAtoms(molecule, order))
    assert (places == others[0]).all()
    assert (counts == others[1]).all()
    # One environment an atom and radius: bonds fewer than two away run out of new ones.
    assert molecule.GetNumAtoms() <= counts.sum() <= 3 * molecule.GetNumAtoms()


def test_places_are_ascending_and_in_range():
    places, counts = environment_counts(parse_smiles("CC(C)Cc1ccc(cc1)C(C)C(=O)O"))
    assert (np.diff(places) > 0).all()
    assert places.min() >= 0
    assert places.max() < ENVIRONMENTS
    assert (counts > 0).all()


def test_molecules_without_atoms_have_no_environment():
    places, counts = environment_counts(Chem.Mol())
    assert places.shape == counts.shape == (0,)


def test_a_molecule_without_environments_is_described_by_the_offset():
    descriptor = EnvironmentDescriptor(4)
    descriptor.offset.copy_(torch.arange(4.0))
    counted = [environment_counts(parse_smiles("CCO")), environment_counts(Chem.Mol())]
    assert torch.equal(describe(descriptor, counted)[1], -torch.arange(4.0))


def test_unfitted_descriptors_are_all_alike():
    first, second = EnvironmentDescriptor(5), EnvironmentDescriptor(5)
    assert torch.equal(first.projection, second.projection)


def test_fitted_descriptor_is_white():
    generator = np.random.default_rng(0)
    counted = [environment_counts(parse_smiles(chain(generator))) for _ in range(400)]
    descriptor = EnvironmentDescriptor(8)
    descriptor.fit(counted)
    described = describe(descriptor, counted)
    torch.testing.assert_close(described.mean(0), torch.zeros(8), atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.cov(described.T), torch.eye(8), atol=2e-2, rtol=0)


def test_directions_that_hardly_differ_are_not_blown_up():
    counted = [environment_counts(parse_smiles(s)) for s in ("CCO", "CCN", "CCO", "CCO")]
    descriptor = EnvironmentDescriptor(16)
    descriptor.fit(counted)  # four molecules span three directions at the most
    new = describe(descriptor, [environment_counts(parse_smiles("CC(=O)Oc1ccccc1C(=O)O"))])
    assert torch.isfinite(new).all()
    # A new environment changes a root by 1; a direction of no variance scales by 1 / sqrt(0.03).
    assert new.abs().max() < 100
