"""The abstract classes that plugins implement, and the values that pass between them.

Letters of shapes: B molecules, A atoms that give a line, F features, K code, C condition.

The constructor of a component takes its context as positional parameters, given below for each
kind, and its options as keyword-only parameters with annotations and defaults. The options are
what `-E hidden_dim=256` and recipe files set; there is no other schema.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from nmrtk.errors import ConfigurationError, MoleculeError, UsageError
from nmrtk.molecule import Molecule
from nmrtk.nucleus import Nucleus
from nmrtk.spectrum import Spectrum

if TYPE_CHECKING:
    from nmrtk.inversion import Inversion
    from nmrtk.query import Query


@dataclass(frozen=True, slots=True)
class Example:
    """A molecule with a measured spectrum.

    Args:
        id: as the source has it.
        molecule: the structure.
        spectrum: what predictions are compared with.
        skeleton: the first 14 letters of the InChIKey.
        other_spectra: further complete ones of the same molecule, of other solvents or
            laboratories.
    """

    id: str
    molecule: Molecule
    spectrum: Spectrum
    skeleton: str = ""
    other_spectra: tuple[Spectrum, ...] = ()


@dataclass(frozen=True, slots=True)
class AtomLines:
    """Predicted lines, one for every site of every molecule of a batch.

    They stand molecule by molecule, and within a molecule by ascending atom (`Nucleus.sites`).

    Args:
        shift: (A,), location in ppm.
        scale: (A,), positive, scale in ppm of a Laplace distribution.
        molecule: (A,), int64, row of the molecule in the batch, ascending.
    """

    shift: Tensor
    scale: Tensor
    molecule: Tensor


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an encoder returns.

    Args:
        features: (B, F).
        lines: if it predicts them.
        members: lines of each member of an ensemble, where `lines` joins several: in training each
            is compared with the observed lines on its own, so that they keep differing.
    """

    features: Tensor
    lines: AtomLines | None = None
    members: tuple[AtomLines, ...] = ()


class StructureEncoder(nn.Module, ABC):
    """Turns molecules into features.

    Context: `nucleus`. The work is in three steps, so that an epoch touches no molecule again:
    `prepare` each molecule once, `collate` some into a batch, `forward` the batch. Output for one
    molecule must not depend on the others of the batch.
    """

    predicts_lines: ClassVar[bool] = False
    """Whether `forward` also returns a line for every site."""
    decodes: ClassVar[bool] = False
    """Whether `decode` turns features back into molecules."""

    def __init__(self, nucleus: Nucleus) -> None:
        super().__init__()
        self.nucleus = nucleus

    @property
    @abstractmethod
    def width(self) -> int:
        """F, the number of features."""

    @property
    def order_invariant(self) -> bool:
        """Whether the features do not depend on the order of the atoms."""
        return True

    @abstractmethod
    def prepare(self, molecule: Molecule) -> Any:
        """What `collate` needs of one molecule, small enough to keep for a whole data set.

        Raises:
            MoleculeError: this encoder cannot represent the molecule; says why.
        """

    def prepare_many(self, molecules: Sequence[Molecule]) -> Sequence[Any | MoleculeError]:
        """What `prepare` gives for each of some molecules, or the error that it raises. Override it
        where many at once take less time.
        """
        prepared: list[Any] = []
        for molecule in molecules:
            try:
                prepared.append(self.prepare(molecule))
            except MoleculeError as error:
                prepared.append(error)
        return prepared

    @abstractmethod
    def collate(self, prepared: Sequence[Any]) -> Any:
        """Join prepared molecules into a batch: a tensor, or an object with `.to(device)`."""

    @abstractmethod
    def forward(self, batch: Any) -> Encoded:
        """Features (B, F) of a batch, in the order in which it was collated."""

    def fit(self, examples: Sequence[Example]) -> None:
        """Set buffers from the training examples, once, before training. Does nothing unless
        overridden.
        """

    def start_from(self, trained: Sequence[StructureEncoder]) -> None:
        """Take over what trained encoders have learned, instead of `fit`.

        Args:
            trained: one of the same class and options; an ensemble takes several.

        Raises:
            ConfigurationError: they do not fit.
        """
        if len(trained) != 1 or not _same_tensors(self, trained[0]):
            raise ConfigurationError(
                f"{type(self).__name__} starts from one encoder of its own kind and options, not "
                f"from {', '.join(type(one).__name__ for one in trained) or 'none'}"
            )
        self.load_state_dict(trained[0].state_dict())

    def decode(self, features: Tensor) -> list[Molecule | None]:
        """Molecules that features (B, F) stand for; None where they stand for no valid one."""
        raise UsageError(f"{type(self).__name__} cannot decode features")

    def generation_penalty(self, features: Tensor) -> Tensor:
        """How far features (B, F) from an inversion are from those of structures, (B,), at least
        0 and differentiable. Encoders without such a measure do not override this.
        """
        raise UsageError(f"{type(self).__name__} has no generation penalty: set its weight to 0")


def _same_tensors(one: nn.Module, other: nn.Module) -> bool:
    shapes = [{name: t.shape for name, t in module.state_dict().items()} for module in (one, other)]
    return type(one) is type(other) and shapes[0] == shapes[1]


class SpectrumCodec(nn.Module, ABC):
    """Turns spectra into targets (B, K), and codes (B, K), the network's side, into spectra.

    Context: `nucleus`. A target is what was observed; a code is any real vector that the network
    puts out for it. `loss` measures one against the other, `embed` gives the code to invert from.
    """

    reads_lines: ClassVar[bool] = False
    """Whether `expected` turns predicted lines of atoms into a code."""

    def __init__(self, nucleus: Nucleus) -> None:
        super().__init__()
        self.nucleus = nucleus

    @property
    def unit(self) -> float:
        """Difference of shifts in ppm that matters: training hardly minds those below, and
        evaluation counts the lines within it.
        """
        return 1.0

    @property
    @abstractmethod
    def width(self) -> int:
        """K, the length of targets and codes."""

    @property
    @abstractmethod
    def bin_count(self) -> int:
        """N, the number of bins of `occupancy` and `occupied`."""

    @abstractmethod
    def encode(self, spectrum: Spectrum) -> NDArray[np.float32]:
        """Target (K,) of one spectrum.

        Raises:
            SpectrumError: the spectrum is of another nucleus or has no lines.
        """

    @abstractmethod
    def loss(self, code: Tensor, target: Tensor) -> Tensor:
        """Training loss of codes (B, K) for targets (B, K): one value a molecule, (B,)."""

    @abstractmethod
    def occupancy(self, code: Tensor) -> Tensor:
        """Probability that each bin holds a line, (B, N), from codes (B, K)."""

    @abstractmethod
    def occupied(self, target: Tensor) -> Tensor:
        """Whether each bin holds a line, bool (B, N), from targets (B, K)."""

    @abstractmethod
    def embed(self, target: Tensor) -> Tensor:
        """Codes (B, K) that stand for targets (B, K): where an inversion starts."""

    def fit_embedding(self, code: Tensor, target: Tensor) -> None:
        """Set buffers of `embed` from what a trained model puts out: codes (B, K) for targets
        (B, K). Called once after training, on val; does nothing unless overridden.
        """

    @abstractmethod
    def log_likelihood(self, code: Tensor, target: Tensor) -> Tensor:
        """Log-probability of targets (B, K) under codes (B, K), shape (B,), in nats. Leading
        dimensions broadcast.
        """

    @abstractmethod
    def decode(self, code: Tensor, line_counts: Sequence[int]) -> list[Spectrum]:
        """Spectra with the given number of lines each that codes (B, K) make most likely; every
        line with its sigma in ppm.
        """

    def expected(self, lines: AtomLines, batch_size: int) -> Tensor:
        """Code (B, K) that predicted lines imply, differentiable."""
        raise UsageError(f"{type(self).__name__} makes no code from lines")


class InvertibleBackbone(nn.Module, ABC):
    """A bijection of R^F, optionally conditioned, whose first K outputs are the code.

    Context: `width` (F), `code_width` (K), `condition_width` (C; 0 for none).

    Raises:
        ConfigurationError: from the constructor, where the backbone needs other widths.
    """

    conditioned: ClassVar[bool] = True
    """Whether the map depends on a condition; if not, `condition_width` is 0."""
    has_log_det: ClassVar[bool] = False
    """Whether `forward_with_log_det` works."""
    on_lattice: ClassVar[bool] = False
    """Whether features are rounded to a lattice whose points the map permutes. Then the round trip
    of what was rounded is exact to the last bit, whatever the weights, volumes are kept, and
    gradients pass straight through the rounding."""

    def __init__(self, width: int, code_width: int, condition_width: int) -> None:
        super().__init__()
        self.width = width
        self.code_width = code_width
        self.condition_width = condition_width

    @abstractmethod
    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """Features (B, F), condition (B, C) -> outputs (B, F): code, then free part."""

    @abstractmethod
    def inverse(self, outputs: Tensor, condition: Tensor | None = None) -> Tensor:
        """The exact inverse of `forward` for the same condition."""

    def forward_with_log_det(
        self, features: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`forward`, and the log of the absolute Jacobian determinant for each row, (B,)."""
        raise UsageError(f"{type(self).__name__} gives no Jacobian determinant")


class CandidateGenerator(ABC):
    """Proposes molecules for a query. Context: none."""

    needs_formula: ClassVar[bool] = False
    """Whether it works for a given formula only. Where none is known, it is called once for each
    of the most probable ones."""
    invents: ClassVar[bool] = True
    """Whether it makes structures up, so that how likely they are has to be told from their looks.
    Where it takes them from a collection of compounds that exist, all are as likely."""

    @abstractmethod
    def generate(self, query: Query, inversion: Inversion) -> Iterable[Molecule]:
        """Candidate molecules, best guesses first; may repeat itself.

        Args:
            query: the observed lines and what is known of the compound.
            inversion: draws features from the model, run backwards for this query.

        Raises:
            UsageError: the generator needs something that the model or the query lacks.
        """

    def log_priors(
        self, molecules: Sequence[Molecule], inversion: Inversion
    ) -> NDArray[np.float64] | None:
        """How likely structures are before any line is seen: log-probabilities (B,) up to a
        constant, nan for a structure that it cannot tell of; None where it knows nothing at all.

        Args:
            molecules: candidates of any generator that makes structures up.
            inversion: of the query that they are for.
        """
        return None

    def recurrence(self) -> float | None:
        """Share of the attempts of a search that came upon what `generate` has given last, above 0
        to 1; None where there are no attempts. The more of them, the less was missed.
        """
        return None


class Baseline(ABC):
    """A predictor to compare a model with. Context: `codec`."""

    predicts_lines: ClassVar[bool] = False
    """Whether `predict_spectra` works."""
    learns_atoms: ClassVar[bool] = False
    """Whether assigned lines, where a data set of them is given, are better to learn from."""

    def __init__(self, codec: SpectrumCodec) -> None:
        self.codec = codec

    @abstractmethod
    def fit(self, examples: Sequence[Example]) -> None:
        """Learn from training examples."""

    @abstractmethod
    def predict_occupancy(self, molecules: Sequence[Molecule]) -> NDArray[np.float32]:
        """Scores (B, N) in 0..1 that each bin of the codec holds a line."""

    def predict_spectra(self, molecules: Sequence[Molecule]) -> list[Spectrum]:
        """Spectra with one line a site. Its atom and its sigma may be left open, by all lines."""
        raise UsageError(f"{type(self).__name__} predicts no lines")


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a source: a molecule with its spectra, all nuclei.

    Args:
        position: where it stands, such as `record 17` or `line 4`.
        id: the source's identifier, or an empty string.
        molecule: hydrogens implicit, atoms in the order of the source.
        spectra: all that the record holds and that can be read.
        inchikey: where the source gives it, or an empty string.
        split: `train`, `val`, `test` where the source gives it, or an empty string.
        problems: what was wrong with spectra that were left out, one text each.
    """

    position: str
    id: str
    molecule: Molecule
    spectra: tuple[Spectrum, ...]
    inchikey: str = ""
    split: str = ""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BadRecord:
    """An entry that cannot be read.

    Args:
        position: where it stands.
        id: the source's identifier, or an empty string.
        reason: a short text that is the same for all records with this fault.
        detail: what exactly was found.
    """

    position: str
    id: str
    reason: str
    detail: str = ""


class Reader(ABC):
    """Reads one file format. Context: none."""

    @abstractmethod
    def recognizes(self, path: Path, head: bytes) -> bool:
        """Whether a file is of this format, by its name and its first (uncompressed) 4096 bytes."""

    @abstractmethod
    def read(self, path: Path, nucleus: Nucleus) -> Iterator[Record | BadRecord]:
        """Every entry of the file, good or bad, in order, in bounded memory.

        Args:
            path: plain or gzip.
            nucleus: the one that will be kept. A reader may say early, with
                `BadRecord(reason="no 13C spectrum")`, that an entry has none.

        Raises:
            DataError: the file as a whole is not of the format, or is empty.
        """


class PretrainedModel(ABC):
    """A trained model that ships in a distribution. Context: none."""

    @abstractmethod
    def weights(self) -> Path:
        """The checkpoint file."""

    @abstractmethod
    def card(self) -> str:
        """The model card, Markdown: data, split, figures, limits."""
