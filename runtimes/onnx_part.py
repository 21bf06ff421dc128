"""Cut the nodes that make one value out of an ONNX file, so that they run alone."""

from collections.abc import Collection

import numpy as np
import onnx
from onnx import checker, helper, inliner
from onnx.utils import Extractor

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.runtimes.base import Part


def value_info(name: str, kind: ValueType) -> onnx.ValueInfoProto:
    """Declare a value of the graph in ONNX's terms."""
    shape = ["batch" if size is None else size for size in kind.shape]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind.dtype)), shape)


def cut_out(model: onnx.ModelProto, graph: Graph, value: str, known: Collection[str]) -> Part | None:
    """Return the nodes between known values and ``value`` as a model of its own.

    What the part reads is what the *file* makes the value of; when its wiring is wrong, that is not what the graph's op
    reads.

    Args:
        model: the file, every value that is wanted or known named in it.
        graph: gives the types, and the values that one op makes together.
        value: what the part makes.
        known: names of the values that the part may read.

    Returns:
        None when the file makes the value of something that is neither known nor a plain constant, or does not make it.

    """
    try:
        flat: onnx.ModelProto = inliner.inline_local_functions(model)
    except (RuntimeError, checker.ValidationError):
        return None  # functions that an engine may run, and nobody can take apart
    if flat.graph.sparse_initializer or flat.graph.quantization_annotation:
        return None  # nor these, and no file of ours has them
    siblings = next(set(op.outputs) for op in graph if value in op.outputs)  # not read of one another: made together
    readable = ({*known} - siblings) | {graph.input_name}
    _turn_back(flat.graph, readable)
    reads = _reached(flat.graph, value, readable)
    if reads is None:
        return None
    del flat.graph.value_info[:]
    flat.graph.value_info.extend(value_info(name, graph.types[name]) for name in (*reads, value))
    part: onnx.ModelProto = Extractor(flat).extract_model(list(reads), [value])
    return Part(part.SerializeToString(deterministic=True), reads)


def _turn_back(body: onnx.GraphProto, known: Collection[str]) -> None:
    """Where a known value is a transposed inner one, make the inner one of the known one.

    Attention maps are computed with the heads first and transposed only to be shown; what reads them inside reads the
    inner form, and could not be cut off otherwise.
    """
    maker = {name: node for node in body.node for name in node.output if name}
    for node in list(body.node):
        if node.op_type != "Transpose" or node.output[0] not in known or node.input[0] in known:
            continue
        inner = maker.get(node.input[0])
        permutation = [list(attribute.ints) for attribute in node.attribute if attribute.name == "perm"]
        if inner is not None and len(inner.output) == 1 and permutation:
            back = [int(axis) for axis in np.argsort(permutation[0])]
            inner.CopyFrom(helper.make_node("Transpose", [node.output[0]], [node.input[0]], name=inner.name, perm=back))


def _reached(body: onnx.GraphProto, value: str, known: Collection[str]) -> tuple[str, ...] | None:
    """Walk back from the value to what is known; None when something else is needed."""
    maker = {name: node for node in body.node for name in node.output if name}
    constants = {tensor.name for tensor in body.initializer}
    seen, waiting, reads = {value}, [value], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in maker:
            return None
        for read in maker[name].input:
            if read in known:
                reads.add(read)
            elif read and read not in constants and read not in seen:
                seen.add(read)
                waiting.append(read)
    return tuple(sorted(reads))
