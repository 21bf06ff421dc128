"""Sizes of the bundled networks, as the pages have them."""

from math import prod
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from ds2ta_deploy.c_code.footprint import footprint
from ds2ta_deploy.c_code.program import build_program
from ds2ta_deploy.checkpoints import load_checkpoint
from ds2ta_deploy.exporters.lava.grouping import parts_of
from ds2ta_deploy.exporters.onnx import to_onnx
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.graph.ops import OPS
from ds2ta_deploy.graph.populations import group
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.models.build import build
from ds2ta_deploy.models.presets import PRESETS
from ds2ta_deploy.quantization import Quantization, quantize
from ds2ta_deploy.report import stored_weights

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def checkpoint():
    return load_checkpoint(EXAMPLES / "fashion_mnist" / "ds2ta-2-64.safetensors")


@pytest.fixture(scope="module")
def graph(checkpoint):
    return freeze(quantize(checkpoint))


def test_bytes_of_weights(figures, checkpoint):
    bits = {"eight": 8, "six": 6, "four": 4}
    graphs = {name: freeze(quantize(checkpoint, Quantization(weight_bits=each))) for name, each in bits.items()}
    figures.check("bytes of weights", **{name: sum(held.bytes for held in stored_weights(each).values()) for name, each in graphs.items()})


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters(figures, checkpoint):
    millions = {}
    for size, names in {"large": "4-384", "medium": "2-128", "small": "2-64-cifar10"}.items():
        ours, baseline = (parameters(build(PRESETS[f"{family}-{names}"])) for family in ("ds2ta", "spikformer"))
        assert abs(ours - baseline) < 0.005 * baseline  # one number is shown for both
        millions[size] = ours / 1e6
    cifar = load_checkpoint(EXAMPLES / "cifar10" / "ds2ta-2-64-cifar10.safetensors")
    figures.check("parameters", bundled=parameters(checkpoint), cifar=parameters(cifar), **millions)


def test_what_the_c_code_takes(figures, graph):
    found = footprint(build_program(graph))
    sizes = {"rom": found.rom_bytes, "ram": found.ram_bytes, "state": found.state_bytes, "arena": found.arena_bytes}
    figures.check("C", operations=found.multiply_accumulates, **sizes)


def test_a_picture_for_the_c_program(figures, checkpoint):
    figures.check("bytes of a picture", bytes=prod(size or 1 for size in checkpoint.config.input_shape))


def test_steps_that_a_decision_may_sum_up(figures, checkpoint, graph):
    loihi = freeze(quantize(checkpoint, Quantization(profile="loihi")))
    assert StepForm.of(graph).longest is None
    figures.check("longest sums", cpu=StepForm.of(graph).longest_sum, loihi=StepForm.of(loihi).longest_sum)


def test_nodes_of_the_onnx_file(figures, graph):
    fused, inlined = (len(to_onnx(graph, inline=inline).graph.node) for inline in (False, True))
    figures.check("nodes", fused=fused, inlined=inlined)


def test_kinds_of_ops(figures):
    figures.check("kinds of ops", kinds=len(OPS))


def test_processes_on_lava(figures, checkpoint, stream_graph):
    bundled = freeze(quantize(checkpoint, Quantization(profile="loihi")))
    figures.check(
        "lava: processes", bundled=len(parts_of(bundled)), populations=len(group(stream_graph)), leaves=len(parts_of(stream_graph))
    )


def test_a_bias_that_lavas_neuron_cannot_hold(figures, checkpoint):
    graph = freeze(quantize(checkpoint, Quantization(profile="loihi", thresholds="layer")))
    (bias,) = (op.bias for op in graph if op.name.startswith("blocks.1.mlp.fc1") and hasattr(op, "bias"))
    figures.check("lava: largest bias", bias=int(np.abs(bias).max()))


def test_how_far_the_cifar_network_was_trained(figures, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    from training.schedule import learning_rate

    a_pass = 50_000 // 128
    steps = 3 * a_pass
    figures.check("CIFAR-10 training", steps=steps, epochs=1000 / a_pass, rate=100 * learning_rate(1000, steps, 1.0, warmup=200))
