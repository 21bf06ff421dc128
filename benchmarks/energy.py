"""Operations and energy: the paper's table of attention maps, and the same for networks that were trained.

python -m benchmarks.energy paper
python -m benchmarks.energy networks examples/fashion_mnist/*.safetensors --data /usr/share/datasets/fashion-mnist --samples 1000

Both print a Markdown table. Counts come from running the integers; energy is counts times constants (docs/energy.md).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from ds2ta_deploy.checkpoints import load_checkpoint
from ds2ta_deploy.datasets import FASHION_MNIST, Labelled, first_samples, read_data
from ds2ta_deploy.energy.attention import map_energy_nj, paper_table
from ds2ta_deploy.energy.constants import CONSTANTS, INTEGER
from ds2ta_deploy.energy.measure import EnergyReport, energy_pj, measure_energy
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.quantization import quantize

#: Samples that are scored at once.
_BATCH = 50


@click.group()
def main() -> None:
    """Print tables of operations and energy."""


@dataclass(frozen=True)
class Network:
    """What was measured of one network.

    Attributes:
        name: of its checkpoint.
        top1: right decisions of the integers, in percent.
        report: operations and sparsities.

    """

    name: str
    top1: float
    report: EnergyReport


@main.command()
def paper() -> None:
    """Print Table 3 of the paper, computed from its sparsities."""
    click.echo(table_of_paper(), nl=False)


def table_of_paper() -> str:
    """Return Table 3 of the paper, computed from its sparsities, in Markdown."""
    heads = ("block", "sparsity, baseline", "sparsity, denoised", "energy, baseline", "energy, denoised", "saved", "by sparsity alone")
    lines = [
        (
            str(row.block),
            *(f"{percent:.2f} %" for percent in (row.sparsity_before, row.sparsity_after)),
            *(f"{energy:.2f} nJ" for energy in (row.energy_before, row.energy_after)),
            f"{row.saving:.1f} %",
            f"{row.saving_unrounded:.2f} %",
        )
        for row in paper_table()
    ]
    return markdown(heads, lines)


@main.command()
@click.argument("checkpoints", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--data", type=click.Path(path_type=Path), default=FASHION_MNIST, show_default=True, help="Labelled pictures.")
@click.option("--samples", type=click.IntRange(1), default=1000, show_default=True, help="How many of them.")
def networks(checkpoints: tuple[Path, ...], data: Path, samples: int) -> None:
    """Print a line a checkpoint: top-1 in integers, what its maps hold, what it does for one sample."""
    click.echo(table_of_networks([measure(path, data, samples) for path in checkpoints]), nl=False)


def measure(path: Path, data: Path, samples: int) -> Network:
    """Run the integers of a checkpoint on the first so many samples and count what they do."""
    graph = freeze(quantize(load_checkpoint(path)))
    chosen = first_samples(read_data(data), samples, graph.input_type.shape.index(None))
    return Network(path.stem, top1(graph, chosen), measure_energy(graph, chosen.images))


def table_of_networks(measured: Sequence[Network]) -> str:
    """Return a line a network, in Markdown."""
    heads = (
        *("network", "top-1", "silent", "map sparsity by block", "behind the denoiser", "A V by map, nJ"),
        *("effective ACs", "effective MACs", "window additions", *(f"energy, {name}, nJ" for name in CONSTANTS)),
    )
    return markdown(heads, [(network.name, f"{network.top1:.2f} %", *_cells(network.report)) for network in measured])


def top1(graph: Graph, data: Labelled) -> float:
    """Return the share of right decisions of the integers, in percent."""
    if data.labels is None:
        raise click.UsageError("the data have no labels")
    starts = range(0, len(data.labels), _BATCH)
    logits = [graph.execute(data.images[start : start + _BATCH]) for start in starts]
    return 100.0 * float((np.concatenate(logits).argmax(1) == data.labels).mean())


def _cells(report: EnergyReport) -> list[str]:
    total, samples = report.total, report.samples
    maps = report.maps
    return [
        f"{report.activation_sparsity:.1%}",
        " / ".join(f"{entry.sparsity_before:.2%}" for entry in maps) or "no map",
        " / ".join(f"{entry.sparsity_after:.2%}" for entry in maps if entry.sparsity_after is not None) or "-",
        " / ".join(f"{map_energy_nj(INTEGER.accumulate, entry.dense / samples, entry.sparsity):.2f}" for entry in maps) or "-",
        *(f"{count / samples:,.0f}" for count in (total.effective_acs, total.effective_macs, total.window_additions)),
        *(f"{energy_pj(total, constants) / samples / 1000:,.0f}" for constants in CONSTANTS.values()),
    ]


def markdown(heads: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    heads = list(heads)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (heads, ["---"] * len(heads), *lines))


if __name__ == "__main__":
    main()
