"""`nmrtk train`: from a data set to a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from nmrtk.recipe import Recipe


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path), help="Data set made by `nmrtk data import`."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the results.")
@click.option(
    "--resume", type=click.Path(path_type=Path), help="Continue the training in this folder."
)
@click.option("--recipe", type=click.Path(path_type=Path), help="TOML file with every choice.")
@click.option("--nucleus", help="Nucleus, such as 13C.")
@click.option("--encoder", help="Structure encoder.")
@click.option("-E", "encoder_options", multiple=True, metavar="NAME=VALUE", help="Its options.")
@click.option("--codec", help="Spectrum codec.")
@click.option("-C", "codec_options", multiple=True, metavar="NAME=VALUE", help="Its options.")
@click.option("--backbone", help="Invertible backbone.")
@click.option("-B", "backbone_options", multiple=True, metavar="NAME=VALUE", help="Its options.")
@click.option(
    "--start",
    multiple=True,
    metavar="MODEL",
    help="Trained model that the encoder starts from; given again, a member of an ensemble.",
)
@click.option("--epochs", type=int, help="Passes over the training molecules, at the most.")
@click.option("--seed", type=int, help="Of the weights and of the order of molecules.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="TABLE.NAME=VALUE",
    help="Any other choice of a recipe, such as training.batch_size=64 or loss.free=0.",
)
@click.option("--devices", type=click.IntRange(min=1), default=1, help="Processes or GPUs.")
@click.option("--accelerator", default="auto", help="auto, cpu, cuda or mps.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of each process.")
def train(
    data: Path | None,
    output: Path | None,
    resume: Path | None,
    recipe: Path | None,
    devices: int,
    accelerator: str,
    threads: int | None,
    **choices: Any,
) -> None:
    """Train a reversible model.

    Every choice may stand in a recipe file; options given here go before it. Ctrl-C saves the
    state and stops; --resume goes on from it.
    """
    from nmrtk.cli.main import EXIT_INTERRUPTED
    from nmrtk.errors import UsageError

    chosen = any(value not in (None, ()) for value in choices.values())
    if resume is not None and (output or recipe or chosen):
        raise UsageError("--resume goes on with the choices of its training: give no others")

    import torch

    from nmrtk.cli.training_display import TrainingDisplay
    from nmrtk.fabric import launch_fabric
    from nmrtk.training import Outcome, resume_training, start_training

    def start(fabric: Fabric, display: TrainingDisplay) -> Outcome:
        if resume is not None:
            return resume_training(resume, fabric, display, data)
        if data is None or output is None:
            raise UsageError("give --data and -o, or --resume with the folder of a training")
        return start_training(_recipe(recipe, choices), data, output, fabric, display)

    run = resume or output or Path()
    if threads is not None:
        torch.set_num_threads(threads)
    fabric = launch_fabric(devices, accelerator)
    with TrainingDisplay(run, enabled=fabric.is_global_zero) as display:
        outcome = start(fabric, display)
    if not fabric.is_global_zero:
        return
    progress = outcome.progress
    if outcome.interrupted:
        click.echo(
            f"Stopped in epoch {progress.epoch + 1}. To go on: nmrtk train --resume {run}", err=True
        )
        raise SystemExit(EXIT_INTERRUPTED)
    click.echo(
        f"Best epoch {progress.best_epoch} of {progress.epoch}, validation loss "
        f"{progress.best_loss:.4f}. The model is in {run}"
    )


def _recipe(path: Path | None, choices: dict[str, Any]) -> Recipe:
    from nmrtk.errors import UsageError
    from nmrtk.options import parse_assignments
    from nmrtk.recipe import Recipe, make_recipe, merge, read_recipe

    tables = read_recipe(path) if path else {}
    source = f"recipe {path}" if path else "choices"
    changes: dict[str, Any] = {"nucleus": choices["nucleus"]} if choices["nucleus"] else {}
    for kind, flag in (("encoder", "-E"), ("codec", "-C"), ("backbone", "-B")):
        options = parse_assignments(choices[f"{kind}_options"], flag)
        if choices[kind] or options:
            default = Recipe.model_fields[kind].default.name
            old = tables.get(kind, {}).get("name", default)
            changes[kind] = {"name": choices[kind] or old, **options}
    if choices["start"]:
        changes["start"] = list(choices["start"])
    training = {key: choices[key] for key in ("epochs", "seed") if choices[key] is not None}
    if training:
        changes["training"] = training
    for key, value in parse_assignments(choices["settings"], "--set").items():
        table, dot, name = key.partition(".")
        if not dot:
            raise UsageError(f"--set {key}: write TABLE.NAME=VALUE, such as training.batch_size=64")
        changes.setdefault(table, {})[name] = value
    return make_recipe(merge(tables, changes), source)
