"""What an ONNX file may hold before an engine sees it: no more than the exporter writes.

Engines accept far more than an exported network needs: loops, functions that call functions a billion times over, weights
that lie in another file. None of that is in a file of ours, so none of it reaches an engine.
"""

from collections.abc import Iterator
from math import prod

import onnx
from onnx import helper

from ds2ta_deploy.errors import InputError, Problem

#: Domain of the functions that a file may define.
FUNCTIONS = "ai.ds2ta"

#: Standard ops that exported files are made of. None of them has a subgraph, reads a file or draws random numbers.
OPS = frozenset(
    [
        "Add",
        "BitwiseAnd",
        "Cast",
        "Concat",
        "Constant",
        "Div",
        "Equal",
        "Gather",
        "GatherElements",
        "GreaterOrEqual",
        "Identity",
        "MatMulInteger",
        "Max",
        "Mod",
        "Mul",
        "Neg",
        "Pad",
        "Range",
        "ReduceSum",
        "Reshape",
        "Shape",
        "Slice",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Where",
    ]
)

#: Most nodes of a file whose functions are all expanded; a network of 128 blocks needs a twentieth.
MOST_NODES = 200_000

#: Op, in the main graph of a step form alone, that computes a chunk once all of its frames are there, and its graphs.
CHOICE, BRANCHES = "If", ("then_branch", "else_branch")

Function = tuple[str, str]


def require_exported(model: onnx.ModelProto, where: str, *, steps: bool = False) -> None:
    """Raise unless the file is made of what the exporter writes; ``steps`` for the form step by step, which has one choice.

    Raises:
        InputError: DS2TA-164 with everything else that is in it: foreign ops, weights kept in other files or of another
            size than announced, functions that call themselves or expand beyond :data:`MOST_NODES`.

    """
    problems = [Problem("DS2TA-164", what, where, "export again") for what in dict.fromkeys(_foreign(model, steps=steps))]
    if not problems and _expanded(model) > MOST_NODES:
        problems = [Problem("DS2TA-164", f"its functions expand to more than {MOST_NODES:,} nodes", where, "export again")]
    if problems:
        raise InputError(problems)


def _foreign(model: onnx.ModelProto, *, steps: bool) -> Iterator[str]:
    """Say what is in the file and not in one of ours."""
    choices = [node for node in model.graph.node if steps and _chooses(node)]
    if len(choices) > 1:
        yield f"holds {len(choices)} ops {CHOICE!r}, a step form has one at most"
    for graph in (model.graph, *_branches(model)):
        if graph.sparse_initializer or model.training_info or graph.quantization_annotation:
            yield "holds sparse weights, training steps or annotations"
        for tensor in graph.initializer:
            yield from _wrong_tensor(tensor)
    for node in model.graph.node:
        yield from _foreign_node(node, choice=steps)
    for nodes in (*(branch.node for branch in _branches(model)), *(function.node for function in model.functions)):
        for node in nodes:
            yield from _foreign_node(node, choice=False)


def _foreign_node(node: onnx.NodeProto, *, choice: bool) -> Iterator[str]:
    """Say what is in a node and not in one of ours."""
    chooses = choice and _chooses(node)
    if node.domain not in ("", FUNCTIONS) or (not node.domain and node.op_type not in OPS and not chooses):
        yield f"holds the op {node.op_type!r} of domain {node.domain!r}, which no exported file has"
    for attribute in node.attribute:
        graph = attribute.g.ByteSize() and not (chooses and attribute.name in BRANCHES)
        if graph or attribute.graphs or attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
            yield f"holds a graph or a sparse tensor inside a node, attribute {attribute.name!r}"
        for tensor in (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors):
            yield from _wrong_tensor(tensor)


def _chooses(node: onnx.NodeProto) -> bool:
    return not node.domain and node.op_type == CHOICE


def branches_of(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the graphs that a node chooses from, that of the fulfilled condition first; none of any other node."""
    return [attribute.g for name in BRANCHES if _chooses(node) for attribute in node.attribute if attribute.name == name]


def _branches(model: onnx.ModelProto) -> list[onnx.GraphProto]:
    return [branch for node in model.graph.node for branch in branches_of(node)]


def _wrong_tensor(tensor: onnx.TensorProto) -> Iterator[str]:
    """Say what is wrong with a tensor: data elsewhere, or not as many as its shape announces."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        yield f"keeps the tensor {tensor.name!r} in another file"
        return
    if not tensor.HasField("raw_data"):
        return  # written by the ONNX parser for a constant of a few integers; the engines compare the count
    sized = all(size >= 0 for size in tensor.dims) and tensor.data_type in helper.get_all_tensor_dtypes()
    if not sized or prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize != len(tensor.raw_data):
        yield f"announces another size for the tensor {tensor.name!r} than it has"


def _expanded(model: onnx.ModelProto) -> int:
    """Count the nodes of the file with all functions expanded, as far as the limit: recursion never ends and exceeds it too."""
    bodies: dict[Function, onnx.FunctionProto] = {(function.domain, function.name): function for function in model.functions}
    total, waiting = 0, [model.graph.node, *(branch.node for branch in _branches(model))]
    while waiting and total <= MOST_NODES:
        nodes = waiting.pop()
        total += len(nodes) + 1
        waiting += [bodies[node.domain, node.op_type].node for node in nodes if (node.domain, node.op_type) in bodies]
    return total
