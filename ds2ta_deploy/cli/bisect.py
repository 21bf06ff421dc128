"""``ds2ta bisect``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ds2ta_deploy.cli.events import INPUTS
from ds2ta_deploy.cli.findings import replay_json, search_json, tell, tell_replay
from ds2ta_deploy.cli.options import (
    allow_modified_option,
    artifact_argument,
    json_option,
    lava_python_option,
    print_json,
    progress,
    runtime_option,
    say,
)
from ds2ta_deploy.errors import Problem, UsageError, printable

if TYPE_CHECKING:
    from ds2ta_deploy.artifact import Artifact
    from ds2ta_deploy.parity import Divergence


@click.command("bisect", epilog="Example: ds2ta bisect OUT --allow-modified --runtime onnxruntime -o wrong-op")
@artifact_argument
@runtime_option("Runtime to compare; 'golden' for what was recorded at export, 'all' for that and all that can run here.  [default: all]")
@click.option("--baseline", metavar="NAME", help="Runtime to compare with.  [default: torch with --checkpoint, else reference]")
@click.option("--inputs", type=click.Path(path_type=Path), help=f"{INPUTS}; by default the artifact's golden inputs.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="The checkpoint it was exported from; needed by the runtime torch.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder to write the reproducer to.  [default: ARTIFACT.reproducer]")
@allow_modified_option
@lava_python_option
@json_option
def command(artifact: Path, output: Path | None, allow_modified: bool, as_json: bool, **options: Any) -> None:
    """Find the first integer in which two runtimes differ, and write the op that made it to a folder.

    First is the earliest sample, in it the earliest time step, the first op, the first index. When ARTIFACT
    is such a folder, the op is run again. Exits with 1 when an integer differs, with 0 when none does.
    """
    from ds2ta_deploy.artifact import Artifact
    from ds2ta_deploy.bisection.reproducer import REPRODUCER

    opened = Artifact.open(artifact, allow_modified=allow_modified)
    for name in opened.modified:
        say(f"{name} is not the file that was exported; going on", warning=True)
    if opened.manifest.target == REPRODUCER:
        _replay(opened, output, as_json=as_json, **options)
    else:
        _search(opened, _free(artifact, output), as_json=as_json, **options)


def _search(
    artifact: "Artifact",
    out: Path,
    *,
    runtime: str | None,
    baseline: str | None,
    inputs: Path | None,
    checkpoint: Path | None,
    lava_python: Path | None,
    as_json: bool,
) -> None:
    from ds2ta_deploy.bisection.finding import explain
    from ds2ta_deploy.bisection.reproducer import write
    from ds2ta_deploy.bisection.search import bisect
    from ds2ta_deploy.inputs import read_inputs
    from ds2ta_deploy.verification import golden_inputs

    pixels = golden_inputs(artifact) if inputs is None else read_inputs(inputs, artifact.graph.input_type.shape).images
    axis = artifact.graph.input_type.shape.index(None)
    with progress(f"searching {artifact.path.name}", pixels.shape[axis] if pixels.ndim > axis else 0) as advance:
        given = None if inputs is None else pixels
        result = bisect(
            artifact,
            None if runtime == "all" else runtime,
            baseline,
            inputs=given,
            checkpoint=checkpoint,
            lava_python=lava_python,
            progress=advance,
        )
    finding = record = None
    if result.located is not None:
        finding = explain(artifact.graph, result.located)
        record = write(finding, result.located, out)
    if as_json:
        print_json(search_json(artifact, result, finding, record, out))
    elif finding is not None and record is not None:
        for line in tell(finding, record):
            click.echo(printable(line))
        say(f"wrote {out}; replay it with: ds2ta bisect {out}")
    elif result.divergence is None:
        compared = f"{result.values} values of {result.samples} samples, {', '.join(result.runtimes)} against {result.baseline}"
        say(f"no integer differs: {compared}")
    else:
        say("no reproducer was written: there is no single integer to point at")
    _raise(result.divergence)


def _replay(
    artifact: "Artifact", output: Path | None, *, runtime: str | None, baseline: str | None, as_json: bool, **others: Path | None
) -> None:
    from ds2ta_deploy.bisection.replay import replay

    useless = [f"--{name.replace('_', '-')}" for name, value in (("output", output), *others.items()) if value is not None]
    if useless:
        raise UsageError(Problem("DS2TA-504", f"{', '.join(useless)}: of no use to a reproducer, which has its own operands"))
    result = replay(artifact, runtime, baseline)
    if as_json:
        print_json(replay_json(result))
    else:
        for line in tell_replay(result):
            click.echo(printable(line))
    _raise(result.divergence)


def _raise(divergence: "Divergence | None") -> None:
    from ds2ta_deploy.errors import ParityError

    if divergence is not None:
        raise ParityError(divergence.problem())


def _free(artifact: Path, output: Path | None) -> Path:
    """Return the folder to write to; one that was named must be free before the search, the default one gets a number."""
    from os.path import lexists

    if output is not None:
        if lexists(output):
            raise UsageError(Problem("DS2TA-501", "the output exists already", str(output), "remove it or choose another name with -o"))
        return output
    whole = artifact.absolute()
    out, number = whole.with_name(f"{whole.name}.reproducer"), 1
    while lexists(out):
        number += 1
        out = whole.with_name(f"{whole.name}.reproducer-{number}")
    return out
