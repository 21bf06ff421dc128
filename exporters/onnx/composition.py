"""The general form of a population: one function whose body calls the function of each of its ops, whatever their wiring."""

import re
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ds2ta_deploy.exporters.onnx.about import about, stem
from ds2ta_deploy.exporters.onnx.calls import Attributes, Call, Caller, unsupported
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.populations import Population

#: What no name inside a function may hold.
_STRANGE = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True)
class Composed:
    """A population as a call.

    Attributes:
        kind: name of the function.
        arrays: initializers by their names in the main graph, in the order of the function's inputs.
        outputs: names of the values it makes, and of the function's outputs.
        attributes: of the node.
        states: ``op.role`` of what its ops remember: inputs behind the arrays, and outputs behind the others.

    """

    kind: str
    arrays: dict[str, NDArray[Any]]
    outputs: dict[str, str]
    attributes: Attributes
    states: tuple[str, ...]


def compose(caller: Caller, population: Population, observable: frozenset[str]) -> Composed:
    """Write the function of a population and return its call.

    Raises:
        UnsupportedError: DS2TA-230 for an op that has no ONNX form, DS2TA-231 for one that is not exact.

    """
    calls = [(op, _call(caller, population, op)) for op in population.ops]
    formal = _Names()
    many = len(population.inputs) > 1
    for number, name in enumerate(population.inputs):
        formal.give(name, f"input_{number}" if many else "inputs")
    arrays, attributes, parameters = dict[str, NDArray[Any]](), Attributes(), list[str]()
    lines, given, left = [], dict[str, str](), dict[str, str]()
    for op, call in calls:
        constants = []
        for key, array in call.arrays.items():
            alone = sum(key in other.arrays for _, other in calls) == 1
            constants.append(formal.give(f"{op.name}/{key}", key))
            arrays[f"{population.name if alone else op.name}.{key}"] = array
        parameters += constants
        passed = {}
        for key, value in call.attributes.items():
            same = next((name for name, other in attributes.items() if stem(name) == key and other == value), None)
            passed[key] = same or formal.give(f"{op.name}<{key}", key)
            attributes[passed[key]] = value
        made = [formal.give(name, _last(name)) for name in op.outputs]
        states = {f"{op.name}.{role}": role for role in call.states}
        given |= {name: formal.give(f"{name} before", role) for name, role in states.items()}
        left |= {name: formal.give(f"{name} behind", f"next_{role}") for name, role in states.items()}
        read = [*(formal.of(name) for name in op.inputs), *constants, *(given[name] for name in states)]
        lines.append(call.line(read, [*made, *(left[name] for name in states)], passed))
    outputs = {name: formal.of(name) for name in _shown(population, observable)}
    told = about(*map(type, population.ops), attributes=attributes)
    inputs = [*(formal.of(name) for name in population.inputs), *parameters, *given.values()]
    name = f"{'Step' if given else ''}{_function_name(population)}"
    kind = caller.library.add(name, inputs, [*outputs.values(), *left.values()], list(attributes), lines, told)
    return Composed(kind, arrays, outputs, attributes, tuple(given))


def _call(caller: Caller, population: Population, op: ops.Op) -> Call:
    call = caller.call(op)
    if call is None:
        raise unsupported(population.name, population.ops)
    return call


def _function_name(population: Population) -> str:
    """Native kernels know the fused forms by their names, so that a general form needs one of its own."""
    if population.kind == "Synapses":
        layers = [type(op).__name__ for op in population.ops if isinstance(op, ops.Linear | ops.Conv2d)]
        return "".join([*layers, "Synapses"])
    return population.kind if population.kind == "SpikingNeuron" else f"Composed{population.kind}"


def _shown(population: Population, observable: frozenset[str]) -> list[str]:
    """Return what others read, then what can be watched, from the last op back."""
    made = [name for op in reversed(population.ops) for name in op.outputs]
    return list(dict.fromkeys([*(population.outputs or made[:1]), *(name for name in made if name in observable)]))


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]


class _Names:
    """Names inside a function: short ones that are given once, of letters, digits and underscores."""

    def __init__(self) -> None:
        self._given = dict[str, str]()

    def give(self, of: str, wanted: str) -> str:
        """Choose a name, the wanted one if it is free."""
        plain = _STRANGE.sub("_", wanted)
        plain = plain if plain[:1].isalpha() or plain[:1] == "_" else f"value_{plain}"
        number, chosen = 1, plain
        while chosen in self._given.values():
            number += 1
            chosen = f"{plain}_{number}"
        self._given[of] = chosen
        return chosen

    def of(self, name: str) -> str:
        """Return the name that was given."""
        return self._given[name]
