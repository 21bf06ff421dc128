"""``ds2ta verify``."""

from pathlib import Path
from typing import Any

import click

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
    runtime_option,
    say,
)
from ds2ta_deploy.cli.scheduling import Scheduling, run_job, scheduling_options


@click.command("verify", epilog="Example: ds2ta verify OUT --runtime onnxruntime --values all")
@artifact_argument
@runtime_option("Runtime to compare; may be repeated.  [default: every one that can run here]", multiple=True)
@click.option(
    "--inputs", type=click.Path(path_type=Path), help=".npz with uint8 'images' or 'frames'; by default the artifact's golden inputs."
)
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="The checkpoint it was exported from; runs the quantized PyTorch model too."
)
@click.option(
    "--values",
    type=click.Choice(["populations", "all"]),
    help="populations: spikes, counts, logits. all: currents, membranes and attention maps too.  "
    "[default: populations; all when files are modified]",
)
@scheduling_options
@allow_modified_option
@lava_python_option
@json_option
def command(
    artifact: Path,
    runtime: tuple[str, ...],
    inputs: Path | None,
    checkpoint: Path | None,
    values: Any,
    scheduler: str | None,
    workers: int | None,
    resume: Path | None,
    allow_modified: bool,
    lava_python: Path | None,
    as_json: bool,
) -> None:
    """Check every file of ARTIFACT against its hash and its certificate, then compare every runtime integer for integer.

    Exits with 1 and names the first differing value, its time step and index, when anything differs.
    """
    from ds2ta_deploy.artifact import Artifact
    from ds2ta_deploy.cli.jobs import VerifyJob, merge_verified
    from ds2ta_deploy.datasets import Labelled, read_data
    from ds2ta_deploy.errors import Problem, UsageError
    from ds2ta_deploy.verification import golden_inputs

    artifact_opened = Artifact.open(artifact, allow_modified=allow_modified)
    for name in artifact_opened.modified:
        say(f"{name} is not the file that was exported; going on", warning=True)
    pixels = golden_inputs(artifact_opened) if inputs is None else read_data(inputs).images
    artifact_opened.graph.check_input(pixels)
    if pixels.shape[artifact_opened.graph.input_type.shape.index(None)] == 0:
        raise UsageError(Problem("DS2TA-507", "there is no sample to compare", artifact_opened.graph.input_name))
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
