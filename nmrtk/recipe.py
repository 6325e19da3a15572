"""Recipes: every choice of a training, in one TOML file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nmrtk.errors import UsageError
from nmrtk.nucleus import DEFAULT_NUCLEUS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_ENCODER = "dgl-gin"
DEFAULT_CODEC = "binary-128"
DEFAULT_BACKBONE = "irevnet-flat"

Precision = Literal["float32", "bfloat16"]
"""Of matrix products; weights and sums are float32 in both."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Part(BaseModel):
    """A component's name, and its options beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


class SplitChoice(_Strict):
    """How molecules are split.

    `given` takes the data set's own field; `random` draws `train_fraction` for train and leaves
    the rest for val, by `seed`.
    """

    kind: Literal["given", "random"] = "given"
    seed: int = 0
    train_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.8


class LossWeights(_Strict):
    """Weights of the terms of the training loss; a term of weight 0 is not computed.

    Args:
        code: the codec's loss.
        lines: predicted against observed lines of the atoms.
        scales: negative log-likelihood of those lines, which shapes nothing but their scales.
        free: negative log-likelihood of the free part under a standard normal.
        generation: the encoder's penalty on features made with random free parts.
    """

    code: Annotated[float, Field(ge=0)] = 1.0
    lines: Annotated[float, Field(ge=0)] = 1.0
    scales: Annotated[float, Field(ge=0)] = 1.0
    free: Annotated[float, Field(ge=0)] = 0.1
    generation: Annotated[float, Field(ge=0)] = 0.0

    @property
    def reach_backbone(self) -> bool:
        """Whether any term depends on what the backbone puts out."""
        return bool(self.code or self.free or self.generation)


class TrainingChoice(_Strict):
    """Optimisation.

    Args:
        epochs: passes over the training molecules at the most.
        batch_size: molecules a step, all processes together.
        learning_rate: peak value, reached after `warmup` of all steps.
        schedule: `cosine` to zero, or `constant`.
        warmup: share of the steps with a linear rise.
        weight_decay: of AdamW.
        backbone_weight_decay: the same for the backbone, which else learns by heart.
        gradient_clip: largest norm of the gradient; 0 for none.
        patience: epochs without a better validation loss after which training stops.
        feature_noise: standard deviation of the normal noise that features get before they enter
            the backbone, in training only: without it the backbone learns the training molecules
            by heart, and where it was sure of it, it would be wrong.
        freeze_encoder: leave the encoder as it starts, and learn the backbone alone: features
            are worked out once, so that an epoch takes seconds.
        precision: of the matrix products of a step: `float32`, or `bfloat16`, which takes half the
            time on processors that have it. Weights, sums and validation stay in float32.
        seed: of the weights and of the order of molecules.
        incomplete: what becomes of spectra that lack lines of some atoms: `skip` leaves them out,
            `lines` trains shifts on the lines that there are, `all` trains on them as on others.
            Models are chosen and measured on complete ones, except with `all`.
        other_spectra: take another complete spectrum of a molecule each time, where there are
            several.
        limit: use only so many training molecules; 0 for all.
    """

    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=1)] = 96
    learning_rate: Annotated[float, Field(gt=0)] = 1.2e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    backbone_weight_decay: Annotated[float, Field(ge=0)] = 1.0
    gradient_clip: Annotated[float, Field(ge=0)] = 1.0
    patience: Annotated[int, Field(ge=1)] = 10
    feature_noise: Annotated[float, Field(ge=0)] = 0.3
    freeze_encoder: bool = False
    precision: Precision = "float32"
    seed: int = 0
    incomplete: Literal["skip", "lines", "all"] = "skip"
    other_spectra: bool = True
    limit: Annotated[int, Field(ge=0)] = 0


class Recipe(_Strict):
    """All choices of a training.

    Args:
        nucleus: whose lines.
        encoder: name and options.
        codec: name and options.
        backbone: name and options.
        start: trained models, the encoder starts from theirs; several become the members of an
            ensemble.
        split: of the data set.
        loss: weights of its terms.
        training: the optimisation.
    """

    nucleus: str = DEFAULT_NUCLEUS
    encoder: Part = Part(name=DEFAULT_ENCODER)
    codec: Part = Part(name=DEFAULT_CODEC)
    backbone: Part = Part(name=DEFAULT_BACKBONE)
    start: tuple[str, ...] = ()
    split: SplitChoice = SplitChoice()
    loss: LossWeights = LossWeights()
    training: TrainingChoice = TrainingChoice()

    def to_toml(self) -> str:
        """The recipe file."""
        return tomli_w.dumps(self.model_dump())


def read_recipe(path: Path) -> dict[str, Any]:
    """The tables of a recipe file, not checked yet.

    Raises:
        UsageError: the file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"recipe {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path} is not TOML: {error}") from error


def make_recipe(tables: dict[str, Any], source: str) -> Recipe:
    """A checked recipe.

    Raises:
        UsageError: a table or key is unknown or a value is not allowed; names it.
    """
    try:
        return Recipe.model_validate(tables)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            place = ".".join(str(part) for part in problem["loc"])
            known = _known_keys(problem["loc"])
            allowed = f" (known here: {', '.join(known)})" if known else ""
            if problem["type"] == "extra_forbidden":
                lines.append(f"{place} is unknown{allowed}")
            else:
                lines.append(f"{place}={problem['input']!r}: {problem['msg']}")
        raise UsageError(f"{source}: {'; '.join(lines)}") from None


def merge(tables: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Tables with changes laid over them. A part of another name drops the old part's options."""
    merged = dict(tables)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            same_part = value.get("name", old.get("name")) == old.get("name")
            merged[key] = {**old, **value} if same_part else value
        else:
            merged[key] = value
    return merged


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Recipe
    for part in location[:-1]:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)
