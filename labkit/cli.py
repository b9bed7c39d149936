"""The command `labkit`: the library's own functions, from a shell."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import click

from labkit._version import __version__
from labkit.errors import LabError


class _Commands(click.Group):
    """A group whose commands show a user's slip as one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LabError as error:
            raise click.ClickException(str(error)) from None
        except OSError as error:
            if error.errno == errno.EPIPE:  # `labkit list | head`: click's own business
                raise
            raise click.ClickException(str(error)) from None


@click.group(cls=_Commands)
@click.version_option(__version__, prog_name="labkit")
def main() -> None:
    """An interactive Jupyter lab for model weights."""


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[JUPYTERLAB OPTIONS]")
@click.pass_context
def lab(ctx: click.Context, folder: Path, options: tuple[str, ...]) -> None:
    """Put the notebooks into FOLDER and open JupyterLab on the first.

    Notebooks that you have changed are kept. Options after FOLDER go to JupyterLab:
    labkit lab FOLDER --no-browser --port 8890
    """
    from labkit.lab import launch, prepare

    if str(folder).startswith("-"):
        raise click.UsageError(f"the folder comes first: labkit lab FOLDER {folder} …")
    ctx.exit(launch(prepare(folder), options))


@main.command()
@click.argument("notebook", type=click.Path(path_type=Path))
@click.option(
    "-p",
    "--parameter",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="Replace a default of the notebook's parameters cell; may be repeated.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs"), help="Where the run is kept."
)
def run(notebook: Path, parameters: tuple[str, ...], out: Path) -> None:
    """Run NOTEBOOK without a person: executed notebook, HTML page, results.json.

    labkit run notebooks/06_weights_converging.ipynb -p lr=0.1 -p init=zeros --out runs/
    """
    from labkit.batch import run_notebook
    from labkit.results import Table

    given = {}
    for text in parameters:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"-p {text}: write NAME=VALUE, as in -p lr=0.1")
        given[name] = value
    done = run_notebook(notebook, given, out, progress=True)
    if done.results:
        click.echo(repr(Table({"result": k, "value": v} for k, v in done.results.items())))
    click.echo(f"notebook  {done.notebook}\npage      {done.page}")
    if done.error:
        raise click.ClickException(f"{notebook} failed in {done.error}")


def _recipe_options() -> list[click.Parameter]:
    """One option for every field of a Recipe, from the fields themselves."""
    from labkit.parameters import parameters
    from labkit.recipe import Recipe

    return [
        click.Option(
            [f"--{parameter.name.replace('_', '-')}", parameter.name],
            metavar="VALUE",
            help=f"{parameter.help} ({parameter.allowed})",
        )
        for parameter in parameters(Recipe).values()
        if not parameter.name.endswith("_args")
    ]


class _RecipeCommand(click.Command):
    """A command whose options are the Recipe's fields, made when they are needed: the
    other commands then start without importing torch.
    """

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*_recipe_options(), *super().get_params(ctx)]


@main.command(cls=_RecipeCommand)
@click.argument("changes", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--save", type=click.Path(path_type=Path), help="Keep the history in this file.")
def train(changes: tuple[str, ...], save: Path | None, **fields: str | None) -> None:
    """Train one recipe and print what came out.

    Options are the recipe's fields; a share string does as well:
    labkit train 'task=digits init=xavier_normal(factor=1.5) lr=0.01'
    """
    from labkit.diagnosis.causes import diagnose
    from labkit.optimize import advice
    from labkit.recipe import Recipe
    from labkit.results import Table
    from labkit.training import fit

    options = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
    recipe = Recipe.from_text(" ".join([*changes, options]))
    for note in advice(recipe):
        click.echo(f"Note: {note}", err=True)
    history = fit(recipe)
    click.echo(recipe.to_text())
    click.echo(repr(Table({"result": k, "value": v} for k, v in history.summary().items())))
    for finding in diagnose(history):
        click.echo(f"Found: {finding}")
    if save:
        click.echo(f"history  {history.save(save)}")


@main.command("list")
@click.argument("kind", required=False)
def list_(kind: str | None) -> None:
    """List what can be chosen: tasks, inits, optimizers, schedules, losses, views …"""
    from labkit.errors import unknown
    from labkit.gradients.losses import LOSSES
    from labkit.recipe import REGISTRIES
    from labkit.results import Table
    from labkit.surfaces.toys import SURFACES
    from labkit.views import VIEWS

    registries = {**REGISTRIES, "loss": LOSSES, "surface": SURFACES, "view": VIEWS}
    if kind and kind not in registries:
        raise click.ClickException(unknown("kind", kind, registries))
    for name, registry in registries.items():
        if kind in (None, name):
            click.echo(f"{name}\n\n{Table(registry.table())!r}\n")


@main.command()
def doctor() -> None:
    """Say what this machine can do."""
    from labkit.machine import doctor as look

    click.echo(repr(look()))
