"""Energies of single operations, each with its source. A product of one of them is an estimate, never a measurement."""

from dataclasses import dataclass

_HOROWITZ = "M. Horowitz, Computing's energy problem (and what we can do about it), ISSCC 2014, 45 nm at 0.9 V"


@dataclass(frozen=True)
class Constants:
    """What one operation takes, in picojoules; memory and routing are not in it.

    Attributes:
        name: by which they are chosen.
        accumulate: E_AC, one addition of a weight to a sum.
        multiply_accumulate: E_MAC, one multiplication and the addition of its product.
        source: where the numbers stand.

    """

    name: str
    accumulate: float
    multiply_accumulate: float
    source: str


#: What the artifact computes with: 8-bit products, 32-bit sums. The first layer's 10-bit products cost somewhat more.
INTEGER = Constants("int8", 0.1, 0.3, f"32-bit integer add 0.1 pJ, 8-bit integer multiply 0.2 pJ: {_HOROWITZ}")

#: What papers on spiking networks reckon with: float32.
FLOAT = Constants("float32", 0.9, 4.6, f"32-bit floating-point add 0.9 pJ, multiply 3.7 pJ: {_HOROWITZ}")

#: Every set of constants by its name, the default first.
CONSTANTS = {constants.name: constants for constants in (INTEGER, FLOAT)}
