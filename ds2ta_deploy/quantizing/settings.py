"""How a model is put on the grid."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ds2ta_deploy.errors import InputError, Problem, UsageError
from ds2ta_deploy.graph.ranges import PROFILES

#: What the channels of a layer may have: a threshold each, or one for all of them.
THRESHOLDS = ("channel", "layer")


#: A layer's weight format: uniform with so many bits, or sign and exponent of a power of two.
WeightFormat = int | str

#: Those that can be chosen for a layer.
WEIGHT_FORMATS: tuple[WeightFormat, ...] = (8, 6, 4, "power-of-two")


class Quantization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model is put on the grid.

    Attributes:
        profile: ``cpu`` (32-bit state) or ``loihi`` (24-bit state); decides the guard bits.
        weight_bits: bits of all weights but the first layer's, 2..8.
        first_layer_bits: bits of the first layer's weights and input table, 8..12.
        stream_bits: most bits, 8..14, of weights that add into a residual stream of currents, where a network has one; fewer
            where the sum over layers and tokens would not fit the profile, and 8 at most for a profile of 8-bit weights.
        thresholds: ``channel`` gives every output channel of a layer a scale and so an integer threshold of its own;
            ``layer`` gives all of them the same, which engines need whose neurons share a threshold.
        weights: weight format (8, 6, 4 or "power-of-two") by the dotted name of a layer, or by a pattern with ``*``; of several
            that match the last counts, and a layer that none matches has ``weight_bits``. Not for the first layer and for those
            that add into a stream, which have settings of their own.

    """

    profile: str = "cpu"
    weight_bits: int = 8
    first_layer_bits: int = 10
    stream_bits: int = 14
    thresholds: str = "channel"
    weights: dict[str, WeightFormat] = {}

    def facts(self) -> dict[str, str | int]:
        """Return the settings as the facts of a graph, which are words and numbers; :func:`settings_in` reads them back."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        chosen = plain.pop("weights")
        return plain | ({"weights": msgspec.json.encode(chosen).decode()} if chosen else {})

    def validate(self) -> None:
        """Raise UsageError (DS2TA-510) naming every setting outside its range."""
        problems = []
        if self.profile not in PROFILES:
            problems.append(Problem("DS2TA-510", f"the profile {self.profile!r} is not known", "profile", f"known: {', '.join(PROFILES)}"))
        if not 2 <= self.weight_bits <= 8:
            problems.append(Problem("DS2TA-510", f"is {self.weight_bits}, must lie in 2..8", "weight_bits"))
        if not 8 <= self.first_layer_bits <= 12:
            problems.append(Problem("DS2TA-510", f"is {self.first_layer_bits}, must lie in 8..12", "first_layer_bits"))
        if not 8 <= self.stream_bits <= 14:
            problems.append(Problem("DS2TA-510", f"is {self.stream_bits}, must lie in 8..14", "stream_bits"))
        if self.thresholds not in THRESHOLDS:
            known = f"known: {', '.join(THRESHOLDS)}"
            problems.append(Problem("DS2TA-510", f"{self.thresholds!r} is not known", "thresholds", known))
        if problems:
            raise UsageError(problems)


def settings_in(facts: Mapping[str, str | int | float]) -> dict[str, Any]:
    """Return those of a graph's facts that say how its model was put on the grid, as plain values.

    Raises:
        InputError: DS2TA-141 when the formats of the layers are none.

    """
    found: dict[str, Any] = {name: facts[name] for name in Quantization.__struct_fields__ if name in facts}
    if "weights" in found:
        try:
            found["weights"] = msgspec.json.decode(str(found["weights"]), type=dict[str, WeightFormat])
        except msgspec.MsgspecError as error:
            raise InputError(Problem("DS2TA-141", f"the graph's facts hold no weight formats: {error}", "weights")) from error
    return found
