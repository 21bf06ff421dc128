"""Options, progress and tables that several commands share. Data goes to stdout, words to stderr."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ds2ta_deploy.errors import printable

if TYPE_CHECKING:
    from rich.table import Table

    from ds2ta_deploy.parity import ParityReport, Progress

Function = TypeVar("Function", bound=Callable[..., Any])

artifact_argument = click.argument("artifact", type=click.Path(path_type=Path))
checkpoint_argument = click.argument("checkpoint", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
values_option = click.option(
    "--values",
    type=click.Choice(["populations", "all"]),
    default="populations",
    show_default=True,
    help="populations: spikes, counts, logits. all: currents, membranes and attention maps too.",
)
lava_python_option = click.option(
    "--lava-python", type=click.Path(path_type=Path), help="Interpreter that has Lava, for the runtime lava.  [default: this one]"
)
samples_option = click.option("--samples", type=click.IntRange(1), default=256, show_default=True, help="Most samples of the data to run.")
allow_modified_option = click.option("--allow-modified", is_flag=True, help="Go on although files are not the ones exported.")


#: The settings of quantization that are an option and a key of the config file; there, a table [weights] may follow.
SETTINGS = ("profile", "weight_bits", "first_layer_bits", "stream_bits", "thresholds")

_SETTINGS_OPTIONS = (
    click.option(
        "--config",
        type=click.Path(path_type=Path),
        help=f"TOML file with {', '.join(SETTINGS)}, and a table [weights] of formats by layer.",
    ),
    click.option(
        "--profile",
        type=click.Choice(["cpu", "loihi"]),
        help="Widths to freeze under: 32-bit state, or 24-bit.  [default: the target's, or cpu]",
    ),
    click.option("--weight-bits", type=click.IntRange(2, 8), help="Bits of the weights behind the first layer.  [default: 8]"),
    click.option("--first-layer-bits", type=click.IntRange(8, 12), help="Bits of the first layer's weights and inputs.  [default: 10]"),
    click.option(
        "--stream-bits",
        type=click.IntRange(8, 14),
        help="Most bits of weights that add into a stream of currents (membrane shortcut).  [default: 14]",
    ),
    click.option(
        "--thresholds",
        type=click.Choice(["channel", "layer"]),
        help="Integer thresholds: one a channel, or one a layer, as Lava's own neurons need.  [default: channel]",
    ),
)


def settings_options(command: Function) -> Function:
    """Add the options that say how a model is put on the grid."""
    for option in reversed(_SETTINGS_OPTIONS):
        command = option(command)
    return command


def runtime_option(about: str, *, multiple: bool = False) -> Callable[[Function], Function]:
    """Return the option ``--runtime`` with this help."""
    return click.option("--runtime", metavar="NAME", multiple=multiple, help=about)


def say(text: str, *, warning: bool = False) -> None:
    """Print words on stderr."""
    click.echo(f"{click.style('warning', fg='yellow')} {printable(text)}" if warning else printable(text), err=True)


def print_table(table: "Table") -> None:
    """Print a table on stderr, as wide as it needs when nobody watches."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 120)
    console.print(table)


def print_report(tables: "Iterable[Table]") -> None:
    """Print tables as the command's result on stdout, as wide as they need when nobody watches."""
    from rich.console import Console

    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=160)
    for table in tables:
        console.print(table)


def print_json(data: Any) -> None:
    """Print data on stdout."""
    import json

    click.echo(json.dumps(data, indent=2, sort_keys=True))


@contextmanager
def progress(description: str, total: int) -> "Iterator[Progress]":
    """Show a progress bar on stderr when a person watches; yields the function to tell how far it is."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(escape(printable(description)), total=total)
        yield lambda done: bar.update(task, completed=done)


def parity_table(report: "ParityReport", how: str = "") -> "Table":
    """Show how each runtime compares; ``how`` says what is special about the run."""
    from rich.table import Table

    title = f"Parity on {report.samples} samples{f', {how}' if how else ''}"
    table = Table("runtime", "values", "integers compared", "different", title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row(f"{report.baseline} (baseline)", f"{len(report.hashes)}", "", "")
    for result in report.results:
        different = f"[green]{result.different}[/green]" if result.different == 0 else f"[red]{result.different:,}[/red]"
        table.add_row(result.runtime, f"{result.values}", f"{result.integers:,}", different)
    return table


def print_rates(report: "ParityReport") -> None:
    """Say how much the network fired, and warn of what was not exercised."""
    if not report.firing_rates:
        return
    rates = report.firing_rates
    low, high = min(rates, key=rates.__getitem__), max(rates, key=rates.__getitem__)
    say(f"firing rates {rates[low]:.1%} ({low}) to {rates[high]:.1%} ({high})")
    for name, rate in report.silent.items():
        say(f"{name} fires {rate:.2%}: the comparison says little about what follows it", warning=True)


def parity_json(report: "ParityReport") -> dict[str, Any]:
    """Return the stable JSON form of a comparison."""
    return {
        "passed": report.passed,
        "baseline": report.baseline,
        "samples": report.samples,
        "runtimes": [{"runtime": r.runtime, "values": r.values, "integers": r.integers, "different": r.different} for r in report.results],
        "firing_rates": report.firing_rates,
        "hashes": report.hashes,
        "left_out": report.left_out,
    }


def read_numbers(_context: click.Context, option: click.Parameter, text: str | None) -> tuple[int, ...]:
    """Read ``0,3``: whole numbers from 0 on."""
    parts = [] if text is None else text.split(",")
    if not all(part.isascii() and part.isdecimal() and len(part) < 6 for part in parts):
        raise click.BadParameter(f"{text!r} is not a list of numbers from 0 on", param=option)
    return tuple(dict.fromkeys(map(int, parts)))
