"""``ds2ta eval``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ds2ta_deploy.cli.events import event_options
from ds2ta_deploy.cli.imports import import_options
from ds2ta_deploy.cli.options import allow_modified_option, json_option, lava_python_option, print_json, progress, runtime_option

if TYPE_CHECKING:
    from ds2ta_deploy.events.frames import EventReading


@click.command("eval", epilog="Example: ds2ta eval OUT --data /usr/share/datasets/fashion-mnist")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help=".npz with 'images' or 'frames' and 'labels', a directory of idx files (its test split), or a directory with a folder of "
    "recordings of events for each class.",
)
@runtime_option("Runtime to use.  [default: the target's for an artifact, torch-float for a checkpoint]")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="The checkpoint behind the artifact; needed by the runtime torch.")
@allow_modified_option
@lava_python_option
@event_options
@import_options
@json_option
def command(
    source: Path,
    data: Path,
    runtime: str | None,
    checkpoint: Path | None,
    allow_modified: bool,
    lava_python: Path | None,
    as_json: bool,
    reading: "EventReading",
    said: dict[str, Any],
) -> None:
    """Measure the top-1 accuracy of SOURCE, an artifact or a checkpoint, over a labelled data set."""
    from ds2ta_deploy.cli.sources import open_source
    from ds2ta_deploy.errors import InputError, Problem
    from ds2ta_deploy.inputs import read_inputs

    opened = open_source(
        source, runtime, "populations", checkpoint=checkpoint, allow_modified=allow_modified, lava_python=lava_python, said=said
    )
    labelled = read_inputs(data, opened.input_shape, reading)
    if labelled.labels is None or len(labelled.labels) == 0:
        raise InputError(Problem("DS2TA-134", "has no labels", str(data), "save the classes under 'labels'"))
    right = start = 0
    batches = opened.batches(labelled.images)
    with progress(f"evaluating on {opened.runtime}", len(batches)) as tell:
        for number, batch in enumerate(batches, 1):
            logits = opened.trace(batch, ())[opened.logits]
            if (labelled.labels >= logits.shape[1]).any():
                what = f"has labels up to {labelled.labels.max()}, the network knows classes 0..{logits.shape[1] - 1}"
                raise InputError(Problem("DS2TA-135", what, str(data)))
            decisions = logits.argmax(1)
            right += int((decisions == labelled.labels[start : start + len(decisions)]).sum())
            start += len(decisions)
            tell(number)
    top1 = 100 * right / start
    if as_json:
        print_json({"runtime": opened.runtime, "samples": start, "correct": right, "top1_percent": round(top1, 4)})
    else:
        click.echo(f"top-1 {top1:.2f} % ({right} of {start} samples, {opened.runtime})")
