"""What the arguments of published training scripts tell, under the names those scripts give them. Needs no PyTorch.

A checkpoint of timm's carries them as ``args``. They come from a stranger: every value is checked before it is compared or
shown, and what has no bearing on the network is not looked at.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from ds2ta_deploy.errors import InputError, Problem, UnsupportedError

#: Largest integer and most numbers in a list that an argument may be; the config's own limits are tighter.
_MOST, _LONGEST = 10**6, 64

_Reader = Callable[[Any], dict[str, Any] | None]


def _integer(field: str) -> _Reader:
    return lambda value: {field: value} if type(value) is int and 0 <= value <= _MOST else None


def _flag(field: str) -> _Reader:
    return lambda value: {field: value} if type(value) is bool else None


def _numbers(field: str) -> _Reader:
    def read(value: Any) -> dict[str, Any] | None:
        if not isinstance(value, list | tuple) or len(value) > _LONGEST:
            return None
        plain = all(type(each) in (int, float) and abs(each) <= _MOST and math.isfinite(each) for each in value)
        return {field: tuple(float(each) for each in value)} if plain else None

    return read


def _stages(value: Any) -> dict[str, Any] | None:
    return {"pool_stages": value} if isinstance(value, str) and len(value) == 4 else None


def _size(value: Any) -> dict[str, Any] | None:
    """``img_size`` is one number, or height and width; ``input_size`` has the channels before them."""
    sizes = [value, value] if type(value) is int else list(value[-2:]) if isinstance(value, list | tuple) and len(value) in (2, 3) else []
    if not sizes or not all(type(size) is int and 0 < size <= _MOST for size in sizes):
        return None
    return {"image_height": sizes[0], "image_width": sizes[1]}


#: Argument -> how it is read. Spikformer's scripts say ``time_step`` (CIFAR) and ``T`` (CIFAR10-DVS), the others ``time_steps``.
_READERS: dict[str, _Reader] = {
    "time_steps": _integer("time_steps"),
    "time_step": _integer("time_steps"),
    "T": _integer("time_steps"),
    "num_heads": _integer("num_heads"),
    "img_size": _size,
    "input_size": _size,
    "pooling_stat": _stages,
    "chunk_size": _integer("chunk_steps"),
    "mean": _numbers("pixel_mean"),
    "std": _numbers("pixel_std"),
    "dvs_mode": _flag("erode"),
}


def read_arguments(arguments: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return fields of the config that the arguments tell; one that is None tells nothing.

    Raises:
        InputError: DS2TA-110 naming every argument whose value cannot be what it should be, or contradicts another one.
        UnsupportedError: DS2TA-204 when the neurons are not plain leaky integrate-and-fire neurons.

    """
    told: dict[str, Any] = {}
    problems = []
    for name, read in _READERS.items():
        if arguments.get(name) is None:
            continue
        found = read(arguments[name])
        if found is None:
            problems.append(Problem("DS2TA-110", "does not hold what a training script puts there", f"{where}: args.{name}"))
            continue
        if any(told.get(field, value) != value for field, value in found.items()):
            problems.append(Problem("DS2TA-110", "contradicts another argument that says the same", f"{where}: args.{name}"))
        told |= found
    if problems:
        raise InputError(problems)
    mode = arguments.get("spike_mode")
    if mode is not None and mode != "lif":
        raise UnsupportedError(parametric(f"{where}: args.spike_mode"))
    return told


def parametric(where: str) -> Problem:
    """Return the problem of neurons that learned their time constant."""
    what = "its neurons learn their time constant (PLIF), for which there is no integer neuron that computes the same"
    return Problem("DS2TA-204", what, where, "train with plain LIF neurons")


def attention_of(arguments: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return whether the arguments are those of a spike-driven transformer or of STAtten, and else why they do not say.

    STAtten's training script takes ``--attention_mode`` and passes it on to nobody: its networks are STAtten's whatever it
    says, unless somebody mended the script. Where it says anything else, a person has to decide.
    """
    if "chunk_size" not in arguments and "attention_mode" not in arguments:
        family = "sdt" if "pooling_stat" in arguments else None
        return family, "the tensors of a spike-driven transformer and of STAtten have the same names and shapes"
    mode = arguments.get("attention_mode")
    if mode is None or mode == "STAtten":
        return "statten", ""
    return None, "args.attention_mode asks for another attention than STAtten, which the published script trains nevertheless"
