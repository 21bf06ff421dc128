"""Neuromorphic chips as data: what one offers, and where each number comes from."""

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from ds2ta_deploy.errors import InputError, Problem

_HERE = Path(__file__).parent


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number.

    Attributes:
        value: what there is.
        source: where that is written.
        second_hand: whether the maker's own text was not read.

    """

    value: int
    source: str
    second_hand: bool


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that is there or not; fields as in :class:`Limit`."""

    value: bool
    source: str
    second_hand: bool


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The numbers; bytes a core in all are given only where synapses and state share them."""

    cores_per_chip: Limit
    neurons_per_core: Limit
    synaptic_bytes_per_core: Limit
    synapses_per_chip: Limit
    weight_bits: Limit
    state_bits: Limit
    payload_bits: Limit
    bytes_per_core: Limit | None = None


class Features(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What it can do."""

    programmable_neurons: Feature


class Chip(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One kind of chip.

    Attributes:
        schema: version of the format.
        name: as given to ``--target``.
        about: one line for people.
        limits: numbers.
        features: abilities.

    """

    schema: Literal["ds2ta-chip/1"]
    name: str
    about: str
    limits: Limits
    features: Features


#: Names of the chips that are known.
CHIPS: tuple[str, ...] = ("loihi1", "loihi2")


def read_chip(name: str) -> Chip:
    """Read a chip's file by its name, or a file of the same format by its path.

    Raises:
        InputError: DS2TA-165 when there is no such file or it is no chip.

    Example:
        >>> read_chip("loihi2").limits.cores_per_chip.value
        128

    """
    path = _HERE / f"{name}.toml" if name in CHIPS else Path(name)
    try:
        chip = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Chip)
    except OSError as error:
        advice = f"known chips: {', '.join(CHIPS)}; or give a file of the same format"
        raise InputError(Problem("DS2TA-165", f"cannot be read: {error.strerror}", name, advice)) from error
    except (ValueError, msgspec.ValidationError, RecursionError) as error:
        raise InputError(Problem("DS2TA-165", f"does not describe a chip: {error}", name)) from error
    small = [field for field in msgspec.structs.asdict(chip.limits) if (limit := getattr(chip.limits, field)) and limit.value < 1]
    if small:
        raise InputError(Problem("DS2TA-165", "must be at least 1", f"{name}: limits.{field}") for field in small)
    return chip
