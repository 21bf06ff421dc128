"""The networks that are timed: the bundled trained one, and large random ones that fire at given rates."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.checkpoints import load_checkpoint
from ds2ta_deploy.datasets import read_npz
from ds2ta_deploy.exporting import export
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.operations import dense_operations
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.config import NetworkConfig
from ds2ta_deploy.models.firing import Rates, set_firing_rates
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.models.presets import PRESETS
from ds2ta_deploy.quantization import Quantization, quantize
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
        read_rates: the same of what the next layer reads, which differs where a layer pools.

    """

    name: str
    grids: dict[int, Grid]
    pictures: NDArray[np.uint8]
    rates: dict[str, float]
    read_rates: dict[str, float]

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
    rates, read_rates = _firing_rates(grids[8].artifact.graph, pictures)
    return Network(name, grids, pictures, rates, read_rates)


def _firing_rates(graph: Graph, pictures: NDArray[np.uint8]) -> tuple[dict[str, float], dict[str, float]]:
    """Mean rates of the populations, and of what is read of them."""
    names = [name.removesuffix(".spikes") for name in graph.types if name.endswith(".spikes")]
    read = {name: f"{name}.pooled" if f"{name}.pooled" in graph.types else f"{name}.spikes" for name in names}
    traced = ReferenceRuntime(graph).trace(pictures, [*(f"{name}.spikes" for name in names), *read.values()])
    means = {name: float(value.mean()) for name, value in traced.items()}
    return {name: means[f"{name}.spikes"] for name in names}, {name: means[value] for name, value in read.items()}


def trained_network(folder: Path, count: int, kind: str = "trained") -> Network:
    """Return a bundled network, trained on Fashion-MNIST, and some pictures of the test set.

    Args:
        folder: where the artifacts are written.
        count: number of pictures.
        kind: ``trained``, or ``sparse``, which was trained on with a penalty on synaptic operations; the network's name as well.

    """
    pictures = read_npz(_EXAMPLE.with_suffix(".npz")).images[:count]
    checkpoint = _EXAMPLE.with_name(_EXAMPLE.name + {"trained": "", "sparse": "-sparse"}[kind])
    return put_on_grids(kind, load_checkpoint(checkpoint.with_suffix(".safetensors")), pictures, folder)


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
    """Return a random network that fires as a trained one does: the next layer reads the mean rate of the layer's kind."""
    config, depth = PRESETS[preset], trained.grids[8].model.config.depth
    grouped = defaultdict(list)
    for name, rate in trained.read_rates.items():
        grouped[kind_of(name, depth)].append(rate)
    means = {kind: fmean(found) for kind, found in grouped.items()}
    last = {kind.removeprefix("last."): rate for kind, rate in means.items()}  # for a trained network of one block

    def rates(population: str) -> float:
        kind = kind_of(population, config.depth)
        return means[kind] if kind in means else last[kind.removeprefix("blocks.")]

    return random_network_at(f"{preset}-{trained.name}", config, rates, folder, count=count, seed=seed, pooled=True)


def kind_of(population: str, depth: int) -> str:
    """The same name for a layer of every block but the last, which nothing but the readout reads: ``blocks.2.attn.q -> blocks.attn.q``."""
    first, *rest = population.split(".")
    if first != "blocks":
        return population
    return ".".join(["last" if int(rest[0]) == depth - 1 else first, *rest[1:]])


def random_network_at(
    name: str, config: NetworkConfig, rates: Rates, folder: Path, *, count: int, seed: int = 0, pooled: bool = False
) -> Network:
    """Return a random network of a config that fires at rates of its populations, behind pooling or before it."""
    model = random_network(config, seed)
    set_firing_rates(model, rates, _PICTURE_SEED, batch=count, pooled=pooled)
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
