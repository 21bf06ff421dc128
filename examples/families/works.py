"""Run every model family on every runtime and write down what was compared: the table in ``docs/families.md``.

    python examples/families/works.py                            # print the table
    python examples/families/works.py --write docs/families.md   # put it between the marks of that page

A small random network of each published form is exported to all targets at once and every value between its populations
compared with PyTorch on each runtime. A cell is the number of integers compared, none of which was different; a runtime
that is not installed here is left out, and a difference ends the program with the place where it is.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from ds2ta_deploy.errors import Ds2taError
from ds2ta_deploy.exporting import default_inputs, export
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.families import FamilyConfig
from ds2ta_deploy.models.presets import PRESETS
from ds2ta_deploy.parity import ParityReport
from ds2ta_deploy.quantization import Quantization, quantize
from ds2ta_deploy.runtimes.table import RUNTIMES
from ds2ta_deploy.targets import find_target
from ds2ta_deploy.verification import available_runtimes

#: What stands before and after the table in a page.
BEGIN, END = "<!-- works: begin -->", "<!-- works: end -->"

#: Pictures compared.
SAMPLES = 4


@dataclass(frozen=True)
class Form:
    """One published form of a family.

    Attributes:
        family: as people call it.
        form: which of its forms.
        config: of a small network of that form.

    """

    family: str
    form: str
    config: FamilyConfig


def _small(preset: str, **changes: Any) -> FamilyConfig:
    """Return a preset with two blocks of width 64 and 64 x 64 pixels at most."""
    config = PRESETS[preset]
    sizes = {"image_height": min(config.image_height, 64), "image_width": min(config.image_width, 64), "embed_dim": 64, "depth": 2}
    return msgspec.structs.replace(config, **sizes, num_heads=min(config.num_heads, 4), num_classes=10, **changes)


FORMS = (
    Form("DS2TA", "pictures", _small("ds2ta-4-384")),
    Form("DS2TA", "events", _small("ds2ta-2-256")),
    Form("Spikformer", "CIFAR", _small("spikformer-4-384")),
    Form("Spikformer", "CIFAR10-DVS", _small("spikformer-2-256")),
    Form("Spikformer", "ImageNet", _small("spikformer-8-512")),
    Form("Spikformer", "with STAtten's attention (our definition)", _small("spikformer-4-384", attention_order="state", chunk_steps=2)),
    Form("Spike-driven transformer", "pictures", _small("sdt-2-512")),
    Form("Spike-driven transformer", "events", _small("sdt-2-256")),
    Form("STAtten", "pictures", _small("statten-2-512")),
    Form("STAtten", "events", _small("statten-2-256")),
    Form("SNN-ViT", "V1", _small("snn-vit-4-384")),
    Form("SNN-ViT", "V2, events", _small("snn-vit-2-256")),
)


def run(form: Form, runtimes: list[str]) -> ParityReport:
    """Export a random network of the form to all targets and compare every runtime.

    Raises:
        ParityError: with the place of the first difference.
        RuntimeError: when a layer is silent or stuck: then nothing would have been shown.

    """
    target = find_target("all")
    model = quantize(random_network(form.config, seed=1), Quantization(profile=target.profile))
    graph = freeze(model)
    inputs = default_inputs(graph).take(range(SAMPLES), graph.input_type.shape.index(None))
    reports: list[ParityReport] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "artifact"
        export(graph, target.name, out, model=model, inputs=inputs, runtimes=runtimes, on_report=reports.append)
    if reports[0].silent:
        raise RuntimeError(f"{form.family}, {form.form}: fires too seldom or nearly always: {reports[0].silent}")
    return reports[0]


def compared(report: ParityReport) -> dict[str, int]:
    """Return how many integers were compared on each runtime; the step form of a runtime's file is verified with it, and not listed."""
    return {result.runtime: result.integers for result in report.results if result.runtime in RUNTIMES and result.runtime != "reference"}


def table(reports: dict[Form, ParityReport]) -> str:
    """Return the Markdown table."""
    names = list(compared(next(iter(reports.values()))))
    lines = [f"| family | form | {' | '.join(names)} |", f"|---|---|{'---:|' * len(names)}"]
    for form, report in reports.items():
        counts = compared(report)
        lines.append(f"| {form.family} | {form.form} | {' | '.join(f'{counts[name]:,}' for name in names)} |")
    return "\n".join(lines) + "\n"


def put_between_marks(page: str, text: str) -> str:
    """Return a page with the text between its marks.

    Raises:
        ValueError: when the page has no marks.

    """
    begin, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    return f"{page[:begin]}\n{text}{page[end:]}"


@click.command()
@click.option("--write", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Page whose marks the table goes between.")
@click.option("--only", metavar="FAMILY", help="Run one family only, and write nothing.")
def main(write: Path | None, only: str | None) -> None:
    """Compare every family on every runtime that is installed, and print what was compared."""
    console = Console(stderr=True)
    names = available_runtimes("all", with_checkpoint=False)
    reports = {}
    for form in FORMS:
        if only is None or form.family == only:
            console.print(f"{form.family}, {form.form} …")
            try:
                reports[form] = run(form, names)
            except Ds2taError as error:
                raise click.ClickException("\n".join(str(problem) for problem in error.problems)) from error
    if not reports:
        raise click.BadParameter(f"there is no family {only!r}", param_hint="--only")
    made = table(reports)
    click.echo(made, nl=False)
    if write is not None and only is None:
        write.write_text(put_between_marks(write.read_text(encoding="utf-8"), made), encoding="utf-8")


if __name__ == "__main__":
    main()
