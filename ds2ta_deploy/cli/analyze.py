"""``ds2ta analyze``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ds2ta_deploy.cli.events import INPUTS, event_options
from ds2ta_deploy.cli.imports import import_options
from ds2ta_deploy.cli.options import checkpoint_argument, json_option, print_json, print_report, samples_option, say, settings_options
from ds2ta_deploy.cli.scheduling import Scheduling, run_job, scheduling_options
from ds2ta_deploy.errors import printable

if TYPE_CHECKING:
    from rich.table import Table

    from ds2ta_deploy.analysis.results import Analysis, Effect, LayerAnalysis
    from ds2ta_deploy.events.frames import EventReading


@click.command("analyze", epilog="Example: ds2ta analyze ckpt.safetensors --data pictures.npz --weight-bits 4 --plot layers.svg")
@checkpoint_argument
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help=f"{INPUTS}; with labels for top-1.",
)
@samples_option
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw it here, .svg or .png; needs matplotlib.")
@scheduling_options
@settings_options
@event_options
@import_options
@json_option
def command(
    checkpoint: Path,
    data: Path,
    samples: int,
    plot: Path | None,
    scheduler: str | None,
    workers: int | None,
    resume: Path | None,
    config: Path | None,
    as_json: bool,
    reading: "EventReading",
    said: dict[str, Any],
    **settings: Any,
) -> None:
    """Measure what every layer of CHECKPOINT costs on the integer grid: alone, and with all layers before it.

    A layer's weight error, the spikes that flip where its error is first seen, and the decisions that change. Compared
    with the trained network in float64. Two runs a layer: choose the number of samples with care.
    """
    from ds2ta_deploy.runtimes.table import require_torch

    require_torch()
    from ds2ta_deploy.analysis.picture import draw, require_drawing
    from ds2ta_deploy.analysis.results import merge
    from ds2ta_deploy.cli.export import read_settings
    from ds2ta_deploy.cli.jobs import AnalyzeJob
    from ds2ta_deploy.datasets import first_samples
    from ds2ta_deploy.errors import Problem, UsageError
    from ds2ta_deploy.inputs import read_inputs

    if plot is not None:
        require_drawing(plot)
    job = AnalyzeJob(checkpoint, None, read_settings(config, settings), said)
    opened = job.open()
    chosen = first_samples(read_inputs(data, opened.input_shape, reading), samples, opened.batch_axis)
    parts = run_job(job, opened, chosen, Scheduling(scheduler, workers, resume), "analyzing")
    if not parts:
        raise UsageError(Problem("DS2TA-507", "there is no sample to run", str(data)))
    analysis = merge([part for _, part in parts])
    if plot is not None:
        draw(analysis, plot)
        say(f"drew {plot}")
    if as_json:
        print_json(analysis_json(analysis))
        return
    print_report([_layers(analysis), _rates(analysis)])
    for line in _words(analysis):
        click.echo(line)


def analysis_json(analysis: "Analysis") -> dict[str, Any]:
    """Return the stable JSON form; shares are rounded to six digits, counts are exact."""
    whole = sum(analysis.compared.values())

    def effect(layer: "LayerAnalysis", what: "Effect") -> dict[str, Any]:
        own = None if layer.spikes is None else what.spike_flips / analysis.compared[layer.spikes]
        return {
            "spike_flips": None if layer.spikes is None else what.spike_flips,
            "spike_flip_rate": None if own is None else round(own, 6),
            "all_spike_flips": what.all_spike_flips,
            "all_spike_flip_rate": round(what.all_spike_flips / whole, 6),
            "same_decisions": what.same_decisions,
            "agreement": round(what.same_decisions / analysis.samples, 6),
            "correct": what.correct,
            "top1_percent": _percent(what.correct, analysis.samples),
        }

    return {
        "schema": "ds2ta-analysis/1",
        "samples": analysis.samples,
        "correct": analysis.correct,
        "top1_percent": _percent(analysis.correct, analysis.samples),
        "activation_sparsity": round(analysis.activation_sparsity, 6),
        "layers": [
            {
                "name": layer.name,
                "spikes": layer.spikes,
                "weight_error": None if layer.weight_error is None else round(layer.weight_error, 6),
                "alone": effect(layer, layer.alone),
                "cumulative": effect(layer, layer.cumulative),
            }
            for layer in analysis.layers
        ],
        "populations": [
            {
                "name": entry.name,
                "compared": entry.compared,
                "flips": entry.flips,
                "float_firing_rate": round(entry.float_spikes / entry.compared, 6),
                "integer_firing_rate": round(entry.integer_spikes / entry.compared, 6),
                "activation_sparsity": round(1 - entry.integer_spikes / entry.compared, 6),
            }
            for entry in analysis.populations
        ],
    }


def _percent(correct: int | None, samples: int) -> float | None:
    return None if correct is None else round(100 * correct / samples, 4)


def _layers(analysis: "Analysis") -> "Table":
    """Return one line a layer."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"Layers on the integer grid, {analysis.samples:,} samples", title_justify="left")
    table.add_column("layer", no_wrap=True)
    table.add_column("weight error", justify="right")
    for scope in ("alone", "cumulative"):
        for name in ("flips", "agreement", "top-1"):
            table.add_column(f"{scope}: {name}", justify="right")
    for layer in analysis.layers:
        error = "" if layer.weight_error is None else f"{layer.weight_error:.3%}"
        cells = [cell for what in (layer.alone, layer.cumulative) for cell in _cells(analysis, layer, what)]
        table.add_row(escape(printable(layer.name)), error, *cells)
    return table


def _cells(analysis: "Analysis", layer: "LayerAnalysis", what: "Effect") -> list[str]:
    flips = "" if layer.spikes is None else f"{what.spike_flips / analysis.compared[layer.spikes]:.3%}"
    top1 = "" if what.correct is None else f"{100 * what.correct / analysis.samples:.2f} %"
    return [flips, f"{what.same_decisions / analysis.samples:.1%}", top1]


def _rates(analysis: "Analysis") -> "Table":
    """Return one line a population."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Spikes, all layers on the grid", title_justify="left")
    table.add_column("population", no_wrap=True)
    for name in ("flips", "fires in float", "fires in integers"):
        table.add_column(name, justify="right")
    for entry in analysis.populations:
        shares = (count / entry.compared for count in (entry.flips, entry.float_spikes, entry.integer_spikes))
        table.add_row(escape(printable(entry.name)), *(f"{share:.2%}" for share in shares))
    return table


def _words(analysis: "Analysis") -> list[str]:
    """Say what it comes to, and which layer alone changes most decisions."""
    last = analysis.layers[-1].cumulative
    worst = min(analysis.layers, key=lambda layer: (layer.alone.same_decisions, -layer.alone.all_spike_flips))
    same = f"{last.same_decisions} of {analysis.samples}"
    lines = [f"the whole network on the grid: same decision for {same} samples ({last.same_decisions / analysis.samples:.1%})"]
    if last.correct is not None and analysis.correct is not None:
        before, after = (100 * count / analysis.samples for count in (analysis.correct, last.correct))
        lines.append(f"top-1 {before:.2f} % as trained, {after:.2f} % on the grid")
    lines.append(f"most sensitive alone: {worst.name} ({worst.alone.same_decisions / analysis.samples:.1%} the same decision)")
    return [printable(line) for line in lines]
