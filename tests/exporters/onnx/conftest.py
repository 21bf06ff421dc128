"""One function of the exporter as a model of one node, run on two engines."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import checker, helper
from support import on_onnx_reference, on_onnxruntime

from ds2ta_deploy.exporters.onnx.functions import DOMAIN, DOMAIN_VERSION, OPSET, FunctionLibrary

ELEMENT = {dtype: getattr(onnx.TensorProto, dtype.upper()) for dtype in ("uint8", "int8", "int16", "int32", "int64")}

Outputs = Mapping[str, tuple[str, int]]
RunFunction = Callable[..., None]


def single_node(
    library: FunctionLibrary, op_type: str, feeds: Mapping[str, NDArray[Any]], outputs: Outputs, attributes: Mapping[str, Any]
) -> onnx.ModelProto:
    """Return a checked model with one node that calls ``op_type``; no size is known beforehand."""
    given = [helper.make_tensor_value_info(name, ELEMENT[str(feed.dtype)], [None] * feed.ndim) for name, feed in feeds.items()]
    made = [helper.make_tensor_value_info(name, ELEMENT[dtype], [None] * rank) for name, (dtype, rank) in outputs.items()]
    node = helper.make_node(op_type, list(feeds), list(outputs), domain=DOMAIN, **attributes)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)]
    body = helper.make_graph([node], "one_node", given, made)
    model = helper.make_model(body, opset_imports=opsets, functions=library.functions, ir_version=10)
    checker.check_model(model, full_check=True)
    return model


@pytest.fixture(scope="session")
def check_function() -> RunFunction:
    """Return a function that runs one node on ONNX Runtime and ReferenceEvaluator and asserts what comes out."""

    def check(
        library: FunctionLibrary,
        op_type: str,
        feeds: Mapping[str, NDArray[Any]],
        expected: Mapping[str, NDArray[np.int64]],
        dtypes: Sequence[str],
        **attributes: Any,
    ) -> None:
        outputs = {name: (dtype, value.ndim) for (name, value), dtype in zip(expected.items(), dtypes, strict=True)}
        model = single_node(library, op_type, feeds, outputs, attributes)
        for engine in (on_onnxruntime, on_onnx_reference):
            found = engine(model, feeds)
            for (name, value), dtype in zip(expected.items(), dtypes, strict=True):
                assert found[name].dtype == dtype, f"{engine.__name__}: {name}"
                assert np.array_equal(found[name], value), f"{engine.__name__}: {name}"

    return check
