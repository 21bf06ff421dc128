"""The state of a stream in a file: the run's, the window's, and up to where the events were seen."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.graph.serialize import load, save
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.reading import read_regular
from ds2ta_deploy.runtimes.run_state import RunState, state_from_bytes, state_to_bytes
from ds2ta_deploy.staging import whole_file

#: Key of the structure in the file's header.
HEADER_KEY = "ds2ta_stream_state"

#: Version of the format.
FORMAT = "ds2ta-stream-state/1"

_MOST_FRAMES = 2**62


@dataclass(frozen=True, eq=False)
class StreamState:
    """All that a stream has to know to go on.

    Attributes:
        interval: microseconds of a frame.
        window: time steps that a decision sums up.
        restart: time steps after which the run begins anew; None for never.
        next_frame: number of the first frame that was not seen; what lies before it is not seen again.
        increments: int32 ``[blocks, 1, classes]``, what the steps in the window added.
        run: membranes and all else.

    """

    interval: int
    window: int
    restart: int | None
    next_frame: int
    increments: NDArray[np.int32]
    run: RunState


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the header says."""

    format: str
    interval: int
    window: int
    restart: int | None
    next_frame: int


def write_stream_state(path: Path, state: StreamState, form: StepForm) -> None:
    """Write the file as a whole or not at all."""
    record = _Record(FORMAT, state.interval, state.window, state.restart, state.next_frame)
    run = np.frombuffer(state_to_bytes(state.run, form), np.uint8)
    with whole_file(path) as file:
        file.write(save(record, {"increments": state.increments, "run": run}, HEADER_KEY))


def read_stream_state(path: Path, form: StepForm) -> StreamState:
    """Read back what :func:`write_stream_state` wrote.

    Raises:
        InputError: DS2TA-140 or 141 when it is no such file, 175 or 176 when it cannot be the state of this network.

    """
    where = str(path)
    try:
        record, tensors = load(read_regular(path), {HEADER_KEY: _Record}, where)
    except OSError as error:
        raise InputError(Problem("DS2TA-140", f"cannot be read: {error.strerror}", where)) from error
    if record.format != FORMAT:
        raise InputError(Problem("DS2TA-175", f"has the format {record.format!r}, not {FORMAT!r}", where))
    if set(tensors) != {"increments", "run"} or tensors["run"].dtype != np.uint8:
        raise InputError(Problem("DS2TA-176", "holds other tensors than the state of a stream", where))
    if not (record.interval > 0 and 0 <= record.next_frame < _MOST_FRAMES):
        raise InputError(Problem("DS2TA-176", "has an interval or a time that no stream has", where))
    run = state_from_bytes(tensors["run"].tobytes(), form, where)
    increments = tensors["increments"]
    blocks, interval = record.window // form.span, form.sum_range(form.span)
    fits = increments.dtype == np.int32 and increments.ndim == 3 and increments.shape[1:] == run.total.shape
    if not fits or len(increments) > min(blocks, run.taken // form.span) or not interval.contains(increments.astype(np.int64)):
        raise InputError(Problem("DS2TA-176", "holds what no decision sums up", f"{where}: increments"))
    return StreamState(record.interval, record.window, record.restart, record.next_frame, increments, run)
