"""ONNX: opset 20, IR 10; populations are nodes of domain ``ai.ds2ta``, functions with standard integer bodies."""

import numpy as np
import onnx
from onnx import checker, helper, inliner

from ds2ta_deploy import __version__
from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.exporters.onnx.functions import DOMAIN, DOMAIN_VERSION, OPSET, FunctionLibrary
from ds2ta_deploy.exporters.onnx.populations import Emitter
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.graph.populations import group, population_values

IR_VERSION = 10

_ABOUT = (
    "A spiking transformer in integers. Values are channels-last, time first. The largest logit decides; "
    "{scale!r} times the integer logits are those of the trained network. Every value of a population can be brought out "
    "by naming the further outputs of its node."
)


def to_onnx(graph: Graph, *, inline: bool = False) -> onnx.ModelProto:
    """Return the graph as an ONNX model: uint8 in, int32 logits out, dynamic batch, nothing but integers.

    Every population is one node; its first output is named in the main graph, its other values
    (membrane, current …) are further outputs of the function, there for the asking. With ``inline`` the
    functions are expanded for engines that have none, and every value keeps its dotted name.

    Raises:
        UnsupportedError: DS2TA-230 for ops that have no ONNX form, DS2TA-231 for products that some CPUs
            would saturate.

    Example:
        >>> onnx.save(to_onnx(graph), "model.onnx")  # doctest: +SKIP

    """
    library = FunctionLibrary()
    emitter = Emitter(graph, library, expose_all=inline)
    problems: list[Problem] = []
    for population in group(graph):
        try:
            emitter.emit(population)
        except UnsupportedError as error:
            problems += error.problems
    if problems:
        raise UnsupportedError(problems)
    shown = [name for name in population_values(graph) if name != graph.output]
    body = helper.make_graph(
        emitter.nodes,
        graph.name,
        [_value_info(graph.input_name, graph.input_type)],
        [_value_info(graph.output, graph.types[graph.output])],
        initializer=emitter.initializers,
        value_info=[_value_info(name, graph.types[name]) for name in shown],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)]
    model = helper.make_model(body, opset_imports=opsets, functions=library.functions, ir_version=IR_VERSION, producer_name="ds2ta-deploy")
    model.producer_version = __version__
    model.doc_string = _ABOUT.format(scale=graph.output_scale)
    helper.set_model_props(model, {f"ds2ta.{name}": str(value) for name, value in sorted(_properties(graph).items())})
    if inline:
        model = _without_functions(model)
    checker.check_model(model, full_check=True)
    return model


def _value_info(name: str, kind: ValueType) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(kind.dtype)), ["batch" if size is None else size for size in kind.shape]
    )


def _properties(graph: Graph) -> dict[str, str | int | float]:
    """What a reader of the file alone may want to know."""
    return {"graph": graph.name, "output_scale": repr(graph.output_scale), **graph.facts}


def _without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Expand the functions; nodes are named after what they make, and the functions' domain goes."""
    flat: onnx.ModelProto = inliner.inline_local_functions(model)
    for node in flat.graph.node:
        node.name = node.name or node.output[0]
    standard = [opset for opset in flat.opset_import if opset.domain != DOMAIN]
    del flat.opset_import[:]
    flat.opset_import.extend(standard)
    return flat
