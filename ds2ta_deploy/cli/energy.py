"""``ds2ta energy``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ds2ta_deploy.cli.events import INPUTS, event_options
from ds2ta_deploy.cli.imports import import_options
from ds2ta_deploy.cli.options import (
    allow_modified_option,
    json_option,
    print_json,
    print_report,
    progress,
    samples_option,
    settings_options,
)
from ds2ta_deploy.errors import printable

if TYPE_CHECKING:
    from rich.table import Table

    from ds2ta_deploy.energy.constants import Constants
    from ds2ta_deploy.energy.measure import EnergyReport
    from ds2ta_deploy.events.frames import EventReading


@click.command("energy", epilog="Example: ds2ta energy OUT --data /usr/share/datasets/fashion-mnist")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help=f"{INPUTS}.")
@samples_option
@click.option(
    "--constants",
    type=click.Choice(["int8", "float32"]),
    default="int8",
    show_default=True,
    help="Energy of single operations: of the integers that are computed, or of float32, as papers reckon.",
)
@settings_options
@allow_modified_option
@event_options
@import_options
@json_option
def command(
    source: Path,
    data: Path,
    samples: int,
    constants: str,
    config: Path | None,
    allow_modified: bool,
    as_json: bool,
    reading: "EventReading",
    said: dict[str, Any],
    **settings: Any,
) -> None:
    """Count the operations of SOURCE, an artifact or a checkpoint, where a spike meets a weight, and estimate their energy.

    Exact counts from running the integers on the data, layer by layer; sparsity of every attention map before and
    behind its denoiser. The energy is those counts times constants of single operations: memory, routing and
    leakage are not in it.
    """
    from ds2ta_deploy.cli.sources import open_graph
    from ds2ta_deploy.datasets import first_samples
    from ds2ta_deploy.energy.constants import CONSTANTS
    from ds2ta_deploy.energy.measure import measure_energy
    from ds2ta_deploy.inputs import read_inputs

    graph = open_graph(source, config, settings, allow_modified=allow_modified, said=said)
    chosen = first_samples(read_inputs(data, graph.input_type.shape, reading), samples, graph.input_type.shape.index(None))
    with progress("counting operations", samples) as tell:
        report = measure_energy(graph, chosen.images, tell)
    if as_json:
        print_json(energy_json(report, CONSTANTS[constants]))
        return
    print_report([_layers(report, CONSTANTS[constants]), *([_maps(report, CONSTANTS[constants])] if report.maps else [])])
    for line in _words(report, CONSTANTS[constants]):
        click.echo(line)


def energy_json(report: "EnergyReport", constants: "Constants") -> dict[str, Any]:
    """Return the stable JSON form; the names are NeuroBench's where it has them, counts are sums over all samples."""
    import msgspec

    from ds2ta_deploy.energy.attention import map_energy_nj
    from ds2ta_deploy.energy.measure import energy_pj

    def counted(dense: int, operations: Any) -> dict[str, Any]:
        return {"dense": dense, **msgspec.to_builtins(operations), "energy_pj": round(energy_pj(operations, constants), 3)}

    return {
        "schema": "ds2ta-energy/1",
        "graph": report.graph,
        "samples": report.samples,
        "constants": msgspec.to_builtins(constants),
        "footprint": report.footprint,
        "activation_sparsity": round(report.activation_sparsity, 6),
        "connection_sparsity": round(report.connection_sparsity, 6),
        "synaptic_operations": counted(report.dense, report.total),
        "layers": [
            {
                "name": layer.name,
                "synaptic_operations": counted(layer.dense, layer.operations),
                "activation_sparsity": _rounded(layer.activation_sparsity),
                "connection_sparsity": _rounded(layer.connection_sparsity),
            }
            for layer in report.layers
        ],
        "attention_maps": [
            {
                "name": entry.name,
                "entries": entry.entries,
                "zeros_before": entry.zeros_before,
                "zeros_after": entry.zeros_after,
                "sparsity_before": _rounded(entry.sparsity_before),
                "sparsity_after": _rounded(entry.sparsity_after),
                "dense": entry.dense,
                "energy_nj": round(map_energy_nj(constants.accumulate, entry.dense, entry.sparsity), 6),
            }
            for entry in report.maps
        ],
    }


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 6)


def _layers(report: "EnergyReport", constants: "Constants") -> "Table":
    """Return one line a layer, per sample."""
    from rich.markup import escape
    from rich.table import Table

    from ds2ta_deploy.energy.measure import energy_pj

    table = Table(title=f"{escape(printable(report.graph))}: operations of one sample, mean of {report.samples:,}", title_justify="left")
    table.add_column("layer", no_wrap=True)
    for name in ("dense", "effective ACs", "effective MACs", "window adds", "silent", "zero weights", "energy nJ"):
        table.add_column(name, justify="right")
    for layer in report.layers:
        done = layer.operations
        counts = (layer.dense, done.effective_acs, done.effective_macs, done.window_additions)
        energy = energy_pj(done, constants) / report.samples / 1000
        table.add_row(
            escape(printable(layer.name)),
            *(f"{count / report.samples:,.0f}" if count else "" for count in counts),
            *("" if share is None else f"{share:.1%}" for share in (layer.activation_sparsity, layer.connection_sparsity)),
            f"{energy:,.2f}" if energy else "",
        )
    return table


def _maps(report: "EnergyReport", constants: "Constants") -> "Table":
    """Return one line an attention map."""
    from rich.markup import escape
    from rich.table import Table

    from ds2ta_deploy.energy.attention import map_energy_nj

    table = Table(title="Attention maps: E_AC x operations of A V x (1 - sparsity)", title_justify="left")
    table.add_column("attention", no_wrap=True)
    for name in ("sparsity", "behind the denoiser", "operations", "energy nJ"):
        table.add_column(name, justify="right")
    for entry in report.maps:
        dense = entry.dense / report.samples
        after = "" if entry.sparsity_after is None else f"{entry.sparsity_after:.2%}"
        energy = map_energy_nj(constants.accumulate, dense, entry.sparsity)
        table.add_row(escape(printable(entry.name)), f"{entry.sparsity_before:.2%}", after, f"{dense:,.0f}", f"{energy:,.2f}")
    return table


def _words(report: "EnergyReport", constants: "Constants") -> list[str]:
    from ds2ta_deploy.energy.measure import energy_pj

    total, samples = report.total, report.samples
    energy = energy_pj(total, constants) / samples / 1000
    dense = constants.multiply_accumulate * report.dense / samples / 1000
    done = (
        f"one sample: {total.effective_acs / samples:,.0f} ACs, {total.effective_macs / samples:,.0f} MACs, "
        f"{total.window_additions / samples:,.0f} window additions; {report.dense / samples:,.0f} MACs if nothing were skipped"
    )
    sparsity = (
        f"{report.activation_sparsity:.2%} of neurons and steps are silent, {report.connection_sparsity:.2%} of the weights are zero; "
        f"{report.footprint:,} bytes"
    )
    return [
        done,
        f"energy: {energy:,.1f} nJ a sample; {dense:,.1f} nJ if every product were done",
        sparsity,
        f"constants: {constants.source}; memory and routing are not counted, nothing was measured on a chip",
    ]
