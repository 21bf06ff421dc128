"""Accuracies of the trained networks, as the pages have them, on the whole Fashion-MNIST test set. Seconds to a minute each."""

import importlib.util
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from ds2ta_deploy.checkpoints import load_checkpoint
from ds2ta_deploy.datasets import FASHION_MNIST, read_idx_directory
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.narrowing import narrow
from ds2ta_deploy.quantization import Quantization, quantize
from ds2ta_deploy.report import stored_weights
from ds2ta_deploy.runtimes.native.library import library_path
from ds2ta_deploy.runtimes.native.runtime import NativeRuntime

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason=f"needs {FASHION_MNIST}: Debian's package dataset-fashion-mnist"),
    pytest.mark.skipif(library_path() is None, reason="needs the native library: pip install -e . where there is a C compiler"),
]

EXAMPLES = Path(__file__).parents[2] / "examples"
FASHION = EXAMPLES / "fashion_mnist"

#: Samples that are run at once.
BATCH = 500


@pytest.fixture(scope="module")
def pictures():
    return read_idx_directory(FASHION_MNIST, "test")


def frozen(name, settings=None):
    return freeze(quantize(load_checkpoint(FASHION / f"{name}.safetensors"), settings))


def decisions(graph, inputs):
    """Return the class of each sample; samples lie along the axis that the input's shape leaves open."""
    runtime, axis = NativeRuntime(graph), graph.input_type.shape.index(None)
    starts = range(0, inputs.shape[axis], BATCH)
    parts = (inputs.take(range(start, min(start + BATCH, inputs.shape[axis])), axis) for start in starts)
    return np.concatenate([runtime.trace(part, ["head.logits"])["head.logits"].argmax(1) for part in parts])


def percent(decided, labels):
    return 100 * int((decided == labels).sum()) / len(labels)


def test_in_integers_before_and_after_fine_tuning(figures, pictures):
    found = {}
    for bits in (8, 4):
        for kind, name in {"plain": "ds2ta-2-64", "tuned": f"ds2ta-2-64-tuned-{bits}bit"}.items():
            graph = frozen(name, Quantization(weight_bits=bits))
            found[f"{kind}_{bits}"] = percent(decisions(graph, pictures.images), pictures.labels)
            found[f"bytes_{bits}"] = sum(held.bytes for held in stored_weights(graph).values())
    figures.check("top-1 in integers", **found)


def test_with_fewer_operations(figures, pictures):
    found = {}
    for kind, name in {"plain": "ds2ta-2-64", "sparse": "ds2ta-2-64-sparse"}.items():
        for bits in (8, 6):
            graph = frozen(name, Quantization(weight_bits=bits))
            found[f"{kind}_{bits}"] = percent(decisions(graph, pictures.images), pictures.labels)
        populations = [value for value in graph.types if value.endswith(".spikes")]
        traced = NativeRuntime(graph).trace(pictures.images[:BATCH], populations)
        found[f"{kind}_rate"] = 100 * np.mean([traced[value].mean() for value in populations])
    figures.check("the sparse network", **found)


def test_other_families(figures, pictures):
    graphs = {name: frozen(f"{name}-2-64") for name in ("spikformer", "statten")}
    found = {name: percent(decisions(graph, pictures.images), pictures.labels) for name, graph in graphs.items()}
    figures.check("top-1 of other families", **found)


def test_without_a_part_of_the_family(figures, pictures):
    names = ("full", "no_nsad", "no_tasa", "neither")
    graphs = {name: frozen(f"ablation/{name.replace('_', '-')}") for name in names}
    found = {name: percent(decisions(graph, pictures.images), pictures.labels) for name, graph in graphs.items()}
    figures.check("top-1 of the ablation", **found)


def test_one_threshold_a_layer(figures, pictures):
    by_channel, by_layer = (
        decisions(frozen("ds2ta-2-64", Quantization(thresholds=each)), pictures.images) for each in ("channel", "layer")
    )
    right, right_by_layer = by_channel == pictures.labels, by_layer == pictures.labels
    assert right.sum() == right_by_layer.sum()  # "either way", and as many "on each side only"
    only = int((right & ~right_by_layer).sum())
    figures.check(
        "a threshold a layer", percent=percent(by_layer, pictures.labels), changed=int((by_channel != by_layer).sum()), right=only
    )


def test_formats_under_a_budget(figures):
    """What ``ds2ta bits --samples 500 --size 90kB`` chooses."""
    train = read_idx_directory(FASHION_MNIST, "train")
    model = load_checkpoint(FASHION / "ds2ta-2-64.safetensors")
    found = narrow(model, train.images[:500], train.labels[:500], Quantization(), most_bytes=90_000)
    right = {"before": found.widest.correct, "after": found.chosen.correct}
    figures.check("formats under a budget", bytes=found.chosen.bytes, changed=found.chosen.changed, **right)


@pytest.fixture(scope="module")
def training():
    """Return the script that trains on events."""
    spec = importlib.util.spec_from_file_location("train_events", EXAMPLES / "events" / "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_recordings_of_the_simulated_camera(figures, pictures, training):
    """The float network in float64: float32 may round a membrane to the other side of its threshold on another processor."""
    images, labels = pictures.images[:1000, :, :, 0], pictures.labels[:1000]
    model = load_checkpoint(EXAMPLES / "events" / "ds2ta-2-64-events.safetensors")
    frames = np.stack(list(training.make_frames(images, seed=training.SEEDS["test"])), axis=1)
    with torch.no_grad():
        batches = torch.from_numpy(frames).split(250, dim=1)
        floating = torch.cat([model.double().eval()(batch).argmax(1) for batch in batches]).numpy()
    graph = freeze(quantize(load_checkpoint(EXAMPLES / "events" / "ds2ta-2-64-events.safetensors")))
    events = [len(each) for each in islice(training.simulation.simulate(images, seed=training.SEEDS["test"]), 100)]
    figures.check(
        "events",
        floating=percent(floating, labels),
        integers=percent(decisions(graph, frames), labels),
        events=np.mean(events),
    )
