"""Ranges are proved, not sampled: which widths a profile grants, and what does not fit them."""

from dataclasses import dataclass

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.intervals import bits_needed
from ds2ta_deploy.graph.ops import DTYPE_LIMITS


@dataclass(frozen=True)
class Profile:
    """The widths that a class of targets grants.

    Attributes:
        name: ``cpu`` or ``loihi``.
        state_bits: two's-complement bits of accumulators and membranes.

    """

    name: str
    state_bits: int


PROFILES: dict[str, Profile] = {"cpu": Profile("cpu", 32), "loihi": Profile("loihi", 24)}


def profile_of(graph: Graph) -> Profile:
    """Return the profile that the graph was frozen under; ``cpu`` when it does not say.

    Raises:
        UnsupportedError: DS2TA-212 when it names one that is not known.

    """
    name = graph.facts.get("profile", "cpu")
    if name not in PROFILES:
        raise UnsupportedError(Problem("DS2TA-212", f"the profile {name!r} is not known", graph.name, f"known: {', '.join(PROFILES)}"))
    return PROFILES[str(name)]


@dataclass(frozen=True)
class ProvenRange:
    """The proof's result for one value.

    Attributes:
        name: the value.
        low: smallest possible value.
        high: largest possible value.
        bits: two's-complement bits that the interval needs.
        limit: bits that the storage type and the profile grant.

    """

    name: str
    low: int
    high: int
    bits: int
    limit: int

    @property
    def margin(self) -> int:
        """Bits to spare; negative when the value does not fit."""
        return self.limit - self.bits


def prove(graph: Graph, profile: Profile) -> list[ProvenRange]:
    """Bound every value of the graph and check it against the profile.

    Returns:
        One entry a value, in graph order.

    Raises:
        UnsupportedError: DS2TA-220 for every accumulator, membrane or count that could overflow (with the
            bits it needs), DS2TA-221 for every table index that could leave its table.

    """
    proven = []
    for name, kind in graph.types.items():
        interval = graph.ranges[name]
        limit = profile.state_bits if kind.dtype == "int32" else bits_needed(*DTYPE_LIMITS[kind.dtype])
        proven.append(ProvenRange(name, interval.minimum, interval.maximum, interval.bits, limit))
    unfit = [entry for entry in proven if entry.margin < 0 or not _stored(graph, entry)]
    if unfit:
        raise UnsupportedError(
            Problem(
                "DS2TA-220",
                f"can reach [{entry.low}, {entry.high}] and needs {entry.bits} bits, profile {profile.name} grants {entry.limit}",
                entry.name,
                "use fewer weight bits for this layer or a wider profile",
            )
            for entry in unfit
        )
    return proven


def _stored(graph: Graph, entry: ProvenRange) -> bool:
    """Whether the storage type holds the interval; bits alone do not tell for unsigned types."""
    low, high = DTYPE_LIMITS[graph.types[entry.name].dtype]
    return low <= entry.low and entry.high <= high


#: Largest magnitude up to which float32 holds every integer.
FLOAT32_EXACT = 2**24


def beyond_float32(graph: Graph) -> list[str]:
    """Names of the values that can leave ``[-2^24, 2^24]``.

    Engines that compute integers in float32 (OpenVINO does, whatever its precision hint says) are
    proved exact when there are none; profile ``loihi`` sees to that.
    """
    return [name for name in graph.types if max(-graph.ranges[name].minimum, graph.ranges[name].maximum) > FLOAT32_EXACT]
