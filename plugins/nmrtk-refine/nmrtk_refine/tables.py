"""Tables of atom environments, as a file and as what the inner loop looks up."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nmrtk.checkpoint import load_tensors, save_tensors
from nmrtk.errors import CheckpointError
from nmrtk.model import ReversibleModel
from nmrtk.score_settings import ScoreSettings
from nmrtk_refine.codes import RADIUS
from nmrtk_refine.compiled import entry_point
from nmrtk_refine.energy import INVERSE_SCALE, LOG_WIDTH, PRIOR, SHIFT, Table
from nmrtk_refine.kinds import Kind
from nmrtk_refine.network import Network, network_of, network_tensors, no_network
from nmrtk_refine.prior import StructurePrior, prior_of, prior_tensors
from nmrtk_refine.statistics import Condensed

TABLES_FILE = "refine.safetensors"
"""Name of the file beside a checkpoint."""

LEVEL_WEIGHTS = (0.4, 0.3, 0.08)
"""Of the log-probability of an environment given the next smaller one, by radius from 1; fitted on
val, so that structures stand before what the search finds beside them."""

SHARPNESS = 1.28
"""Lines weigh so much more than their calibrated scales say: the factor of the model on whose raw
scales `LEVEL_WEIGHTS` were fitted."""

UNSEEN_ENERGY = 1.5
"""Of an environment in one that was not seen either."""

_SHIFT_UNIT = 0.01
_KIND = "environment tables"
_UNKNOWN_SCALE, _UNKNOWN_ENERGY = 60.0, 8.0


@dataclass(frozen=True, slots=True)
class Pattern:
    """Atoms of unusual kinds that occur together.

    Args:
        kinds: the unusual ones, with their number; empty where all are usual.
        count: training structures with just these.
        hosts: training structures that have the elements for them.
    """

    kinds: tuple[tuple[Kind, int], ...]
    count: int
    hosts: int


@dataclass(frozen=True, slots=True)
class EnvironmentTables:
    """What the forward direction says of environments, and how often they occur: E environments.

    Args:
        keys: (E,), uint64, codes.
        radii: (E,), uint8.
        shifts: (E,), float32, in ppm; 0 for atoms that give no line.
        scales: (E,), float32, Laplace scales in ppm.
        logs: (E, RADIUS), float32, log-probability of the environment of each radius from 1,
            given the next smaller one; 0 beyond the own radius.
        unseen: (E,), float32, log-probability of one that was not seen, in this.
        patterns: unusual kinds of atoms.
        usual: the usual kind of each element.
        nucleus: whose shifts these are.
        fingerprint: of the model.
        provenance: how the tables came about.
        network: what stands in for the model; the tables alone give rougher shifts.
        prior: what tells structures from those that a search finds beside them.
    """

    keys: NDArray[np.uint64]
    radii: NDArray[np.uint8]
    shifts: NDArray[np.float32]
    scales: NDArray[np.float32]
    logs: NDArray[np.float32]
    unseen: NDArray[np.float32]
    patterns: tuple[Pattern, ...]
    usual: dict[str, Kind]
    nucleus: str
    fingerprint: str
    provenance: dict[str, Any]
    network: Network = field(default_factory=no_network)
    prior: StructurePrior = field(default_factory=lambda: StructurePrior([]))

    def save(self, path: Path) -> None:
        """Write the file.

        Raises:
            DataError: it cannot be written.
        """
        tensors = {
            "keys": torch.from_numpy(self.keys.view(np.int64)),
            "radii": torch.from_numpy(self.radii),
            "shifts": torch.from_numpy(np.round(self.shifts / _SHIFT_UNIT).astype(np.int16)),
            "scales": torch.from_numpy(self.scales.astype(np.float16)),
            "logs": torch.from_numpy(self.logs.astype(np.float16)),
            "unseen": torch.from_numpy(self.unseen.astype(np.float16)),
            **network_tensors(self.network),
            **prior_tensors(self.prior),
        }
        header = {
            "kind": _KIND,
            "nucleus": self.nucleus,
            "fingerprint": self.fingerprint,
            "usual": [str(kind) for kind in self.usual.values()],
            "patterns": [
                [[[str(kind), number] for kind, number in one.kinds], one.count, one.hosts]
                for one in self.patterns
            ],
            "provenance": self.provenance,
            "prior_kinds": [str(kind) for kind in self.prior.kinds],
        }
        save_tensors(path, tensors, header)

    @classmethod
    def load(cls, path: Path) -> EnvironmentTables:
        """Read the file.

        Raises:
            CheckpointError: it is missing, damaged or of another kind.
        """
        tensors, header = load_tensors(path)
        if header.get("kind") != _KIND:
            raise CheckpointError(f"{path} holds no {_KIND}, as `refine` needs them")
        try:
            usual = [Kind.parse(text) for text in header["usual"]]
            return cls(
                tensors["keys"].numpy().view(np.uint64),
                tensors["radii"].numpy(),
                tensors["shifts"].numpy().astype(np.float32) * np.float32(_SHIFT_UNIT),
                tensors["scales"].numpy().astype(np.float32),
                tensors["logs"].numpy().astype(np.float32),
                tensors["unseen"].numpy().astype(np.float32),
                tuple(
                    Pattern(tuple((Kind.parse(t), n) for t, n in kinds), count, hosts)
                    for kinds, count, hosts in header["patterns"]
                ),
                {kind.element: kind for kind in usual},
                header["nucleus"],
                header["fingerprint"],
                header["provenance"],
                network_of(tensors),
                prior_of(tensors, [Kind.parse(text) for text in header["prior_kinds"]]),
            )
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise CheckpointError(f"{path} is damaged: {error}; make it anew") from error

    def with_environments(self, environments: Condensed) -> EnvironmentTables:
        """The same with the environments of other structures."""
        keys, radii, shifts, scales, logs, unseen = environments
        return replace(
            self, keys=keys, radii=radii, shifts=shifts, scales=scales, logs=logs, unseen=unseen
        )

    def table(self, extra: int = 0) -> Table:
        """What the inner loop looks up, with room for so many more environments."""
        count = len(self.keys)
        weights = np.array(LEVEL_WEIGHTS)
        # Beyond the own radius: first one that was not seen in this, then unseen in unseen ones.
        energies = -(self.logs @ weights)
        for radius in range(RADIUS):
            rows = self.radii == radius
            energies[rows] -= weights[radius] * self.unseen[rows]
            energies[rows] += UNSEEN_ENERGY * (RADIUS - 1 - radius)
        values = np.zeros((count + extra + 1, 4), np.float32)
        values[:count, SHIFT] = self.shifts
        values[:count, INVERSE_SCALE] = 1 / self.scales
        values[:count, LOG_WIDTH] = np.log(2 * self.scales)
        values[:count, PRIOR] = energies
        values[-1] = (100.0, 1 / _UNKNOWN_SCALE, np.log(2 * _UNKNOWN_SCALE), _UNKNOWN_ENERGY)
        first = np.flatnonzero(self.radii == 1)
        size, first_size = (1 << (2 * n).bit_length() for n in (count + extra, len(first)))
        exact = np.zeros(len(values), np.bool_)
        exact[count:-1] = True
        table = Table(
            np.zeros(size, np.uint64),
            np.zeros(size, np.int32),
            values,
            exact,
            np.zeros(first_size, np.uint64),
            np.zeros(first_size, np.float32),
        )
        insert_rows(table, self.keys, 0)
        insert_first(table, self.keys[first], -(weights[0] * self.logs[first, 0]))
        return table


@entry_point
def insert_rows(table: Table, keys: NDArray[np.uint64], first: int) -> None:
    """Enter keys whose values are those from row `first` on; a key that is there gets the new
    row.
    """
    last = np.uint64(len(table.keys) - 1)
    for number in range(len(keys)):
        place = keys[number] & last
        while table.keys[place] != np.uint64(0) and table.keys[place] != keys[number]:
            place = (place + np.uint64(1)) & last
        table.keys[place] = keys[number]
        table.rows[place] = first + number


def searched_scale(scale: NDArray[np.float32], settings: ScoreSettings) -> NDArray[np.float32]:
    """Scales that the search uses, from those that a network puts out: calibrated, since a network
    that was trained for long is surer of itself than it should be.
    """
    return scale * np.float32(settings.scale_factor / SHARPNESS)


def fingerprint(model: ReversibleModel) -> str:
    """A digest of a model's weights, the same before and after `export_model` halves them."""
    parameters = {name for name, _ in model.named_parameters()}
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        plain = tensor.detach().cpu()
        digest.update(name.encode())
        digest.update((plain.half() if name in parameters else plain).numpy().tobytes())
    return digest.hexdigest()[:32]


@entry_point
def insert_first(table: Table, keys: NDArray[np.uint64], energies: NDArray[np.float64]) -> None:
    """Enter environments of radius 1, each once, with their energies given the atom."""
    last = np.uint64(len(table.first_keys) - 1)
    for number in range(len(keys)):
        place = keys[number] & last
        while table.first_keys[place] != np.uint64(0):
            place = (place + np.uint64(1)) & last
        table.first_keys[place] = keys[number]
        table.first_energies[place] = energies[number]
