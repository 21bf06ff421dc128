"""What ``run`` and ``eval`` run: an artifact on one of its runtimes, or a checkpoint's float model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.cli.imports import load, require_nothing_said
from ds2ta_deploy.errors import Problem, UsageError
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.runtimes.table import open_runtime, require_torch
from ds2ta_deploy.targets import find_target
from ds2ta_deploy.verification import Values, wanted_values

#: Samples that are run at once.
BATCH = 64

FLOAT_RUNTIME = "torch-float"


@dataclass(frozen=True)
class Source:
    """Something that gives traces.

    Attributes:
        runtime: name of what runs.
        input_shape: of the inputs, None for the batch.
        values: names of the values it can give.
        trace: runs inputs and returns values by name.
        logits: name of the output.

    """

    runtime: str
    input_shape: tuple[int | None, ...]
    values: tuple[str, ...]
    trace: Callable[[NDArray[np.uint8], Sequence[str]], dict[str, NDArray[Any]]]
    logits: str

    @property
    def batch_axis(self) -> int:
        """Axis of the inputs along which samples lie."""
        return self.input_shape.index(None)

    def batches(self, inputs: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """Cut the inputs into batches."""
        axis = self.batch_axis if inputs.ndim > self.batch_axis else 0
        return [inputs.take(range(start, min(start + BATCH, inputs.shape[axis])), axis) for start in range(0, inputs.shape[axis], BATCH)]


def open_source(
    path: Path,
    runtime: str | None,
    values: Values,
    *,
    checkpoint: Path | None = None,
    allow_modified: bool = False,
    lava_python: Path | None = None,
    said: dict[str, Any],
) -> Source:
    """Open an artifact (a directory) or a checkpoint (a file), of which ``said`` says what the file does not.

    Raises:
        UsageError: DS2TA-504 when the runtime cannot run what was given.
        InputError: when it is neither, or damaged.

    """
    if path.is_dir():
        require_nothing_said(said, path)
        artifact = Artifact.open(path, allow_modified=allow_modified)
        name = runtime or find_target(artifact.manifest.target).run_with
        if checkpoint is not None and name != "torch":
            raise UsageError(Problem("DS2TA-504", f"--checkpoint is of no use to the runtime {name!r}", mend="add --runtime torch"))
        opened = open_runtime(name, artifact, checkpoint, lava_python=lava_python)
        graph = artifact.graph
        return Source(name, graph.input_type.shape, wanted_values(graph, values), opened.trace, graph.output)
    if checkpoint is not None or allow_modified or lava_python is not None:
        what = "--checkpoint, --allow-modified and --lava-python are for artifacts; this is a file"
        raise UsageError(Problem("DS2TA-504", what, str(path)))
    if runtime not in (None, FLOAT_RUNTIME):
        raise UsageError(
            Problem(
                "DS2TA-504",
                f"a checkpoint runs on {FLOAT_RUNTIME!r} only, not on {runtime!r}",
                str(path),
                "export it first, then run the artifact",
            )
        )
    require_torch()
    from ds2ta_deploy.runtimes.pytorch import FloatRuntime

    model = load(path, said).model
    floating = FloatRuntime(model)
    inner = (".product", ".current", ".membrane", ".scores", ".denoised", ".context", ".key_value", ".relevance", ".mixed", "_current")
    names = tuple(name for name in floating.value_names if values == "all" or not name.endswith(inner))
    return Source(FLOAT_RUNTIME, model.config.input_shape, names, floating.trace, "head.logits")


def open_graph(path: Path, config: Path | None, settings: dict[str, Any], *, allow_modified: bool = False, said: dict[str, Any]) -> Graph:
    """Return the integer graph of an artifact, or of a checkpoint that is put on the grid as config and settings say.

    Raises:
        UsageError: DS2TA-504 when settings are given for an artifact, or --allow-modified for a checkpoint.
        InputError: when it is neither, or damaged.

    """
    if path.is_dir():
        require_nothing_said(said, path)
        if config is not None or any(value is not None for value in settings.values()):
            raise UsageError(Problem("DS2TA-504", "settings of the grid are for checkpoints; this is an artifact", str(path)))
        return Artifact.open(path, allow_modified=allow_modified).graph
    if allow_modified:
        raise UsageError(Problem("DS2TA-504", "--allow-modified is for artifacts; this is a file", str(path)))
    require_torch()
    from ds2ta_deploy.cli.export import read_settings
    from ds2ta_deploy.freezing import freeze
    from ds2ta_deploy.quantization import quantize

    return freeze(quantize(load(path, said).model, read_settings(config, settings)))
