"""``ds2ta run --stream``: events in, a decision out at every frame interval."""

import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from ds2ta_deploy.cli.options import print_table, say
from ds2ta_deploy.errors import InputError, Problem, UsageError

if TYPE_CHECKING:
    from ds2ta_deploy.artifact import Artifact
    from ds2ta_deploy.events.frames import EventReading
    from ds2ta_deploy.events.recording import Recording
    from ds2ta_deploy.runtimes.stepper import Stepper
    from ds2ta_deploy.streaming.pump import Decision, Pump, Totals

Function = TypeVar("Function", bound=Callable[..., Any])

#: Name that stands for standard input.
STANDARD_INPUT = "-"


@dataclasses.dataclass(frozen=True)
class StreamOptions:
    """What the options of a stream say.

    Attributes:
        window: time steps that a decision sums up.
        restart: time steps after which the run begins anew.
        queue: frames that may wait.
        when_late: what happens when as many wait.
        gap: empty frames in a row that are computed.
        real_time: whether a file is played at the speed of its timestamps.
        state: file that the stream goes on from and leaves its state in.
        state_every: decisions between two writings of it.
        event_format: of standard input.

    """

    window: int | None
    restart: int | None
    queue: int
    when_late: Any
    gap: int
    real_time: bool
    state: Path | None
    state_every: int
    event_format: str | None


_OPTIONS = (
    click.option("--stream", is_flag=True, help="Take the events as they come and decide at every frame (--event-frames MICROSECONDS)."),
    click.option(
        "--event-format",
        type=click.Choice(["bin", "dat"]),
        help="Stream: format of what comes through a pipe (--inputs -): N-MNIST or Prophesee records.",
    ),
    click.option(
        "--window",
        type=click.IntRange(1),
        help="Stream: frames that a decision sums up.  [default: the T that the network was trained for]",
    ),
    click.option(
        "--restart",
        type=click.IntRange(1),
        help="Stream: frames after which the network begins anew.  [default: never, where it is proven for ever]",
    ),
    click.option(
        "--queue", type=click.IntRange(1, 2**16), default=64, show_default=True, help="Stream: frames that may wait for the network."
    ),
    click.option(
        "--when-late",
        type=click.Choice(["wait", "skip"]),
        default="wait",
        show_default=True,
        help="Stream: when the queue is full, let the sender wait, or leave out the oldest frame and count it.",
    ),
    click.option(
        "--gap",
        type=click.IntRange(0, 2**20),
        default=1000,
        show_default=True,
        help="Stream: most empty frames in a row that are computed; behind a longer silence the network begins anew.",
    ),
    click.option("--real-time", is_flag=True, help="Stream: play a file at the speed of its timestamps."),
    click.option(
        "--state", type=click.Path(path_type=Path), help="Stream: go on from this file if it is there, and leave the state in it."
    ),
    click.option(
        "--state-every", type=click.IntRange(1), default=100, show_default=True, help="Stream: decisions between two writings of --state."
    ),
)


_NAMES = tuple(field.name for field in dataclasses.fields(StreamOptions))


def stream_options(command: Function) -> Function:
    """Add the options; the command gets them as ``stream``, a :class:`StreamOptions`, or None when no stream is asked for."""

    @functools.wraps(command)
    def with_stream(*arguments: Any, stream: bool, **options: Any) -> Any:
        said = StreamOptions(**{field.name: options.pop(field.name) for field in dataclasses.fields(StreamOptions)})
        context = click.get_current_context()
        given = [name for name in _NAMES if context.get_parameter_source(name) is not ParameterSource.DEFAULT]
        if given and not stream:
            options_given = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise UsageError(Problem("DS2TA-527", f"{options_given} is for a stream", mend="add --stream"))
        return command(*arguments, stream=said if stream else None, **options)

    decorated: Any = with_stream
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    wrapped: Function = decorated
    return wrapped


def open_stream(artifact: "Artifact", runtime: str | None, lava_python: Path | None) -> "Stepper":
    """Begin a run of one sample on a runtime: by default the fastest that is here and has a step form."""
    from ds2ta_deploy.runtimes.table import RUNTIMES, open_stepper
    from ds2ta_deploy.targets import find_target

    able = (name for name in ("native", find_target(artifact.manifest.target).run_with) if RUNTIMES[name].step and RUNTIMES[name].available)
    name = runtime or next(able, "reference")
    stepper = open_stepper(name, artifact, lava_python=lava_python)
    say(f"running on {name}")
    return stepper


def run_stream(
    artifact: "Artifact", stepper: "Stepper", inputs: Path, reading: "EventReading", options: StreamOptions, as_json: bool
) -> None:
    """Run the stream to its end, a line on stdout for every decision, and say what became of all that came in.

    Raises:
        UsageError: DS2TA-527 for options that do not go together, 526 for numbers of steps that the network has not.
        InputError: when the events are wrong; the decisions before them are printed.

    """
    from ds2ta_deploy.events.fitting import fit_sensor
    from ds2ta_deploy.events.frames import frame_shape
    from ds2ta_deploy.streaming.decisions import Decider
    from ds2ta_deploy.streaming.frames import FrameGrid
    from ds2ta_deploy.streaming.pace import paced
    from ds2ta_deploy.streaming.pump import Pump

    if not isinstance(reading.frames, int):
        raise UsageError(Problem("DS2TA-527", "a stream needs the length of its frames", mend="--event-frames MICROSECONDS"))
    interval = reading.frames
    _, height, width = frame_shape(artifact.graph.input_type.shape, inputs)
    decider = Decider(stepper, options.window, options.restart)
    pump = Pump(decider, interval, options.queue, options.when_late)
    if options.state is not None and options.state.exists():
        _go_on(pump, options.state)
    form = stepper.form
    if form.latency:
        say(f"the network looks ahead: a decision comes every {form.span} frames, {form.latency} late at most")
    with _events(inputs, reading, options) as recording:
        grid = FrameGrid(interval, fit_sensor(recording.sensor, height, width, reading.fit), options.gap, pump.next_frame or 0)
        batches = paced(recording.batches) if options.real_time else recording.batches
        try:
            for number, decision in enumerate(pump.run(grid.frames(batches)), 1):
                _print(decision, as_json)
                if options.state is not None and number % options.state_every == 0:
                    _save(pump, options.state)
        finally:
            if options.state is not None and pump.next_frame is not None:
                _save(pump, options.state)
            _print_totals(pump.totals, grid.early, as_json)


@contextmanager
def _events(inputs: Path, reading: "EventReading", options: StreamOptions) -> Iterator["Recording"]:
    from ds2ta_deploy.events.recording import open_recording, stream_recording

    if str(inputs) != STANDARD_INPUT:
        if options.event_format is not None:
            raise UsageError(Problem("DS2TA-527", "--event-format is for --inputs -; a file's name says its format", str(inputs)))
        with open_recording(inputs, reading.sensor) as recording:
            yield recording
        return
    if options.event_format is None:
        raise UsageError(Problem("DS2TA-527", "what comes through a pipe has no name that says its format", mend="--event-format bin|dat"))
    if options.real_time:
        raise UsageError(Problem("DS2TA-527", "--real-time plays files; a pipe has its own time", mend="leave it out"))
    yield stream_recording(sys.stdin.buffer, f".{options.event_format}", reading.sensor)


def _print(decision: "Decision", as_json: bool) -> None:
    """Print a line and see to it that a reader gets it now."""
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(decision)))
    else:
        click.echo(f"{decision.time}\t{decision.decision}\t{decision.steps}\t{decision.latency}\t{decision.backlog}")
    sys.stdout.flush()


def _print_totals(totals: "Totals", early: int, as_json: bool) -> None:
    """Say what became of everything."""
    from rich.table import Table

    if as_json:
        click.echo(json.dumps({"totals": {**dataclasses.asdict(totals), "early": early}}))
        return
    mean = totals.latency_sum / totals.decisions / 1000 if totals.decisions else 0.0
    rows = {
        "decisions": f"{totals.decisions:,}",
        "latency, mean and largest": f"{mean:.2f} and {totals.latency_most / 1000:.2f} ms",
        "largest backlog": f"{totals.backlog:,} frames",
        "frames": f"{totals.frames:,}, {totals.empty:,} of them empty",
        "frames left out": f"{totals.skipped:,} with {totals.skipped_events:,} events",
        "gaps": f"{totals.gaps:,} of {totals.gap_frames:,} frames together",
        "events": f"{totals.events:,}",
        "seen by the network": f"{totals.seen:,}",
        "beside its input": f"{totals.outside:,}",
        "on a pixel that had counted 255": f"{totals.clipped:,}",
        "before the saved state": f"{early:,}",
        "frames that a chunk still waits for": f"{totals.waiting:,}",
    }
    table = Table(show_header=False, title="What became of the stream", title_justify="left")
    for name, value in rows.items():
        table.add_row(name, value)
    print_table(table)


def _go_on(pump: "Pump", path: Path) -> None:
    """Take up what an earlier stream left."""
    from ds2ta_deploy.streaming.state import read_stream_state

    decider = pump.decider
    state = read_stream_state(path, decider.stepper.form)
    same = (state.interval, state.window, state.restart) == (pump.interval, decider.window, decider.restart)
    if not same or state.run.total.shape[0] != decider.stepper.batch:
        what = (
            f"was left by a stream of {state.interval} microseconds a frame, a window of {state.window}, restart {state.restart or 'never'}"
        )
        raise InputError(Problem("DS2TA-177", what, str(path), "say the same, or take another file"))
    decider.stepper.resume(state.run)
    decider.go_on_with(state.increments)
    pump.next_frame = state.next_frame
    say(f"goes on at {state.next_frame * state.interval} microseconds, after {state.run.taken} frames")


def _save(pump: "Pump", path: Path) -> None:
    from ds2ta_deploy.streaming.state import StreamState, write_stream_state

    decider = pump.decider
    run = decider.stepper.state()
    state = StreamState(pump.interval, decider.window, decider.restart, pump.next_frame or 0, decider.increments, run)
    write_stream_state(path, state, decider.stepper.form)
