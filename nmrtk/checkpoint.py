"""Checkpoints: tensors in safetensors, everything else as JSON in the same file's header.

Loading one runs no code from it: names are looked up among the installed plugins.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

import nmrtk
from nmrtk.atomic import write_bytes
from nmrtk.errors import CheckpointError, NmrtkError, UsageError, shorten
from nmrtk.model import ReversibleModel, build_model
from nmrtk.nucleus import DEFAULT_NUCLEUS
from nmrtk.plugins import components, registry
from nmrtk.precision import reduce_products
from nmrtk.recipe import Precision, Recipe, make_recipe
from nmrtk.score_settings import ScoreSettings

if TYPE_CHECKING:
    from nmrtk.predicted import PredictedSpectrum

FORMAT_VERSION = 1
MODEL_FILE = "model.safetensors"
_HEADER_KEY = "nmrtk"


@dataclass(frozen=True, slots=True)
class Calibration:
    """Numbers fitted on val that make stated uncertainties true.

    Args:
        sigma_factor: sigma of a line in ppm per unit of its predicted Laplace scale.
        temperature: divides log-likelihoods of the code before candidates are compared, where the
            model predicts no lines.
        none_log_odds: log-odds, in the same units, that none of the candidates is right; likewise.
        occupancy_threshold: of a bin, for the best micro-F1 of the code.
        score: of the score of candidates by their predicted lines; checkpoints of nmrtk 0.1 have
            none, and get the defaults.
    """

    sigma_factor: float = 1.0
    temperature: float = 1.0
    none_log_odds: float = 0.0
    occupancy_threshold: float = 0.5
    score: ScoreSettings = field(default_factory=ScoreSettings)

    def __post_init__(self) -> None:
        # Of a checkpoint, which holds plain tables.
        if isinstance(self.score, Mapping):
            object.__setattr__(self, "score", ScoreSettings(**self.score))


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


def export_model(name: str, path: Path) -> None:
    """Write a finished model for others: weights in half the space, nothing about where it was
    trained.

    Parameters are stored as 16-bit floats and computed with as 32-bit ones; buffers, such as the
    shifts that predictions start from, keep their precision.

    Args:
        name: folder or file of a trained model.
        path: the file to write.

    Raises:
        CheckpointError: it cannot be loaded, or its training is not finished.
        DataError: the file cannot be written.
    """
    loaded = load_model(name)
    if not loaded.training.get("finished"):
        raise CheckpointError(f"{name} is not finished: nmrtk train --resume goes on with it")
    parameters = {key for key, _ in loaded.model.named_parameters()}
    tensors = {
        key: tensor.half() if key in parameters else tensor
        for key, tensor in loaded.model.state_dict().items()
    }
    data = {**loaded.training["data"], "path": Path(loaded.training["data"]["path"]).name}
    recipe = loaded.recipe.model_copy(
        update={"start": tuple(Path(start).name for start in loaded.recipe.start)}
    )
    training = {**loaded.training, "data": data}
    save_tensors(path, tensors, model_header(recipe, loaded.calibration, training))


def recalibrate(path: Path, calibration: Calibration) -> None:
    """Put another calibration into a model file; everything else stays.

    Raises:
        CheckpointError: it cannot be read.
        DataError: it cannot be written.
    """
    tensors, header = load_tensors(path)
    save_tensors(path, tensors, {**header, "calibration": asdict(calibration)})


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in evaluation mode, with what its file says of it."""

    model: ReversibleModel
    recipe: Recipe
    calibration: Calibration
    training: dict[str, Any]
    path: Path

    def predict(self, smiles: Iterable[str]) -> list[PredictedSpectrum]:
        """Predict spectra, one for each structure, in order.

        A structure that cannot be predicted raises nothing: its `error` says why.

        Args:
            smiles: any number of SMILES.

        Raises:
            UsageError: a single text is given instead of a list.

        Example:
            `nmrtk.load("13c").predict(["CCO"])[0].ppm`
        """
        from nmrtk.predicted import PredictedSpectrum
        from nmrtk.prediction import predict_rows

        if isinstance(smiles, str):
            raise UsageError(f"predict takes a list of SMILES: predict([{shorten(smiles)!r}])")
        return [PredictedSpectrum.of_row(row) for row in predict_rows(self, smiles)]


def load_model(name: str | Path, precision: Precision = "float32") -> LoadedModel:
    """Load a model by the folder of its run, its file, or the name of an installed one.

    Args:
        name: of the model.
        precision: of the encoder's matrix products; the backbone keeps float32, since rounding
            would not be inverted.

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
    model.path = path
    if precision == "bfloat16":
        reduce_products(model.encoder)
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


def find_model(name: str | Path) -> Path:
    """The file of a model given by folder, file, or name of an installed one.

    Raises:
        CheckpointError: there is none; says what was looked for.
    """
    path = Path(name)
    if (path / MODEL_FILE).is_file():
        return path / MODEL_FILE
    if path.is_file():
        return path
    installed = components("pretrained_models")
    if str(name) in installed:
        file: Path = installed[str(name)].load()().weights()
        return file
    if path.is_dir():
        raise CheckpointError(
            f"the folder {path} holds no {MODEL_FILE}: is its training unstarted?"
        )
    known = f"installed models: {', '.join(installed)}" if installed else "no model is installed"
    raise CheckpointError(
        f"{str(name)!r} is neither a folder, a file, nor an installed model ({known})"
    )


def default_model() -> str:
    """The installed pretrained model to use where none is named.

    The only one; of several that for 13C; of several for 13C the one called `13c`.

    Raises:
        UsageError: there is none, or no such one among several; says how to choose.
    """
    installed = list(components("pretrained_models"))
    if not installed:
        raise UsageError(
            "no pretrained model is installed: train one with `nmrtk train` and name its folder "
            "with --model"
        )
    if len(installed) > 1:
        usual = [name for name in installed if _nucleus_of(name) == DEFAULT_NUCLEUS]
        named = [name for name in usual if name == DEFAULT_NUCLEUS.lower()]
        installed = named or usual or installed
    if len(installed) == 1:
        return installed[0]
    raise UsageError(
        f"several models are installed, choose one with --model: {', '.join(installed)}"
    )


def _nucleus_of(name: str) -> str | None:
    """The nucleus of an installed model, from its file's header alone; None if that is damaged."""
    try:
        with safe_open(find_model(name), framework="pt") as file:
            nucleus: str = json.loads(file.metadata()[_HEADER_KEY])["recipe"]["nucleus"]
            return nucleus
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, CheckpointError):
        return None


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()
