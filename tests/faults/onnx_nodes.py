"""Faults in the nodes of an ONNX file, those in its functions too: what an exporter with a mistake would write."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import onnx
from faults.catalogue import MORE_THAN, TOWARD_ZERO, Fault
from onnx import helper, numpy_helper

#: Attributes of one call of a function.
Environment = Mapping[str, Any]


def node_faults(model: onnx.ModelProto) -> Iterator[tuple[Fault, bytes]]:
    """Yield ``>`` for ``>=``, a shift toward zero, and a sum that keeps its first operand only, node by node."""
    for number, (place, nodes) in enumerate(_bodies(model)):
        for index, node in enumerate(nodes):
            where = f"{place}: {node.output[0]}"
            if node.op_type == "GreaterOrEqual":
                yield Fault(MORE_THAN, where), _with_type(model, number, index, "Greater")
            elif _rounds_down(node, nodes):
                yield Fault(TOWARD_ZERO, where), _with_type(model, number, index, "Identity")
            elif node.op_type == "Add":
                yield Fault("dropped sum", where), _with_type(model, number, index, "Identity")


def shifts_nothing(model: onnx.ModelProto, fault: Fault) -> bool:
    """Whether the shift that the fault is in has a divisor of 1 wherever its function is called."""
    place, made = fault.place.split(": ")
    nodes = dict(_bodies(model))[place]
    (node,) = [node for node in nodes if made in node.output]
    return all(_constant(node.input[1], nodes, environment) == -1 for environment in _environments(model)[place])


def membrane_behind(model: onnx.ModelProto, fault: Fault) -> tuple[str, int] | None:
    """Return the membrane, by its dotted name, and the time step that a faulty comparison or leak reads; None for other nodes.

    Only where functions are expanded: in a function, one node stands for many neurons.
    """
    place, name = fault.place.split(": ")
    if place != "main":
        return None
    makers = {output: node for node in model.graph.node for output in node.output}
    while makers[name].op_type != "Where":
        if makers[name].op_type == "GreaterOrEqual":
            name = makers[name].input[0]
            break
        name = makers[name].input[0]
        if name not in makers:
            return None
    name = makers[name].input[2] if makers[name].op_type == "Where" else name
    joined = [node for node in model.graph.node if node.op_type == "Concat" and name in node.input]
    return (joined[0].output[0], list(joined[0].input).index(name)) if joined else None


def _bodies(model: onnx.ModelProto) -> list[tuple[str, Sequence[onnx.NodeProto]]]:
    """Return the nodes of the main graph, then those of every function."""
    return [("main", model.graph.node), *((function.name, function.node) for function in model.functions)]


def _rounds_down(node: onnx.NodeProto, nodes: Sequence[onnx.NodeProto]) -> bool:
    """Whether it is the ``BitwiseAnd`` of a flooring shift, ``Div(BitwiseAnd(x, -2^k), 2^k)``: ``Div`` alone truncates."""
    return node.op_type == "BitwiseAnd" and any(other.op_type == "Div" and other.input[0] == node.output[0] for other in nodes)


def _with_type(model: onnx.ModelProto, body: int, index: int, op_type: str) -> bytes:
    """Return the file with one node of another type; an Identity keeps the first input."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    node = _bodies(changed)[body][1][index]
    node.op_type = op_type
    if op_type == "Identity":
        del node.input[1:]
    return changed.SerializeToString()


def _environments(model: onnx.ModelProto) -> dict[str, list[Environment]]:
    """Return the attributes of every call of every function, calls inside functions too."""
    functions = {function.name: function for function in model.functions}
    found: dict[str, list[Environment]] = {"main": [{}], **{name: [] for name in functions}}

    def visit(nodes: Sequence[onnx.NodeProto], environment: Environment) -> None:
        for node in nodes:
            if node.domain and node.op_type in functions:
                passed = {attribute.name: _attribute(attribute, environment) for attribute in node.attribute}
                found[node.op_type].append(passed)
                visit(functions[node.op_type].node, passed)

    visit(model.graph.node, {})
    return found


def _attribute(attribute: onnx.AttributeProto, environment: Environment) -> Any:
    return environment[attribute.ref_attr_name] if attribute.ref_attr_name else helper.get_attribute_value(attribute)


def _constant(name: str, nodes: Sequence[onnx.NodeProto], environment: Environment) -> Any:
    """Return what a chain of constants, casts, splits and signs amounts to."""
    (node,) = [node for node in nodes if name in node.output]
    if node.op_type == "Constant":
        value = _attribute(node.attribute[0], environment)
        return numpy_helper.to_array(value).item() if isinstance(value, onnx.TensorProto) else value
    inner = _constant(node.input[0], nodes, environment)
    if node.op_type == "Split":
        return inner[list(node.output).index(name)]
    if node.op_type == "Neg":
        return -inner
    assert node.op_type in ("Cast", "Identity"), node.op_type
    return inner[0] if isinstance(inner, list) and len(inner) == 1 else inner
