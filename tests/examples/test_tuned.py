"""The fine-tuned checkpoints: how near they are to the network in float, and that engines agree on every value. Minutes, not seconds."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from ds2ta_deploy.checkpoints import load_checkpoint
from ds2ta_deploy.datasets import FASHION_MNIST, read_idx_directory
from ds2ta_deploy.exporters.onnx import to_onnx
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.parity import compare_runtimes
from ds2ta_deploy.quantization import Quantization, quantize
from ds2ta_deploy.report import stored_weights
from ds2ta_deploy.runtimes.native.library import library_path
from ds2ta_deploy.runtimes.native.runtime import NativeRuntime
from ds2ta_deploy.runtimes.ort import OnnxRuntime
from ds2ta_deploy.verification import population_values

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason=f"needs {FASHION_MNIST}: Debian's package dataset-fashion-mnist"),
    pytest.mark.skipif(library_path() is None, reason="needs the native library: pip install -e . where there is a C compiler"),
]

EXAMPLE = Path(__file__).parents[2] / "examples" / "fashion_mnist"


@pytest.mark.parametrize(("bits", "points", "stored"), [(8, 0.3, {"int8", "int16"}), (4, 1.5, {"int4", "int16"})])
def test_ten_thousand_images_lose_little_and_no_engine_differs(figures, bits, points, stored):
    graph = freeze(quantize(load_checkpoint(EXAMPLE / f"ds2ta-2-64-tuned-{bits}bit.safetensors"), Quantization(weight_bits=bits)))
    assert {name for entry in stored_weights(graph).values() for name in entry.formats} == stored
    data = read_idx_directory(FASHION_MNIST, "test")
    other = OnnxRuntime(to_onnx(graph).SerializeToString(), graph)
    report = compare_runtimes(graph, data.images, NativeRuntime(graph), [other], population_values(graph))
    assert (report.samples, [result.different for result in report.results]) == (10_000, [0])
    assert report.results[0].values == len(population_values(graph))
    assert not report.silent
    assert int((report.output.argmax(1) == np.asarray(data.labels)).sum()) >= 100 * (figures.read("top-1 in float")["percent"] - points)
