"""`python -m nmrtk_refine distill`: make the tables that `refine` needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nmrtk.cli.main import CommandGroup

if TYPE_CHECKING:
    from nmrtk.molecule import Molecule


class _Group(CommandGroup):
    """Reports errors as `nmrtk` does, but has its own commands."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Those added below."""
        return click.Group.list_commands(self, context)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of that name."""
        return click.Group.get_command(self, context, name)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Make what the candidate generator `refine` needs of a trained model."""


@cli.command()
@click.option("--model", "model_name", help="Folder of a training, or an installed model.")
@click.option(
    "--structures",
    "sources",
    multiple=True,
    required=True,
    help="An nmrtk data set, or a .smi, .csv, .sdf or .jsonl file; may be repeated.",
)
@click.option(
    "--split", default="train", show_default=True, help="Which molecules of data sets; or `all`."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="FILE.safetensors")
def distill(
    model_name: str | None, sources: tuple[str, ...], split: str, output: Path | None
) -> None:
    """Distil a model into tables of atom environments, a small network and a prior.

    Without -o they go to the file `refine.safetensors` beside the model's, where `refine` finds
    them. Structures that serve to measure how well structures are found must not be among them.
    45,000 structures took 23 minutes on two cores beside other work, without the prior, whose
    parts took half an hour, measured one by one.
    """
    from nmrtk.checkpoint import default_model, load_model
    from nmrtk.cli.progress import counting
    from nmrtk.errors import UsageError
    from nmrtk.splits import SPLITS
    from nmrtk_refine.distill import distill as make_tables
    from nmrtk_refine.tables import TABLES_FILE

    if split not in (*SPLITS, "all"):
        raise UsageError(f"--split {split}: choose {', '.join(SPLITS)} or all")
    loaded = load_model(model_name or default_model())
    path = output or loaded.path.parent / TABLES_FILE
    if path.suffix != ".safetensors":
        raise UsageError(f"-o {path}: end the name of tables in .safetensors")
    bad: list[str] = []
    tables = make_tables(loaded, _molecules(sources, split, bad), counting)
    tables.save(path)
    click.echo(
        f"{path}: {len(tables.keys)} environments of {tables.provenance['structures']} "
        f"structures, {path.stat().st_size / 1e6:.1f} MB"
    )
    if bad:
        click.echo(f"{len(bad)} structures could not be read, the first: {bad[0]}", err=True)
    for reason, count in tables.provenance["skipped"].items():
        click.echo(f"{count} structures left out: {reason}", err=True)


def _molecules(sources: Iterable[str], split: str, bad: list[str]) -> Iterator[Molecule]:
    import h5py

    from nmrtk.dataset import DataSet
    from nmrtk.errors import MoleculeError
    from nmrtk.molecule import parse_smiles
    from nmrtk.rows import read_structures

    for source in sources:
        path = Path(source)
        if path.is_file() and h5py.is_hdf5(path):
            data = DataSet(path)
            rows = [row for row, one in enumerate(data.splits()) if split in (one, "all")]
            for record in data.records(rows):
                yield record.molecule
            continue
        for row in read_structures(source):
            try:
                if row.error:
                    raise MoleculeError(row.error)
                yield parse_smiles(row.smiles)
            except MoleculeError as error:
                bad.append(f"{row.position}: {error}")
