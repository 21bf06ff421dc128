"""The networks that are timed: the bundled trained one, and large random ones that fire at given rates."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import REPORT, Artifact
from ds2ta_deploy.checkpoints import load_checkpoint
from ds2ta_deploy.datasets import read_npz
from ds2ta_deploy.exporting import export
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.graph.operations import dense_operations
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.config import NetworkConfig
from ds2ta_deploy.models.firing import Rates, set_firing_rates
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.models.presets import PRESETS
from ds2ta_deploy.quantization import Quantization, quantize
from ds2ta_deploy.report import Report
from ds2ta_deploy.runtimes.reference import ReferenceRuntime
from ds2ta_deploy.synthetic import synthetic_pixels

_EXAMPLE = Path(__file__).parents[1] / "examples" / "fashion_mnist" / "ds2ta-2-64"

#: Layers whose spikes are added to the token stream: their rates add up over the blocks, and training keeps them low.
_BRANCHES = ("attn.proj", "mlp.fc2")

#: Seed of the pictures that rates are set on, which are those that are timed.
_PICTURE_SEED = 1


@dataclass(frozen=True)
class Grid:
    """A network on the grid of so many bits.

    Attributes:
        model: the quantized model.
        artifact: written from its graph.
        logits: int32 ``[pictures, classes]``, of the graph's own definition.

    """

    model: SpikingTransformer
    artifact: Artifact
    logits: NDArray[np.integer]


@dataclass(frozen=True)
class Network:
    """A network to time.

    Attributes:
        name: for people.
        grids: by the bits of the weights.
        pictures: uint8, one a sample; their axis is :attr:`axis`.
        rates: population -> mean rate on the pictures, of the 8-bit network.

    """

    name: str
    grids: dict[int, Grid]
    pictures: NDArray[np.uint8]
    rates: dict[str, float]

    @property
    def axis(self) -> int:
        """Axis of the pictures that counts samples."""
        return self.grids[8].artifact.graph.input_type.shape.index(None)

    @property
    def operations(self) -> int:
        """Dense multiply-accumulates of one sample.

        All of Linear, Conv2d, MatMul (both products of the attention) and Readout, for all T steps; the first
        convolution once when the input is a still picture, as every contestant computes it once.
        """
        graph = self.grids[8].artifact.graph
        return sum(dense_operations(graph, op) for op in graph)


def put_on_grids(name: str, model: SpikingTransformer, pictures: NDArray[np.uint8], folder: Path) -> Network:
    """Quantize to 8 and to 6 bits, freeze, and write the artifacts into a folder."""
    grids = {}
    for bits in (8, 6):
        quantized = quantize(model, Quantization(weight_bits=bits))
        graph = freeze(quantized)
        # Not verified here: every contestant is compared with the graph's own execution before it is timed.
        artifact = export(graph, "onnx", folder / f"{name}-{bits}", inputs=pictures, verify=False)
        grids[bits] = Grid(quantized, artifact, ReferenceRuntime(graph).trace(pictures, ())[graph.output])
    report = grids[8].artifact.read_json(REPORT, Report)
    return Network(name, grids, pictures, {spikes.removesuffix(".spikes"): rate for spikes, rate in report.firing_rates.items()})


def trained_network(folder: Path, count: int) -> Network:
    """Return the bundled network, trained on Fashion-MNIST, and some of its pictures."""
    pictures = read_npz(_EXAMPLE.with_suffix(".npz")).images[:count]
    return put_on_grids("trained", load_checkpoint(_EXAMPLE.with_suffix(".safetensors")), pictures, folder)


def network_at_rate(preset: str, rate: float, folder: Path, *, branch_rate: float = 0.04, count: int = 4, seed: int = 0) -> Network:
    """Return a random network whose populations all fire at one rate.

    Args:
        preset: its architecture.
        rate: mean rate before pooling, 0..1.
        folder: where the artifacts are written.
        branch_rate: the rate of the residual branches' last layers.
        count: number of pictures.
        seed: of the weights.

    """
    rates: Rates = lambda name: branch_rate if name.endswith(_BRANCHES) else rate  # noqa: E731
    return random_network_at(f"{preset}-{rate:.0%}", PRESETS[preset], rates, folder, count=count, seed=seed)


def network_like(trained: Network, preset: str, folder: Path, *, count: int = 4, seed: int = 0) -> Network:
    """Return a random network that fires as a trained one does: every kind of layer at the mean rate of its kind."""
    grouped = defaultdict(list)
    for name, rate in trained.rates.items():
        grouped[kind_of(name)].append(rate)
    means = {kind: fmean(rates) for kind, rates in grouped.items()}
    return random_network_at(f"{preset}-trained", PRESETS[preset], lambda name: means[kind_of(name)], folder, count=count, seed=seed)


def kind_of(population: str) -> str:
    """The same name for a layer of every block: ``blocks.3.attn.q -> blocks.attn.q``."""
    first, *rest = population.split(".")
    return ".".join([first, *rest[1:]] if first == "blocks" else [first, *rest])


def random_network_at(name: str, config: NetworkConfig, rates: Rates, folder: Path, *, count: int, seed: int = 0) -> Network:
    """Return a random network of a config that fires at rates of its populations."""
    model = random_network(config, seed)
    set_firing_rates(model, rates, _PICTURE_SEED, batch=count)
    shape = tuple(count if size is None else size for size in config.input_shape)
    return put_on_grids(name, model, synthetic_pixels(config.input_kind, shape, _PICTURE_SEED), folder)


def mean_rates(network: Network) -> Mapping[str, float]:
    """Mean rate of the patch embedding's, the encoder's and the residual branches' populations."""
    kinds: dict[str, Callable[[str], bool]] = {
        "patch": lambda name: name.startswith("patch"),
        "encoder": lambda name: name.startswith("blocks") and not name.endswith(_BRANCHES),
        "branches": lambda name: name.endswith(_BRANCHES),
    }
    return {kind: fmean(rate for name, rate in network.rates.items() if belongs(name)) for kind, belongs in kinds.items()}
