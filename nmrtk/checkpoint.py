"""Checkpoints: tensors in safetensors, everything else as JSON in the same file's header.

Loading one runs no code from it: names are looked up among the installed plugins.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

import nmrtk
from nmrtk.atomic import write_bytes
from nmrtk.errors import CheckpointError, NmrtkError, UsageError
from nmrtk.model import ReversibleModel, build_model
from nmrtk.plugins import components, registry
from nmrtk.recipe import Recipe, make_recipe

FORMAT_VERSION = 1
MODEL_FILE = "model.safetensors"
_HEADER_KEY = "nmrtk"


@dataclass(frozen=True, slots=True)
class Calibration:
    """Numbers fitted on val that make stated uncertainties true.

    Args:
        sigma_factor: sigma of a line in ppm per unit of its predicted Laplace scale.
        temperature: divides log-likelihoods before candidates are compared.
        none_log_odds: log-odds, in the same units, that none of the candidates is right.
        occupancy_threshold: of a bin, for the best micro-F1 of the code.
    """

    sigma_factor: float = 1.0
    temperature: float = 1.0
    none_log_odds: float = 0.0
    occupancy_threshold: float = 0.5


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors with a JSON header and a checksum, atomically.

    Raises:
        DataError: the file cannot be written.
    """
    # Copies: safetensors refuses tensors that share memory.
    plain = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    document = {**header, "format": FORMAT_VERSION, "checksum": _checksum(plain)}
    write_bytes(path, save(plain, {_HEADER_KEY: json.dumps(document)}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file that `save_tensors` wrote.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind or of a newer format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            document = json.loads((file.metadata() or {})[_HEADER_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged or not a checkpoint ({error}); copy it again or train anew"
        ) from error
    except KeyError as error:
        raise CheckpointError(f"{path} holds tensors, but not of an nmrtk model") from error
    if document.get("format", 0) > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} is of format {document['format']}, newer than this nmrtk "
            f"{nmrtk.__version__} reads ({FORMAT_VERSION}); upgrade nmrtk"
        )
    if _checksum(tensors) != document.get("checksum"):
        raise CheckpointError(f"{path} is damaged: its checksum is wrong; copy it again")
    return tensors, document


def model_header(
    recipe: Recipe, calibration: Calibration, training: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything about a model but its tensors."""
    parts = {
        "structure_encoders": recipe.encoder.name,
        "spectrum_codecs": recipe.codec.name,
        "invertible_backbones": recipe.backbone.name,
    }
    return {
        "recipe": recipe.model_dump(),
        "calibration": asdict(calibration),
        "training": dict(training),
        "versions": {
            "nmrtk": nmrtk.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "parts": {name: registry().versions(kind, name) for kind, name in parts.items()},
        },
    }


def save_model(
    path: Path,
    model: ReversibleModel,
    recipe: Recipe,
    calibration: Calibration,
    training: Mapping[str, Any],
) -> None:
    """Write a model file.

    Args:
        path: the file.
        model: whose parameters and buffers are stored.
        recipe: what built the model.
        calibration: fitted on val.
        training: how it came about: epochs, data, figures.

    Raises:
        DataError: the file cannot be written.
    """
    save_tensors(path, model.state_dict(), model_header(recipe, calibration, training))


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in evaluation mode, with what its file says of it."""

    model: ReversibleModel
    recipe: Recipe
    calibration: Calibration
    training: dict[str, Any]
    path: Path

    def predict(self, smiles: Iterable[str]) -> list[dict[str, Any]]:
        """Predict spectra: rows as `nmrtk predict` writes them, in order.

        Example:
            nmrtk.load("run/").predict(["CCO"])[0]["peaks"]
        """
        from nmrtk.prediction import predict_rows

        return list(predict_rows(self, smiles))


def load_model(name: str) -> LoadedModel:
    """Load a model by the folder of its run, its file, or the name of an installed one.

    Raises:
        CheckpointError: nothing is there, it is damaged, or a plugin that it needs is missing.
    """
    path = find_model(name)
    tensors, header = load_tensors(path)
    try:
        recipe = make_recipe(header["recipe"], str(path))
        calibration = Calibration(**header["calibration"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a model that nmrtk can use: {error}") from error
    made_with = header.get("versions", {}).get("parts", {})
    try:
        model = build_model(recipe)
    except NmrtkError as error:
        raise CheckpointError(
            f"{path} cannot be loaded: {error}. It was made with "
            + ", ".join(f"{part} of {owner}" for part, owner in made_with.items())
        ) from error
    load_state(model, tensors, path)
    model.eval()
    return LoadedModel(model, recipe, calibration, header.get("training", {}), path)


def load_state(model: torch.nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put tensors into a model.

    Raises:
        CheckpointError: names or shapes differ.
    """
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        text = " ".join(str(error).split())
        raise CheckpointError(
            f"the tensors of {path} do not fit the installed plugins: {text[:300]}"
        ) from error


def find_model(name: str) -> Path:
    """The file of a model given by folder, file, or name of an installed one.

    Raises:
        CheckpointError: there is none; says what was looked for.
    """
    path = Path(name)
    if path.is_dir():
        if (path / MODEL_FILE).is_file():
            return path / MODEL_FILE
        raise CheckpointError(
            f"the folder {path} holds no {MODEL_FILE}: is its training unstarted?"
        )
    if path.is_file():
        return path
    installed = components("pretrained_models")
    if name in installed:
        file: Path = installed[name].load()().weights()
        return file
    known = f"installed models: {', '.join(installed)}" if installed else "no model is installed"
    raise CheckpointError(f"{name!r} is neither a folder, a file, nor an installed model ({known})")


def default_model() -> str:
    """The installed pretrained model, when there is just one.

    Raises:
        UsageError: there is none, or there are several; says how to choose.
    """
    installed = list(components("pretrained_models"))
    if len(installed) == 1:
        return installed[0]
    if not installed:
        raise UsageError(
            "no pretrained model is installed: train one with `nmrtk train` and name its folder "
            "with --model"
        )
    raise UsageError(f"several models are installed, choose one with --model: {installed}")


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()
