"""What the integer tables were trained as: read from the checkpoint, where it is given."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import Artifact, FileEntry
from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.graph.ops import Lookup
from ds2ta_deploy.reading import read_regular
from ds2ta_deploy.runtimes.table import require_torch

if TYPE_CHECKING:
    from ds2ta_deploy.models.denoiser import Denoiser


@dataclass(frozen=True)
class TrainedHead:
    """One head of a denoiser.

    Attributes:
        function: f_h(s) for s = 0..d, before rounding, float64 ``[d + 1]``.
        gate: u_h.

    """

    function: NDArray[np.float64]
    gate: float


def trained_heads(artifact: Artifact, checkpoint: Path) -> dict[str, list[TrainedHead]]:
    """Return the heads behind every table of an artifact, by the name of the table's op.

    Raises:
        InputError: DS2TA-101 when it cannot be read, DS2TA-156 when it is not the one that was exported.
        MissingRuntimeError: DS2TA-401 without PyTorch.

    """
    require_torch()
    from ds2ta_deploy.importing.loading import load_model
    from ds2ta_deploy.models.denoiser import Denoiser

    try:
        entry = FileEntry.of(read_regular(checkpoint))
    except OSError as error:
        raise InputError(Problem("DS2TA-101", f"cannot be read: {error.strerror}", str(checkpoint))) from error
    if entry != artifact.manifest.checkpoint:
        raise InputError(Problem("DS2TA-156", "is not the checkpoint that was exported (its hash differs)", str(checkpoint)))
    model = load_model(checkpoint, config=artifact.manifest.config)
    modules = {name: module for name, module in model.named_modules() if isinstance(module, Denoiser)}
    return {op.name: _heads(modules[op.name]) for op in artifact.graph if isinstance(op, Lookup) and op.name in modules}


def _heads(denoiser: "Denoiser") -> list[TrainedHead]:
    function = denoiser.function_and_slope()[0].detach().double().numpy()
    gates = dict(denoiser.named_parameters())["u"].detach().tolist()
    return [TrainedHead(row, float(gate)) for row, gate in zip(function, gates, strict=True)]
