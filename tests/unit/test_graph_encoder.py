import numpy as np
import pytest
import torch
from graph_checks import CARBON, CHECKS, SMILES, build, close, encode, example, molecules
from torch import Tensor, nn

from nmrtk.environments import ENVIRONMENTS
from nmrtk.errors import ConfigurationError
from nmrtk.graph import BOND_CARDINALITIES, BOND_KINDS
from nmrtk.graph_batch import EDGE_KINDS, GraphBatch
from nmrtk.graph_encoder import EdgeTable, GraphEncoder, Head, update_network
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus
from nmrtk.testing import check_structure_encoder


class Sum(nn.Module):
    """h_i -> mlp(h_i + sum over neighbours j of relu(h_j + e_ij))."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.bonds = EdgeTable(dim)
        self.update = update_network(dim)

    def forward(self, batch: GraphBatch, states: Tensor, bonds: Tensor) -> Tensor:
        messages = torch.relu(states[batch.sources] + self.bonds(bonds))
        return self.update(states.index_add(0, batch.targets, messages))


class SumEncoder(GraphEncoder):
    """The least that a graph encoder has to say."""

    def __init__(
        self,
        nucleus: Nucleus,
        *,
        hidden_dim: int = 16,
        layers: int = 2,
        dropout: float = 0.0,
        members: int = 1,
        pooled_dim: int = 16,
        descriptor_dim: int = 8,
    ) -> None:
        super().__init__(
            nucleus,
            hidden_dim=hidden_dim,
            layers=layers,
            dropout=dropout,
            members=members,
            pooled_dim=pooled_dim,
            descriptor_dim=descriptor_dim,
        )

    def convolution(self, hidden_dim: int) -> Sum:
        return Sum(hidden_dim)


EXAMPLES = [
    example("CCO", [18.2, 57.8]),
    example("CC(C)=O", [30.9, 30.9, 207.1]),
    example("CCCCCC", [14.1, 14.1, 22.7, 22.7, 31.6, 31.6]),
    example("CC#N", [1.9, 116.4]),
]


def test_contract():
    check_structure_encoder(SumEncoder)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_graph_encoder(check):
    check(SumEncoder)


def test_scale_does_not_shape_the_states():
    encoder = build(SumEncoder)
    encode(encoder, molecules()).lines.scale.sum().backward()
    (network,) = encoder.networks
    assert network.atom_embedding.weight.grad is None
    assert network.scale_head.hidden.weight.grad.any()


def test_fit_sets_buffers_and_state_dict_keeps_them():
    encoder = SumEncoder(CARBON, members=2)
    encoder.fit(EXAMPLES)
    before = encode(encoder, [one.molecule for one in EXAMPLES])
    assert encoder.spread > 0
    # Untrained heads add nothing: shifts are the means of classes, scales a tenth of the spread.
    assert before.lines.shift.std() > 1
    close(before.lines.scale, (0.1025 * encoder.spread).expand_as(before.lines.scale))
    other = SumEncoder(CARBON, members=2)
    other.load_state_dict(encoder.state_dict())
    after = encode(other, [one.molecule for one in EXAMPLES])
    assert torch.equal(after.features, before.features)
    assert torch.equal(after.lines.shift, before.lines.shift)


def test_hydrogen_sites_are_heavy_atoms():
    encoder = SumEncoder(Nucleus.parse("1H"))
    assert encode(encoder, [parse_smiles("CC(=O)O")]).lines.shift.shape == (2,)


def test_descriptor_can_be_left_out():
    encoder = SumEncoder(CARBON, pooled_dim=5, descriptor_dim=0)
    encoder.fit(EXAMPLES)
    assert encode(encoder, molecules()).features.shape == (len(SMILES), 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_dim": 0}, "hidden_dim=0 is not allowed: from 1 to 4096"),
        ({"layers": 0}, "layers=0 is not allowed: from 1 to 64"),
        ({"dropout": 1.0}, "dropout=1.0 is not allowed: from 0.0 to 0.95"),
        ({"members": 0}, "members=0 is not allowed: from 1 to 64"),
        ({"pooled_dim": 0}, "pooled_dim=0 is not allowed: from 1"),
        ({"pooled_dim": 1, "members": 2}, "pooled_dim=1 is not allowed: from 2"),
        ({"pooled_dim": 3, "members": 2}, "pooled_dim=3 is not a multiple of members=2"),
        ({"descriptor_dim": 2000}, f"descriptor_dim=2000 is not allowed: from 0 to {ENVIRONMENTS}"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(ConfigurationError, match=message):
        SumEncoder(CARBON, **options)


def test_a_head_starts_at_its_first_value():
    assert (Head(6, 4, 0.5, start=1.5)(torch.randn(5, 6)) == 1.5).all()


def test_edge_table_tells_kinds_apart():
    table = EdgeTable(8)(torch.arange(EDGE_KINDS))
    assert len(torch.unique(table, dim=0)) == EDGE_KINDS


def test_edge_table_adds_up_the_fields_of_bonds():
    table = EdgeTable(4)
    kinds = torch.tensor([17, 0, BOND_KINDS - 1, 17])
    fields = np.unravel_index(kinds.numpy(), BOND_CARDINALITIES)
    pairs = zip(table.embeddings, fields, strict=True)
    wanted = sum(embedding(torch.from_numpy(field)) for embedding, field in pairs)
    close(table(kinds), wanted)


def fitted(seed: int, **options: object) -> SumEncoder:
    encoder = build(SumEncoder, **options)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    encoder.fit(EXAMPLES)
    return encoder


def test_an_ensemble_starts_from_trained_members():
    parts = [fitted(seed, pooled_dim=4) for seed in (1, 2)]
    ensemble = build(SumEncoder, members=2, pooled_dim=8)
    ensemble.start_from(parts)
    joined = encode(ensemble, molecules())
    for part, member in zip(parts, joined.members, strict=True):
        alone = encode(part, molecules()).lines
        close(member.shift, alone.shift)
        close(member.scale, alone.scale)
    features = [encode(part, molecules()).features for part in parts]
    pooled = [part[:, :4] for part in features]
    close(joined.features, torch.cat([*pooled, features[0][:, 4:]], dim=1))


def test_one_encoder_starts_from_another():
    trained, new = fitted(1, members=2), build(SumEncoder, members=2)
    new.start_from([trained])
    close(encode(new, molecules()).features, encode(trained, molecules()).features)


def test_members_that_do_not_fit_are_refused():
    first, second = fitted(1, pooled_dim=4), fitted(2, pooled_dim=4)
    with pytest.raises(ConfigurationError, match="2 networks cannot start from 1"):
        build(SumEncoder, members=2, pooled_dim=8).start_from([first])
    with pytest.raises(ConfigurationError, match="2 networks cannot start from 2"):
        build(SumEncoder, members=2, pooled_dim=8, hidden_dim=8).start_from([first, second])
    with pytest.raises(ConfigurationError, match="1 networks cannot start from 0"):
        build(SumEncoder, pooled_dim=4).start_from([])
    second.class_means.add_(1)
    with pytest.raises(ConfigurationError, match="differ in class_means do not make an ensemble"):
        build(SumEncoder, members=2, pooled_dim=8).start_from([first, second])


def test_other_kinds_of_encoders_are_refused():
    class Other(SumEncoder):
        pass

    with pytest.raises(ConfigurationError, match="Other cannot start from SumEncoder"):
        build(Other).start_from([build(SumEncoder)])
