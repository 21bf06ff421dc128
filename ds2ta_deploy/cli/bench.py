"""``ds2ta bench``."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ds2ta_deploy.cli.options import Function, allow_modified_option, artifact_argument, json_option, print_json, progress, runtime_option
from ds2ta_deploy.errors import Problem, UsageError

if TYPE_CHECKING:
    from ds2ta_deploy.benchmark import Timing

#: Largest batch and number of threads that can be asked for.
_MOST = 4096


def numbers(_context: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    """Read ``1,8``: whole numbers from 1 on."""
    parts = text.split(",")
    if not all(part.isdecimal() and 1 <= int(part) <= _MOST for part in parts):
        raise click.BadParameter(f"{text!r} is not a list of numbers between 1 and {_MOST}", param=option)
    return tuple(dict.fromkeys(map(int, parts)))


def numbers_option(name: str, about: str) -> Callable[[Function], Function]:
    """Return an option that takes ``1,8``."""
    return click.option(name, default="1", show_default=True, metavar="N,N…", callback=numbers, help=about)


@click.command("bench", epilog="Example: ds2ta bench OUT --runtime native --runtime onnxruntime --batch 1,8 --threads 1,2")
@artifact_argument
@runtime_option("Runtime to time; may be repeated.  [default: native and ONNX Runtime, with our kernels and without]", multiple=True)
@numbers_option("--batch", "Samples in a call.")
@numbers_option("--threads", "Threads that a runtime may use, where it can choose.")
@click.option("--repeats", type=click.IntRange(1, 100_000), default=20, show_default=True, help="Timed calls of each.")
@click.option("--populations", is_flag=True, help="Show the time of each population, where a runtime tells.")
@allow_modified_option
@json_option
def command(
    artifact: Path,
    runtime: tuple[str, ...],
    batch: tuple[int, ...],
    threads: tuple[int, ...],
    repeats: int,
    populations: bool,
    allow_modified: bool,
    as_json: bool,
) -> None:
    """Time runtimes on ARTIFACT's golden inputs, side by side and in turns.

    Every runtime's logits are compared with the reference's first: a wrong one is not timed, it fails.
    """
    import msgspec

    from ds2ta_deploy.artifact import Artifact
    from ds2ta_deploy.benchmark import benchmark
    from ds2ta_deploy.verification import available_runtimes, golden_inputs

    opened = Artifact.open(artifact, allow_modified=allow_modified)
    here = available_runtimes(opened.manifest.target, with_checkpoint=False)
    names = list(dict.fromkeys(runtime)) or [name for name in ("native", "onnxruntime-native", "onnxruntime") if name in here]
    if not names:
        raise UsageError(Problem("DS2TA-509", "there is nothing to time", mend=f"name one of: {', '.join(['reference', *here])}"))
    with progress(f"timing {artifact.name}", repeats) as tell:
        timings = benchmark(opened, names, golden_inputs(opened), batches=batch, threads=threads, repeats=repeats, progress=tell)
    if as_json:
        print_json(msgspec.to_builtins(timings))
        return
    _show(timings, populations=populations)


def _show(timings: "list[Timing]", *, populations: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=120)
    table = Table("runtime", title="Milliseconds a call, median of calls in turns", title_justify="left")
    for name in ("batch", "threads", "ms", "± ms", "best ms", "ms a sample", "first result, ms", "memory, MB"):
        table.add_column(name, justify="right")
    for entry in timings:
        memory = "" if entry.memory is None else f"{entry.memory / 1e6:.1f}"
        figures = (entry.milliseconds, entry.spread, entry.best, entry.milliseconds / entry.batch, entry.open_milliseconds)
        table.add_row(entry.runtime, str(entry.batch), str(entry.threads), *(f"{figure:.2f}" for figure in figures), memory)
    console.print(table)
    for entry in timings:
        if populations and entry.populations:
            click.echo(f"{entry.runtime}, batch {entry.batch}, {entry.threads} threads:")
            for name, milliseconds in entry.populations.items():
                click.echo(f"  {milliseconds:9.3f} ms  {name}")
