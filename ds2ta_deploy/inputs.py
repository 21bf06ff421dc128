"""What a network is run on: pictures or frames as they are, or recordings of events that become frames."""

from pathlib import Path

from ds2ta_deploy.datasets import Labelled, read_data
from ds2ta_deploy.events.folder import is_recording_directory, read_recordings
from ds2ta_deploy.events.frames import EventReading, read_frames
from ds2ta_deploy.events.recording import is_recording


def read_inputs(path: Path, input_shape: tuple[int | None, ...], reading: EventReading | None = None) -> Labelled:
    """Read inputs for a network from a file or a directory.

    Args:
        path: a recording of events, a directory with a folder of recordings for each class, or what
            :func:`ds2ta_deploy.datasets.read_data` reads.
        input_shape: of the network's input, None for the batch; recordings become frames of this size.
        reading: how recordings become frames.

    Raises:
        InputError: as :func:`ds2ta_deploy.datasets.read_data`, :func:`ds2ta_deploy.events.frames.read_frames` and
            :func:`ds2ta_deploy.events.folder.read_recordings`.
        MissingRuntimeError: DS2TA-401 when a recording's format needs a library that is not installed.

    Example:
        >>> read_inputs(Path("sample.bin"), (3, None, 34, 34, 2)).images.shape  # doctest: +SKIP
        (3, 1, 34, 34, 2)

    """
    if path.is_dir() and is_recording_directory(path):
        return Labelled(*read_recordings(path, input_shape, reading))
    if path.is_file() and is_recording(path):
        return Labelled(read_frames(path, input_shape, reading), None)
    return read_data(path)
