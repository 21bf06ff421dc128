"""``ds2ta run``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ds2ta_deploy.cli.events import INPUTS, event_options
from ds2ta_deploy.cli.imports import import_options
from ds2ta_deploy.cli.options import (
    allow_modified_option,
    json_option,
    lava_python_option,
    print_json,
    progress,
    runtime_option,
    say,
    values_option,
)
from ds2ta_deploy.cli.outputs import require_free
from ds2ta_deploy.cli.stream import StreamOptions, open_stream, run_stream, stream_options
from ds2ta_deploy.errors import Problem, UsageError

if TYPE_CHECKING:
    from ds2ta_deploy.events.frames import EventReading


@click.command("run", epilog="Example: ds2ta run OUT --inputs pictures.npz -o trace.npz")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--inputs", type=click.Path(path_type=Path), required=True, help=f"{INPUTS}.")
@runtime_option("Runtime to use.  [default: the target's for an artifact, torch-float for a checkpoint]")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="The checkpoint behind the artifact; needed by the runtime torch.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help=".npz file to write the trace to, one array a value.")
@values_option
@allow_modified_option
@lava_python_option
@event_options
@stream_options
@import_options
@json_option
def command(
    source: Path,
    inputs: Path,
    runtime: str | None,
    checkpoint: Path | None,
    output: Path | None,
    values: Any,
    allow_modified: bool,
    lava_python: Path | None,
    as_json: bool,
    reading: "EventReading",
    stream: StreamOptions | None,
    said: dict[str, Any],
) -> None:
    """Run SOURCE, an artifact or a checkpoint, on inputs and print one decision a sample.

    A checkpoint runs as the float model. With -o the whole trace is written: every spike, count and
    logit by its dotted name.

    With --stream an artifact takes the events of a recording, or of a pipe (--inputs -), as they come, and every frame gives a
    line: its end in microseconds, the decision, the frames summed up, the latency in microseconds, the frames that wait.
    """
    import numpy as np

    from ds2ta_deploy.cli.sources import open_source
    from ds2ta_deploy.inputs import read_inputs

    if output is not None:
        require_free(output)
    if stream is not None:
        _run_stream(source, inputs, runtime, (checkpoint, output), allow_modified, lava_python, reading, stream, said, as_json)
        return
    opened = open_source(source, runtime, values, checkpoint=checkpoint, allow_modified=allow_modified, lava_python=lava_python, said=said)
    pixels = read_inputs(inputs, opened.input_shape, reading).images
    batches = opened.batches(pixels)
    wanted = opened.values if output is not None else ()
    traces = []
    with progress(f"running on {opened.runtime}", len(batches)) as tell:
        for number, batch in enumerate(batches, 1):
            traces.append(opened.trace(batch, wanted))
            tell(number)
    if not traces:
        raise UsageError(Problem("DS2TA-507", "there is no sample to run", str(inputs)))
    logits = np.concatenate([trace[opened.logits] for trace in traces])
    if output is not None:
        _write_trace(output, {name: _join([trace[name] for trace in traces], name == opened.logits) for name in traces[0]})
        say(f"wrote {output}: {len(traces[0])} values of {len(logits)} samples")
    if as_json:
        print_json({"runtime": opened.runtime, "decisions": logits.argmax(1).tolist(), "logits": logits.tolist()})
        return
    for number, row in enumerate(logits):
        click.echo(f"{number}\t{int(row.argmax())}")


def _run_stream(
    source: Path,
    inputs: Path,
    runtime: str | None,
    useless: tuple[Path | None, ...],
    allow_modified: bool,
    lava_python: Path | None,
    reading: "EventReading",
    stream: StreamOptions,
    said: dict[str, Any],
    as_json: bool,
) -> None:
    from ds2ta_deploy.artifact import Artifact
    from ds2ta_deploy.cli.imports import require_nothing_said

    if not source.is_dir() or any(path is not None for path in useless):
        what = "a stream runs an artifact, prints decisions, and takes neither --checkpoint nor -o"
        raise UsageError(Problem("DS2TA-527", what, str(source), "export the checkpoint first"))
    require_nothing_said(said, source)
    artifact = Artifact.open(source, allow_modified=allow_modified)
    run_stream(artifact, open_stream(artifact, runtime, lava_python), inputs, reading, stream, as_json)


def _join(parts: list[Any], batch_first: bool) -> Any:
    """Put the batches together along the batch axis: first for logits, second (after time) for all else."""
    import numpy as np

    return np.concatenate(parts, axis=0 if batch_first else 1)


def _write_trace(path: Path, arrays: dict[str, Any]) -> None:
    """Write the file whole or not at all."""
    import numpy as np

    from ds2ta_deploy.staging import whole_file

    with whole_file(path) as file:
        np.savez_compressed(file, **arrays)
