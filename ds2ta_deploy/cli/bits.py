"""``ds2ta bits``."""

import re
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ds2ta_deploy.cli.imports import import_options, load
from ds2ta_deploy.cli.options import checkpoint_argument, json_option, print_json, print_table, progress, say, settings_options
from ds2ta_deploy.errors import Problem, UsageError
from ds2ta_deploy.staging import whole_file

if TYPE_CHECKING:
    from ds2ta_deploy.datasets import Labelled
    from ds2ta_deploy.narrowing import Measured, Narrowing
    from ds2ta_deploy.quantization import Quantization

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "kib": 2**10, "mib": 2**20}


def _read_bytes(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """``60kB`` is 60,000 bytes, ``60KiB`` 61,440."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?) ?([a-z]*)", value.lower(), re.ASCII)
    if found is None or found[2] not in _UNITS:
        raise click.BadParameter("give a number of bytes, as 60000, 60kB, 0.06MB or 58KiB")
    return int(Fraction(found[1]) * _UNITS[found[2]])


@click.command("bits", epilog="Example: ds2ta bits ckpt.safetensors --data pictures.npz --size 60kB -o bits.toml")
@checkpoint_argument
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help=".npz with 'images' or 'frames' and, for top-1, 'labels', or a directory of idx files (its training split).",
)
@click.option("--samples", type=click.IntRange(1), default=1000, show_default=True, help="Most samples of the data to measure on.")
@click.option("--size", "most_bytes", metavar="BYTES", callback=_read_bytes, help="Budget: bytes that all weights take, as 60kB.")
@click.option(
    "--accuracy-loss",
    "most_loss",
    type=click.FloatRange(0, 100),
    metavar="POINTS",
    help="Budget: points of top-1 against 8 bits everywhere; without labels, percent of decisions that change.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Config file to write, for --config.")
@settings_options
@import_options
@json_option
def command(
    checkpoint: Path,
    data: Path,
    samples: int,
    most_bytes: int | None,
    most_loss: float | None,
    output: Path,
    config: Path | None,
    as_json: bool,
    said: dict[str, Any],
    **settings: Any,
) -> None:
    """Choose a weight format (8, 6, 4 bits or powers of two) for every layer of CHECKPOINT, under one budget.

    First every layer alone is narrowed, and the decisions that change are counted; then those layers are narrowed that change
    the fewest a byte saved. Use other samples than those of the final test. The output is a config file for every command
    that has --config.
    """
    from ds2ta_deploy.runtimes.table import require_torch

    require_torch()
    import msgspec

    from ds2ta_deploy.cli.export import read_settings
    from ds2ta_deploy.narrowing import NARROWER, narrow
    from ds2ta_deploy.quantizing.formats import formattable_layers

    if not output.parent.is_dir():
        raise UsageError(Problem("DS2TA-502", "there is no such directory", str(output.parent)))
    chosen = read_settings(config, settings)
    model = load(checkpoint, said).model
    labelled = _first(data, samples, model.config.input_shape.index(None))
    budget = {"most_bytes": most_bytes, "most_loss": most_loss}
    with progress("narrowing one layer at a time", len(formattable_layers(model)) * len(NARROWER)) as tell:
        found = narrow(model, labelled.images, labelled.labels, chosen, **budget, progress=tell)  # type: ignore[arg-type]
    with whole_file(output) as file:
        file.write(_toml(found, chosen).encode())
    if as_json:
        print_json({"output": str(output), **msgspec.to_builtins(found)})
        return
    _show(found)
    say(f"wrote {output}")


def _first(path: Path, samples: int, axis: int) -> "Labelled":
    """Return the first samples of a file, or of a directory's training split."""
    from ds2ta_deploy.datasets import Labelled, read_data, read_idx_directory

    data = read_idx_directory(path, "train") if path.is_dir() else read_data(path)
    count = min(samples, data.images.shape[axis])
    return Labelled(data.images.take(range(count), axis), None if data.labels is None else data.labels[:count])


def _toml(found: "Narrowing", settings: "Quantization") -> str:
    """Return the config file; names of layers and settings hold nothing that TOML would read otherwise."""
    import json

    import msgspec

    plain = msgspec.to_builtins(found.settings(settings))
    formats = plain.pop("weights")
    lines = [f"# {_words(found.chosen, found.samples)}", *(f"{name} = {json.dumps(value)}" for name, value in plain.items())]
    lines += ["", "[weights]", *(f"{json.dumps(layer)} = {json.dumps(chosen)}" for layer, chosen in formats.items())]
    return "\n".join(lines) + "\n"


def _words(measured: "Measured", samples: int) -> str:
    """Say what formats cost."""
    top1 = "" if measured.correct is None else f", top-1 {measured.correct / samples:.2%}"
    return f"{measured.bytes:,} bytes of weights; {measured.changed:,} of {samples:,} decisions differ from 8 bits everywhere{top1}"


def _show(found: "Narrowing") -> None:
    """Print the table of layers, and the result."""
    from rich.table import Table

    from ds2ta_deploy.narrowing import NARROWER

    names = {chosen: f"{chosen} bits" if isinstance(chosen, int) else str(chosen) for chosen in (8, *NARROWER)}
    alone = {(entry.layer, entry.format): entry for entry in found.sensitivities}
    table = Table(
        "layer", "8 bits, bytes", title=f"Decisions of {found.samples:,} that change when one layer alone is narrowed", title_justify="left"
    )
    for heading in (*(names[chosen] for chosen in NARROWER), "chosen", "bytes"):
        table.add_column(heading, justify="right")
    for layer, chosen in found.formats.items():
        size = found.layer_bytes[layer] if chosen == 8 else alone[layer, chosen].layer_bytes
        changed = (str(alone[layer, narrower].measured.changed) for narrower in NARROWER)
        table.add_row(layer, f"{found.layer_bytes[layer]:,}", *changed, names[chosen], f"{size:,}")
    print_table(table)
    say(f"8 bits everywhere: {_words(found.widest, found.samples)}")
    say(f"chosen: {_words(found.chosen, found.samples)}")
