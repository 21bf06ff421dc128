"""What the exported files have in common: operator sets, properties, functions expanded or not, and the check of the whole."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import checker, helper, inliner

from ds2ta_deploy import __version__
from ds2ta_deploy.exporters.onnx.functions import DOMAIN, DOMAIN_VERSION, OPSET, FunctionLibrary
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.step_interface import TensorType

IR_VERSION = 10


def value_info(name: str, kind: ValueType | TensorType) -> onnx.ValueInfoProto:
    """Declare a value; a size that is not known is that of the batch."""
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(kind.dtype)), ["batch" if size is None else size for size in kind.shape]
    )


def properties_of(graph: Graph) -> dict[str, object]:
    """Return what a reader of the file alone may want to know."""
    return {"graph": graph.name, "output_scale": repr(graph.output_scale), **graph.facts}


def build_model(
    body: onnx.GraphProto, library: FunctionLibrary, about: str, properties: Mapping[str, object], *, inline: bool
) -> onnx.ModelProto:
    """Return the checked file of a main graph and its functions, which ``inline`` expands."""
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)]
    model = helper.make_model(body, opset_imports=opsets, functions=library.functions, ir_version=IR_VERSION, producer_name="ds2ta-deploy")
    model.producer_version = __version__
    model.doc_string = about
    helper.set_model_props(model, {f"ds2ta.{name}": str(value) for name, value in sorted(properties.items())})
    if inline:
        model = _without_functions(model)
    checker.check_model(model, full_check=True)
    return model


def _without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Expand the functions; nodes are named after what they make, and the functions' domain goes."""
    flat: onnx.ModelProto = inliner.inline_local_functions(model)
    branches = [attribute.g for node in flat.graph.node for attribute in node.attribute if attribute.HasField("g")]
    for graph in (flat.graph, *branches):
        for node in graph.node:
            node.name = node.name or node.output[0]
    standard = [opset for opset in flat.opset_import if opset.domain != DOMAIN]
    del flat.opset_import[:]
    flat.opset_import.extend(standard)
    return flat
