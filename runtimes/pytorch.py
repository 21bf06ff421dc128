"""Runtimes ``torch`` (the quantized model) and ``torch-float`` (the trained one), watched through their probes."""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ds2ta_deploy.artifact import GRAPH, MANIFEST, Artifact
from ds2ta_deploy.errors import InputError, Problem, UnsupportedError
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.graph import serialize
from ds2ta_deploy.graph.graph import Graph, check_input, store
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.importing.loading import load_model
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.models.probe import Probe, Watch
from ds2ta_deploy.quantization import Quantization, quantize
from ds2ta_deploy.runtimes.base import Runtime, Trace, require_known


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch take floating-point sums on one thread, so that their order does not depend on the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class PytorchRuntime(Runtime):
    """Runs the quantized PyTorch model: the reference that all engines are compared with."""

    name: ClassVar[str] = "torch"

    def __init__(self, model: SpikingTransformer, graph: Graph) -> None:
        """Take the quantized model and the graph frozen from it, which gives the storage types."""
        if model.quantization is None:
            raise UnsupportedError(Problem("DS2TA-202", "the runtime 'torch' needs a quantized model", mend="call quantize(model) first"))
        self._model = model
        self._graph = graph

    def trace(self, inputs: NDArray[np.uint8], wanted: Sequence[str]) -> Trace:
        """Run the model; a value that is no integer, or does not fit its storage type, is an error."""
        self._graph.check_input(inputs)
        require_known(self._graph, wanted)
        values: Trace = {}

        def keep(name: str, value: Tensor) -> None:
            array = value.numpy()
            integers = array.astype(np.int64)
            if not np.array_equal(integers, array):
                raise UnsupportedError(Problem("DS2TA-203", "the quantized model computed a value that is no integer", name))
            values[name] = store(integers, self._graph.types[name], name)

        names = {*wanted, self._graph.output}
        with Watch(self._model, keep, names.__contains__), torch.inference_mode():
            self._model(torch.tensor(np.ascontiguousarray(inputs)))
        return values


def open_quantized(artifact: Artifact, checkpoint: Path) -> PytorchRuntime:
    """Quantize the checkpoint that the artifact was exported from, with the same settings.

    Raises:
        InputError: DS2TA-156 when it is another checkpoint; whatever reading it raises.

    """
    recorded = artifact.manifest.checkpoint
    try:
        found = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(Problem("DS2TA-101", f"cannot be read: {error.strerror}", str(checkpoint))) from error
    if recorded is not None and recorded.sha256 != found:
        raise _other_checkpoint(checkpoint)
    try:
        settings = msgspec.convert(artifact.manifest.quantization, Quantization)
    except msgspec.ValidationError as error:
        where = str(artifact.path / MANIFEST)
        raise InputError(Problem("DS2TA-151", f"its quantization is none this version knows: {error}", where)) from error
    model = quantize(load_model(checkpoint, config=artifact.manifest.config), settings)
    frozen = freeze(model)
    in_question = GRAPH in artifact.modified  # then its integers will be compared; only the wiring must be the same
    if frozen.types != artifact.graph.types or (not in_question and _integers_of(frozen) != _integers_of(artifact.graph)):
        raise _other_checkpoint(checkpoint)
    return PytorchRuntime(model, artifact.graph)


def _integers_of(graph: Graph) -> bytes:
    """Everything that is computed with, and nothing that is merely said of it."""
    return serialize.to_bytes(dataclasses.replace(graph, name="", facts={}))


def _other_checkpoint(checkpoint: Path) -> InputError:
    return InputError(
        Problem(
            "DS2TA-156", "does not give the artifact's graph: it is another checkpoint, or an artifact of another version", str(checkpoint)
        )
    )


class FloatRuntime:
    """Runs the trained model in float32: rung 0, where agreement is measured, not demanded."""

    name: ClassVar[str] = "torch-float"

    def __init__(self, model: SpikingTransformer) -> None:
        """Take a trained model."""
        self._model = model.eval()

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of all values that can be watched, spikes, sums and logits first to last."""
        return tuple(name for name, module in self._model.named_modules() if isinstance(module, Probe))

    def trace(self, inputs: NDArray[np.uint8], wanted: Sequence[str]) -> dict[str, NDArray[np.floating]]:
        """Run the model and return the wanted values and always ``head.logits``.

        Raises:
            InputError: DS2TA-120 or 121 when the inputs do not fit the network.

        """
        config = self._model.config
        check_input(inputs, ValueType(config.input_shape, "uint8"), config.input_kind)
        values: dict[str, NDArray[np.floating]] = {}
        names = {*wanted, "head.logits"}
        with Watch(self._model, lambda name, value: values.__setitem__(name, value.numpy()), names.__contains__), torch.inference_mode():
            self._model(torch.tensor(np.ascontiguousarray(inputs)))
        return values
