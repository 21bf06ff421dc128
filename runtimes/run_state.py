"""The state of a run, put aside in a file and taken up again: by the same engine, another one, or another process."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.graph.intervals import Interval
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.graph.serialize import load, save, to_bytes
from ds2ta_deploy.graph.stepping import StepForm, readout_of
from ds2ta_deploy.reading import read_regular
from ds2ta_deploy.staging import whole_file

#: Key of the structure in the file's header.
HEADER_KEY = "ds2ta_run_state"

#: Version of the format.
FORMAT = "ds2ta-run-state/1"

#: ``op.role`` -> what is remembered, int32.
Remembered = dict[str, NDArray[np.int32]]


@dataclass(frozen=True, eq=False)
class RunState:
    """All that a run has to know to go on; the same for every engine.

    Attributes:
        taken: time steps that were computed.
        summed: those of them that ``total`` sums up.
        total: the sum of the readout, int32 ``[B, classes]``, without the bias.
        pending: uint8 ``[frames, B, H, W, C]``, frames that wait until a chunk is full.
        remembered: membranes, histories: what :attr:`StepForm.state_types` lists.

    """

    taken: int
    summed: int
    total: NDArray[np.int32]
    pending: NDArray[np.uint8]
    remembered: Remembered


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the header says."""

    format: str
    network: str
    taken: int
    summed: int


def network_hash(form: StepForm) -> str:
    """Return the SHA-256 of the network that a state belongs to."""
    return hashlib.sha256(to_bytes(form.sequence)).hexdigest()


def state_to_bytes(state: RunState, form: StepForm) -> bytes:
    """Return the state as a safetensors file; equal states give equal bytes."""
    record = _Record(FORMAT, network_hash(form), state.taken, state.summed)
    return save(record, {"total": state.total, "pending": state.pending, **_prefixed(state.remembered)}, HEADER_KEY)


def state_from_bytes(data: bytes, form: StepForm, where: str = "state") -> RunState:
    """Read back what :func:`state_to_bytes` wrote, and check that the network could have come into this state.

    Raises:
        InputError: DS2TA-140 or 141 when the bytes are no such file, DS2TA-175 when it belongs to another network or format,
            DS2TA-176 for everything in it that no run of this network remembers.

    """
    record, tensors = load(data, {HEADER_KEY: _Record}, where)
    if record.format != FORMAT:
        raise InputError(Problem("DS2TA-175", f"has the format {record.format!r}, not {FORMAT!r}", where))
    if record.network != network_hash(form):
        raise InputError(Problem("DS2TA-175", "is the state of another network", where, "give the artifact that it was saved with"))
    problems = [Problem("DS2TA-176", what, where) for what in _impossible(record, tensors, form)]
    if not problems:
        problems = [Problem("DS2TA-176", what, f"{where}: {name}") for name, what in _misfits(record, tensors, form)]
    if problems:
        raise InputError(problems)
    remembered = {name: np.ascontiguousarray(tensors[key]) for key, name in _keys(form).items()}
    return RunState(record.taken, record.summed, tensors["total"], tensors["pending"], remembered)


def write_state(path: Path, state: RunState, form: StepForm) -> None:
    """Write the file as a whole or not at all."""
    with whole_file(path) as file:
        file.write(state_to_bytes(state, form))


def read_state(path: Path, form: StepForm) -> RunState:
    """Read a file; errors as :func:`state_from_bytes`, and DS2TA-140 when it cannot be read."""
    try:
        return state_from_bytes(read_regular(path), form, str(path))
    except OSError as error:
        raise InputError(Problem("DS2TA-140", f"cannot be read: {error.strerror}", str(path))) from error


def _prefixed(remembered: Remembered) -> dict[str, NDArray[np.integer]]:
    return {f"state/{name}": np.ascontiguousarray(array) for name, array in remembered.items()}


def _keys(form: StepForm) -> dict[str, str]:
    return {f"state/{name}": name for name in form.state_types}


def _impossible(record: _Record, tensors: dict[str, NDArray[np.generic]], form: StepForm) -> list[str]:
    """Say what is wrong with the numbers of steps and the names of the tensors."""
    wrong = []
    if record.taken < 0 or record.taken % form.span or (form.longest is not None and record.taken > form.longest):
        wrong.append(f"took {record.taken} time steps, which no run of this network does")
    if not 0 <= record.summed <= min(record.taken, form.longest_sum) or record.summed % form.span:
        wrong.append(f"sums up {record.summed} of {record.taken} time steps, at most {form.longest_sum} can be")
    wanted = {"total", "pending", *_keys(form)}
    wrong += [f"has no tensor {name!r}" for name in sorted(wanted - set(tensors))]
    return wrong + [f"has a tensor {name!r} that belongs to nothing" for name in sorted(set(tensors) - wanted)]


def _misfits(record: _Record, tensors: dict[str, NDArray[np.generic]], form: StepForm) -> list[tuple[str, str]]:
    """Say which tensors have not the shape, the type or the range that they would have."""
    samples = tensors["total"].shape[0] if tensors["total"].ndim else 0
    block = form.block
    readout = readout_of(block)
    summed = readout.state_types([block.types[name] for name in readout.inputs])["total"]
    kinds = {"total": summed, "pending": ValueType((None, None, *block.input_type.shape[2:]), "uint8")}
    kinds |= {key: form.state_types[name] for key, name in _keys(form).items()}
    held = form.state_ranges(record.taken)
    ranges = {key: held[name] for key, name in _keys(form).items()}
    ranges["total"] = form.sum_range(record.summed)
    found = []
    for name, kind in kinds.items():
        array, sizes = tensors[name], [samples if size is None else size for size in kind.shape]
        if name == "pending":
            sizes[0] = len(array) if array.ndim and len(array) < form.span else form.span - 1
        if array.dtype != kind.dtype or list(array.shape) != sizes:
            found.append((name, f"is {array.dtype}{list(array.shape)}, not {kind.dtype}{sizes}"))
        elif name in ranges and not _inside(array, ranges[name], silent=record.taken == 0):
            found.append((name, "holds what no run remembers after so many steps"))
    return found


def _inside(array: NDArray[np.generic], interval: Interval, *, silent: bool) -> bool:
    return not array.any() if silent else interval.contains(array.astype(np.int64))
