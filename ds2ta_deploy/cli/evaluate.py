"""``ds2ta eval``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ds2ta_deploy.cli.events import INPUTS, event_options
from ds2ta_deploy.cli.imports import import_options
from ds2ta_deploy.cli.options import allow_modified_option, json_option, lava_python_option, print_json, runtime_option
from ds2ta_deploy.cli.scheduling import Scheduling, run_job, scheduling_options

if TYPE_CHECKING:
    from ds2ta_deploy.events.frames import EventReading


@click.command("eval", epilog="Example: ds2ta eval OUT --data /usr/share/datasets/fashion-mnist")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help=f"{INPUTS}; with labels, of which the test split is taken.",
)
@runtime_option("Runtime to use.  [default: the target's for an artifact, torch-float for a checkpoint]")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="The checkpoint behind the artifact; needed by the runtime torch.")
@scheduling_options
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
    scheduler: str | None,
    workers: int | None,
    resume: Path | None,
    allow_modified: bool,
    lava_python: Path | None,
    as_json: bool,
    reading: "EventReading",
    said: dict[str, Any],
) -> None:
    """Measure the top-1 accuracy of SOURCE, an artifact or a checkpoint, over a labelled data set."""
    from ds2ta_deploy.cli.jobs import EvalJob
    from ds2ta_deploy.errors import InputError, Problem
    from ds2ta_deploy.inputs import read_inputs

    job = EvalJob(source, checkpoint, runtime, allow_modified, lava_python, said)
    opened = job.open()
    labelled = read_inputs(data, opened.input_shape, reading)
    if labelled.labels is None or len(labelled.labels) == 0:
        raise InputError(Problem("DS2TA-134", "has no labels", str(data), "save the classes under 'labels'"))
    scores = [score for _, score in run_job(job, opened, labelled, Scheduling(scheduler, workers, resume), "evaluating")]
    correct, samples = (sum(getattr(score, name) for score in scores) for name in ("correct", "samples"))
    top1 = 100 * correct / samples
    if as_json:
        print_json({"runtime": scores[0].runtime, "samples": samples, "correct": correct, "top1_percent": round(top1, 4)})
    else:
        click.echo(f"top-1 {top1:.2f} % ({correct} of {samples} samples, {scores[0].runtime})")
