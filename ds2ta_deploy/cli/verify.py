"""``ds2ta verify``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ds2ta_deploy.cli.events import INPUTS, event_options
from ds2ta_deploy.cli.options import (
    allow_modified_option,
    artifact_argument,
    json_option,
    lava_python_option,
    parity_json,
    parity_table,
    print_json,
    print_rates,
    print_table,
    progress,
    read_numbers,
    runtime_option,
    say,
)
from ds2ta_deploy.cli.scheduling import Scheduling, run_job, scheduling_options

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ds2ta_deploy.artifact import Artifact
    from ds2ta_deploy.events.frames import EventReading


@click.command("verify", epilog="Example: ds2ta verify OUT --runtime onnxruntime --values all")
@artifact_argument
@runtime_option("Runtime to compare; may be repeated.  [default: every one that can run here]", multiple=True)
@click.option("--inputs", type=click.Path(path_type=Path), help=f"{INPUTS}; by default the artifact's golden inputs.")
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="The checkpoint it was exported from; runs the quantized PyTorch model too."
)
@click.option(
    "--values",
    type=click.Choice(["populations", "all"]),
    help="populations: spikes, counts, logits. all: currents, membranes and attention maps too.  "
    "[default: populations; all when files are modified]",
)
@click.option(
    "--steps",
    metavar="T[,T...]",
    callback=read_numbers,
    help="Compare the step forms instead, over so many time steps each, with the sequence of as many: 1,4,17.",
)
@scheduling_options
@allow_modified_option
@lava_python_option
@event_options
@json_option
def command(
    artifact: Path,
    runtime: tuple[str, ...],
    inputs: Path | None,
    checkpoint: Path | None,
    values: Any,
    steps: tuple[int, ...],
    scheduler: str | None,
    workers: int | None,
    resume: Path | None,
    allow_modified: bool,
    lava_python: Path | None,
    as_json: bool,
    reading: "EventReading",
) -> None:
    """Check every file of ARTIFACT against its hash and its certificate, then compare every runtime integer for integer.

    Exits with 1 and names the first differing value, its time step and index, when anything differs.
    """
    from ds2ta_deploy.artifact import Artifact
    from ds2ta_deploy.cli.jobs import VerifyJob, merge_verified
    from ds2ta_deploy.datasets import Labelled
    from ds2ta_deploy.errors import Problem, UsageError
    from ds2ta_deploy.inputs import read_inputs
    from ds2ta_deploy.verification import golden_inputs

    artifact_opened = Artifact.open(artifact, allow_modified=allow_modified)
    for name in artifact_opened.modified:
        say(f"{name} is not the file that was exported; going on", warning=True)
    shape = artifact_opened.graph.input_type.shape
    pixels = golden_inputs(artifact_opened) if inputs is None else read_inputs(inputs, shape, reading).images
    artifact_opened.graph.check_input(pixels)
    if pixels.shape[shape.index(None)] == 0:
        raise UsageError(Problem("DS2TA-507", "there is no sample to compare", artifact_opened.graph.input_name))
    if steps:
        if (scheduler, workers, resume) != (None, None, None):
            raise UsageError(
                Problem("DS2TA-525", "step forms are compared here, in one go", mend="leave --scheduler, --workers and --resume out")
            )
        _verify_steps(artifact_opened, steps, runtime, pixels, checkpoint, values, lava_python, as_json)
        return
    names = None if not runtime or "all" in runtime else runtime
    job = VerifyJob(artifact, checkpoint, names, values, allow_modified, lava_python, recorded=inputs is None)
    where = Scheduling(scheduler, workers, resume)
    report = merge_verified(run_job(job, job.open(), Labelled(pixels, None), where, f"verifying {artifact.name}"))
    if as_json:
        print_json(parity_json(report))
    else:
        print_table(parity_table(report))
        print_rates(report)
        for left_out, reason in report.left_out.items():
            say(f"the runtime {left_out} was left out: {reason}")
        if names is None and checkpoint is None:
            say("the runtime torch was left out: it needs --checkpoint")
    report.raise_on_difference()
    if not as_json:
        say("every integer is equal")


def _verify_steps(
    artifact: "Artifact",
    steps: tuple[int, ...],
    runtime: tuple[str, ...],
    inputs: "NDArray[Any]",
    checkpoint: Path | None,
    values: Any,
    lava_python: Path | None,
    as_json: bool,
) -> None:
    from ds2ta_deploy.errors import Problem, UsageError
    from ds2ta_deploy.step_verification import verify_steps

    if checkpoint is not None:
        raise UsageError(Problem("DS2TA-525", "the PyTorch model runs for the time steps it was trained for", mend="leave --steps out"))
    names = None if not runtime or "all" in runtime else runtime
    reports = dict[int, Any]()
    with progress(f"verifying {artifact.path.name} step by step", len(steps)) as tell:
        for number, count in enumerate(steps, 1):
            reports |= verify_steps(artifact, [count], names, inputs=inputs, lava_python=lava_python, values=values)
            tell(number)
    if as_json:
        print_json({"steps": [{"time_steps": count, **parity_json(report)} for count, report in reports.items()]})
    else:
        for count, report in reports.items():
            print_table(parity_table(report, f"{count} time step{'s' * (count > 1)}, one by one"))
    for report in reports.values():
        report.raise_on_difference()
    if not as_json:
        say("every integer is equal")
