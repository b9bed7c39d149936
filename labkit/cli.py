"""The command `labkit`: the library's own functions, from a shell."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from labkit._version import __version__
from labkit.core.errors import LabError


class _Commands(click.Group):
    """A group whose commands show a user's mistake as one line, without a traceback."""

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


class _Assignment(click.ParamType[str]):
    """`NAME=VALUES`, kept as text: the notebook decides how the values are read."""

    name = "NAME=VALUES"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        name, equals, _ = str(value).partition("=")
        if not (equals and name.strip()):
            self.fail(f"{value}: write NAME=VALUE, as in -p lr=0.1", param, ctx)
        return str(value)


class _Duration(click.ParamType[float]):
    """A time such as `90`, `5m` or `1h30m`, in seconds."""

    name = "TIME"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        from labkit.batch.quantities import seconds

        try:
            return value if isinstance(value, float) else seconds(str(value))
        except LabError as error:
            self.fail(str(error), param, ctx)


class _Size(click.ParamType[int]):
    """A size such as `4GB` or `512MiB`, in bytes."""

    name = "SIZE"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        from labkit.batch.quantities import size

        try:
            return value if isinstance(value, int) else size(str(value))
        except LabError as error:
            self.fail(str(error), param, ctx)


@main.command()
@click.argument("notebooks", nargs=-1, type=click.Path(path_type=Path), metavar="[NOTEBOOK]...")
@click.option(
    "-p",
    "--parameter",
    "parameters",
    multiple=True,
    type=_Assignment(),
    help="Values of a parameter, each a run: lr=0.1,0.01 or lr=1e-3:1e-1:log:5; repeatable.",
)
@click.option(
    "--seeds", type=click.IntRange(1), metavar="N", help="Every run with the seeds 0 to N-1."
)
@click.option(
    "--grid",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Notebooks, parameters, seeds and runs from a YAML file; -p and --seeds replace its own.",
)
@click.option("--out", default="runs", show_default=True, help="Folder or URL for the runs.")
@click.option("--fast", is_flag=True, help="The notebooks' own values for a quick run.")
@click.option("--dry-run", is_flag=True, help="List the runs, and how long they would take.")
@click.option(
    "--most", type=click.IntRange(1), metavar="N", help="Refuse more than N runs; else 10,000."
)
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Runs at once; else one a core.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads of each run; else 1.")
@click.option(
    "--kernel",
    type=click.Choice(["warm", "plain"]),
    default="warm",
    show_default=True,
    help="Forked from a process that has imported torch and plotly, or started from nothing.",
)
@click.option(
    "--retries",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Further attempts after a lost worker or kernel.",
)
@click.option("--again", is_flag=True, help="Also run what is done again.")
@click.option("--failed", is_flag=True, help="Also run what has failed again.")
@click.option("--report-mode", is_flag=True, help="Hide the code in the executed notebooks.")
@click.option("--cell-timeout", type=_Duration(), help="The most that one cell may take: 90, 5m.")
@click.option("--timeout", type=_Duration(), help="The most that one run may take: 90, 5m.")
@click.option("--memory", type=_Size(), help="The most memory that one run may use: 4GB.")
@click.option("--dask", metavar="ADDRESS", help="Run on a Dask cluster: tcp://scheduler:8786.")
@click.option("--gpu", type=click.FloatRange(0), metavar="N", help="GPUs of each run, on Dask.")
@click.option("--resume", metavar="DIR", help="Run what the batch in DIR has not done.")
@click.option("--status", metavar="DIR", help="Show how far the batch in DIR is.")
@click.pass_context
def run(ctx: click.Context, notebooks: tuple[Path, ...], **options: Any) -> None:
    """Run NOTEBOOKs headless, over a grid: executed notebooks, pages, one table.

    \b
    labkit run notebooks/04_optimizers.ipynb -p optimizer=sgd,adam --seeds 3 --out runs/opt
    labkit run notebooks/ --fast        every notebook of a folder, quickly
    labkit run --resume runs/opt        go on after Ctrl-C, or with what is left
    labkit run --status runs/opt        how far it is, and what failed
    """  # noqa: D301
    _check_usage(ctx, options)
    from labkit.batch import command

    if options["status"]:
        from labkit.batch import show, status

        click.echo(show.status(status(options["status"])))
        return
    try:
        if options["resume"]:
            before = command.done_before(options["resume"])
            batch = command.go_on(options)
        else:
            grid = command.grid_spec(options)
            paths = list(notebooks or grid.notebooks)
            if not paths:
                raise click.UsageError("which one? labkit run NOTEBOOK, or a --grid that names it")
            if options["dry_run"]:
                click.echo(command.dry_run(paths, grid, options))
                return
            before = set() if options["again"] else command.done_before(options["out"])
            batch = command.start(paths, grid, options)
        click.echo(command.outcome(batch, before))
    except KeyboardInterrupt as stopped:
        click.echo(stopped, err=True)
        ctx.exit(130)
    if wrong := command.failures(batch):
        raise click.ClickException(wrong)


# Beside a folder whose batch goes on, or is looked at.
BESIDE = {
    "status": {"status"},
    "resume": {"resume", "jobs", "retries", "failed", "dask", "gpu", "memory"},
}


def _check_usage(ctx: click.Context, options: dict[str, Any]) -> None:
    """Refuse options that would have no effect."""
    given = {
        param.name: param.opts[0] if isinstance(param, click.Option) else "NOTEBOOK"
        for param in ctx.command.params
        if ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
    }
    for name, allowed in BESIDE.items():
        if name in given and (wrong := set(given) - allowed):
            raise click.UsageError(
                f"--{name} DIR is about the batch in DIR: leave out "
                + ", ".join(given[option] for option in sorted(wrong))
            )
    if "gpu" in given and not options["dask"]:
        raise click.UsageError("--gpu is for --dask: on this machine every run sees every GPU")
    if "resume" in given and "memory" in given and not options["dask"]:
        raise click.UsageError("--memory is for --dask here: the runs keep the limit they had")


@main.command()
@click.argument("folder")
def report(folder: str) -> None:
    """Make the page of the batch in FOLDER: its table, charts and failures, readable offline."""
    from labkit.batch import results
    from labkit.batch.report import report

    results.write(folder)
    click.echo(report(folder))


def _recipe_options() -> list[click.Parameter]:
    """One option for every field of a Recipe, from the fields themselves."""
    from labkit.core.parameters import parameters
    from labkit.recipe.recipe import Recipe

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
    from labkit.core.table import Table
    from labkit.diagnosis.causes import diagnose
    from labkit.recipe.advice import advice
    from labkit.recipe.recipe import Recipe, split_text
    from labkit.training.trainer import fit

    texts = split_text(" ".join(changes))
    for name, text in fields.items():
        if text is not None and name in texts:
            option = name.replace("_", "-")
            raise click.UsageError(f"{name} is given twice: as {name}=… and as --{option}")
        texts |= {} if text is None else {name: text}
    recipe = Recipe.from_texts(texts)
    for note in advice(recipe):
        click.echo(f"Note: {note}", err=True)
    history = fit(recipe)
    click.echo(recipe.to_text())
    click.echo(repr(Table({"result": k, "value": v} for k, v in history.summary().items())))
    for finding in diagnose(history):
        click.echo(f"Found: {finding}")
    if save:
        click.echo(f"history  {history.save(save)}")


@main.command()
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Everything that is known, as JSON.")
def inspect(file: str, as_json: bool) -> None:
    """Say what is in FILE of weights: .pt, .safetensors, .onnx, .tflite; nothing in it is run.

    \b
    labkit inspect best.pt        what it is, its tensors, the largest ones
    labkit inspect yolo26n.pt     a model that Ultralytics publishes, fetched if need be
    labkit inspect starter        the weights that come with labkit
    """  # noqa: D301
    import json

    from labkit.weights import load
    from labkit.weights.summary import summary, tables

    weights = load(file)
    if as_json:
        click.echo(json.dumps(summary(weights), indent=2))
    else:
        click.echo("\n\n".join(map(repr, tables(weights))))


@main.command()
@click.argument("weights")
@click.option("--data", required=True, help="cells, …, a data.yaml, or an Ultralytics name.")
@click.option(
    "--target",
    type=click.Choice(["latency", "size"]),
    default="latency",
    show_default=True,
    help="What should be small.",
)
@click.option(
    "--max-drop",
    type=float,
    default=0.01,
    show_default=True,
    help="Of mAP50-95 against the network in fp32.",
)
@click.option("--imgsz", type=int, help="Side of the images in pixels; else the detector's own.")
@click.option("--calibration", help="Another data set to calibrate with.")
@click.option("--calibration-images", type=int, default=64, show_default=True)
@click.option("--limit", type=int, help="Of validation images; else all.")
@click.option("--threads", type=int, help='How many "all threads" are; else one a core.')
@click.option(
    "--candidate", "candidates", multiple=True, help="Only this one or this runtime; repeatable."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the chosen artifact.")
def quantize(weights: str, out: Path | None, candidates: tuple[str, ...], **options: Any) -> None:
    """Find what to deploy of WEIGHTS on this machine: measure runtimes and int8 schemes here.

    Prints a table and a verdict, and writes the chosen artifact with a card into --out:

    \b
    labkit quantize best.safetensors --data cells
    labkit quantize best.pt --data data.yaml --target size --max-drop 0.02 --out deploy
    """  # noqa: D301
    from labkit.deploy import save_artifact, search
    from labkit.deploy.artifact import artifact_folder

    folder = out or Path(f"{Path(weights).stem}-deploy")
    artifact_folder(folder)  # before minutes of work
    found = search(
        weights,
        candidates=candidates or None,
        on_progress=lambda what: click.echo(what, err=True),
        **options,
    )
    click.echo(f"{found.table()!r}\n\n{found.verdict}")
    if found.chosen is None:
        raise click.ClickException("nothing was written: no candidate is accurate enough")
    file = save_artifact(found, folder)
    click.echo(f"\nartifact  {file}\ncard      {file.parent / 'card.md'}")


@main.command("list")
@click.argument("kind", required=False)
def list_(kind: str | None) -> None:
    """List what can be chosen: tasks, inits, optimizers, schedules, losses, views …"""
    from labkit.core.errors import unknown
    from labkit.core.table import Table
    from labkit.recipe.recipe import REGISTRIES
    from labkit.toys.gradients.losses import LOSSES
    from labkit.toys.surfaces import SURFACES
    from labkit.views import VIEWS

    registries = {**REGISTRIES, "loss": LOSSES, "surface": SURFACES, "view": VIEWS}
    if kind and kind not in registries:
        raise click.ClickException(unknown("kind", kind, registries))
    for name, registry in registries.items():
        if kind in (None, name):
            click.echo(f"{name}\n\n{Table(registry.table())!r}\n")


@main.command()
def doctor() -> None:
    """Show what this machine can do."""
    from labkit.machine import doctor as look

    click.echo(repr(look()))
