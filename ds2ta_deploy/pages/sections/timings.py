"""How long runtimes took, where ``ds2ta bench`` has measured it."""

from pathlib import Path

import msgspec

from ds2ta_deploy.benchmark import Timing
from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.pages.parts import Bar, Code, Section, Table, Text
from ds2ta_deploy.reading import read_regular


def read_timings(path: Path) -> tuple[Timing, ...]:
    """Read what ``ds2ta bench --json`` printed.

    Raises:
        InputError: DS2TA-190 when it cannot be read or is something else.

    """
    advice = "give a file that holds what ds2ta bench --json prints"
    try:
        timings = msgspec.json.decode(read_regular(path), type=list[Timing])
    except OSError as error:
        raise InputError(Problem("DS2TA-190", f"cannot be read: {error.strerror}", str(path), advice)) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(Problem("DS2TA-190", f"holds no timings: {error}", str(path), advice)) from error
    if not timings or any(timing.batch < 1 or not 0 < timing.milliseconds < float("inf") for timing in timings):
        raise InputError(Problem("DS2TA-190", "holds no timings: a time or a batch is not positive", str(path), advice))
    return tuple(timings)


def timings(measured: tuple[Timing, ...]) -> Section:
    """Show the times side by side."""
    longest = max(timing.milliseconds / timing.batch for timing in measured)
    rows = tuple(
        (
            Code(timing.runtime),
            timing.batch,
            timing.threads,
            f"{timing.milliseconds:.2f} ± {timing.spread:.2f}",
            Bar(f"{timing.milliseconds / timing.batch:.2f}", timing.milliseconds / timing.batch / longest),
            f"{timing.open_milliseconds:.1f}",
            None if timing.memory is None else timing.memory,
        )
        for timing in measured
    )
    columns = ("runtime", "batch", "threads", "ms a call", "ms a sample", "first result, ms", "memory, bytes")
    return Section(
        "timings",
        "Timings",
        "Measured side by side, in turns, on one machine; they say nothing of another one.",
        (Text("Medians, with half the distance between the quartiles."), Table("Times", columns, rows)),
    )
