"""A recording becomes a network's input."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.events.batch import EventBatch, Sensor, joined
from ds2ta_deploy.events.binning import FrameRule, count_frames, interval_frames
from ds2ta_deploy.events.fitting import Fit, FitRule, fit_sensor
from ds2ta_deploy.events.recording import Recording, open_recording
from ds2ta_deploy.reading import most_expanded

#: Events of a recording that is divided as a whole, for which all of them have to be held; 13 bytes each.
MOST_EVENTS = 2**24


#: Bytes that a sample counts when there are many: a few bytes can stand for hours of tiny empty frames.
_LEAST_SAMPLE = 2**12


@dataclass(frozen=True)
class EventReading:
    """How recordings are read.

    Attributes:
        frames: how a recording is divided: among the T frames of one sample, by ``time`` or by ``count`` of events; or, for
            a number, into frames of so many microseconds, T of them a sample.
        fit: how the sensor is put on the input.
        sensor: its size, where the file does not say it or is wrong.

    """

    frames: FrameRule | int = "time"
    fit: FitRule = "downsample"
    sensor: Sensor | None = None


def read_frames(path: Path, input_shape: tuple[int | None, ...], reading: EventReading | None = None) -> NDArray[np.uint8]:
    """Read a recording as frames uint8 ``[T, B, H, W, 2]``.

    B is 1, unless frames have a fixed duration: then there are as many samples as the recording needs, and empty frames
    fill up the last one.

    Args:
        path: of the recording.
        input_shape: of the network's input, ``(T, None, H, W, 2)``.
        reading: how.

    Raises:
        InputError: DS2TA-136 when there are too many events or frames, DS2TA-185 when the network does not take event frames,
            else as :func:`ds2ta_deploy.events.recording.open_recording`.
        MissingRuntimeError: DS2TA-401 when the format needs a library that is not installed.

    """
    reading = reading or EventReading()
    steps, height, width = frame_shape(input_shape, path)
    with open_recording(path, reading.sensor) as recording:
        fit = fit_sensor(recording.sensor, height, width, reading.fit)
        if isinstance(reading.frames, int):
            return _samples(recording, reading.frames, steps, fit, path)
        return count_frames(_whole(recording, path), steps, fit, reading.frames)[:, None]


def frame_shape(input_shape: tuple[int | None, ...], path: Path) -> tuple[int, int, int]:
    """Return T, H and W of an input of two polarities."""
    sizes = [0 if size is None else size for size in input_shape]
    if len(sizes) != 5 or sizes[-1] != 2:
        shown = ", ".join("B" if size is None else str(size) for size in input_shape)
        raise InputError(Problem("DS2TA-185", f"is a recording of events; the network takes [{shown}], not [T, B, H, W, 2]", str(path)))
    return sizes[0], sizes[2], sizes[3]


def _whole(recording: Recording, path: Path) -> EventBatch:
    """Hold all events of a recording."""
    batches, total = [], 0
    for batch in recording.batches:
        batches.append(batch)
        total += len(batch)
        if total > MOST_EVENTS:
            advice = "give frames of a fixed duration: --event-frames MICROSECONDS"
            raise InputError(Problem("DS2TA-136", f"has more than {MOST_EVENTS:,} events", str(path), advice))
    return joined(batches)


def _samples(recording: Recording, interval: int, steps: int, fit: Fit, path: Path) -> NDArray[np.uint8]:
    """Cut frames of a fixed duration into samples, ``[T, B, H, W, 2]``."""
    most = most_expanded(path.stat().st_size)
    samples: list[NDArray[np.uint8]] = []
    frames = interval_frames(recording.batches, interval, fit)
    while (sample := _sample(frames, steps, fit)) is not None:
        samples.append(sample)
        if len(samples) * max(sample.nbytes, _LEAST_SAMPLE) > most:
            what, advice = f"makes more than {len(samples) - 1:,} samples", "give a longer --event-frames, or a part of the recording"
            raise InputError(Problem("DS2TA-136", what, str(path), advice))
    return np.stack(samples, axis=1)


def _sample(frames: Iterator[NDArray[np.uint8]], steps: int, fit: Fit) -> NDArray[np.uint8] | None:
    """Take the next T frames, empty ones where there are no more; None after the last."""
    taken = list(islice(frames, steps))
    if not taken:
        return None
    sample = np.zeros((steps, fit.height, fit.width, 2), np.uint8)
    sample[: len(taken)] = taken
    return sample
