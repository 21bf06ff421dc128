"""ONNX: opset 20, IR 10; populations are nodes of domain ``ai.ds2ta``, functions with standard integer bodies."""

import onnx
from onnx import helper

from ds2ta_deploy.exporters.onnx.functions import FunctionLibrary
from ds2ta_deploy.exporters.onnx.model_file import build_model, properties_of, value_info
from ds2ta_deploy.exporters.onnx.populations import Emitter
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.populations import group, population_values

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
    emitter.emit_all(group(graph))
    shown = [name for name in population_values(graph) if name != graph.output]
    body = helper.make_graph(
        emitter.nodes,
        graph.name,
        [value_info(graph.input_name, graph.input_type)],
        [value_info(graph.output, graph.types[graph.output])],
        initializer=emitter.initializers,
        value_info=[value_info(name, graph.types[name]) for name in shown],
    )
    return build_model(body, library, _ABOUT.format(scale=graph.output_scale), properties_of(graph), inline=inline)
