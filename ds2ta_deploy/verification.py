"""Verify: run an artifact on every runtime asked for and compare every value."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import GOLDEN_HASHES, GOLDEN_INPUTS, GRAPH, Artifact
from ds2ta_deploy.datasets import read_arrays
from ds2ta_deploy.errors import InputError, Problem, UnsupportedError, UsageError
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.populations import population_values
from ds2ta_deploy.parity import ParityReport, Progress, compare_runtimes
from ds2ta_deploy.runtimes.base import RUNTIMES, Runtime, open_runtime
from ds2ta_deploy.runtimes.reference import ReferenceRuntime
from ds2ta_deploy.runtimes.stepped_file import open_stepped_files
from ds2ta_deploy.targets import find_target

#: ``populations``: what passes between populations. ``all``: currents, membranes, attention maps as well.
Values = Literal["populations", "all"]


def wanted_values(graph: Graph, values: Values) -> tuple[str, ...]:
    """Names of the values to compare."""
    return graph.observable if values == "all" else population_values(graph)


def available_runtimes(target: str, *, with_checkpoint: bool, lava_python: Path | None = None) -> list[str]:
    """Names of the runtimes besides the baseline that can run an artifact of this target here."""
    return [
        name
        for name, info in RUNTIMES.items()
        if name != "reference"
        and (info.available or (name == "lava" and lava_python is not None))
        and (with_checkpoint or not info.needs_checkpoint)
        and info.executes in ("", *find_target(target).holds)
    ]


def verify(
    artifact: Artifact | str | Path,
    runtimes: str | Sequence[str] | None = None,
    *,
    inputs: NDArray[np.uint8] | None = None,
    checkpoint: str | Path | None = None,
    lava_python: str | Path | None = None,
    values: Values | None = None,
    progress: Progress | None = None,
) -> ParityReport:
    """Check the certificate, then compare runtimes with each other and with the recorded hashes.

    The baseline is the quantized PyTorch model when it can run, otherwise the graph's own execution. A graph that
    was modified, where that was allowed, is not the one that was certified: it is compared only. Where a runtime has the step
    form in a file of its own, that is stepped through and compared as ``<runtime>-steps``.

    Args:
        artifact: what to verify, opened or its directory.
        runtimes: names; by default every one that can run here, and this network.
        inputs: uint8; by default the artifact's golden inputs, for which hashes are recorded.
        checkpoint: compares with the quantized PyTorch model too.
        lava_python: interpreter that has Lava, for the runtime ``lava``; the present one by default.
        values: which values to compare; by default ``populations``, and ``all`` when files are not the ones exported: a
            weight that is one too large may change a product and, on these inputs, no spike.
        progress: told the number of samples done.

    Returns:
        The report; ``report.passed`` says whether not one integer differs.

    Raises:
        InputError: when artifact or inputs are invalid; DS2TA-170 when the certificate does not hold.
        MissingRuntimeError: when a runtime is not installed.
        UnsupportedError: when a runtime that was named cannot run the network.
        UsageError: DS2TA-507 without a sample, 509 when nothing would be compared.

    Example:
        >>> verify("build/", runtimes=["onnxruntime"]).passed  # doctest: +SKIP
        True

    """
    opened = artifact if isinstance(artifact, Artifact) else Artifact.open(artifact)
    graph = opened.graph
    if GRAPH not in opened.modified:
        opened.check_certificate()
    golden = None
    if inputs is None:
        inputs = golden_inputs(opened)
        golden = golden_hashes(opened)
    graph.check_input(inputs)
    path = Path(checkpoint) if checkpoint is not None else None
    lava = Path(lava_python) if lava_python is not None else None
    asked = [runtimes] if isinstance(runtimes, str) else runtimes
    names = list(asked if asked is not None else _default_runtimes(opened, path, lava))
    if path is not None:
        names.append("torch")
    baseline = open_runtime("torch" if "torch" in names else ReferenceRuntime.name, opened, path)
    compared = [name for name in dict.fromkeys([ReferenceRuntime.name, *names]) if name != baseline.name]
    if not compared and golden is None:
        raise UsageError(Problem("DS2TA-509", "there is nothing to compare the reference with", mend=f"name one of: {', '.join(RUNTIMES)}"))
    others, left_out = list[Runtime](), dict[str, str]()
    for name in compared:
        try:
            others.append(open_runtime(name, opened, path, lava_python=lava))
            others += open_stepped_files(name, opened, lava_python=lava)
        except UnsupportedError as error:
            if asked is not None:
                raise
            left_out[name] = error.problems[0].what
    values = values or ("all" if opened.modified else "populations")
    report = compare_runtimes(graph, inputs, baseline, others, wanted_values(graph, values), golden=golden, progress=progress)
    report.left_out = left_out
    return report


def _default_runtimes(artifact: Artifact, checkpoint: Path | None, lava_python: Path | None) -> list[str]:
    return available_runtimes(artifact.manifest.target, with_checkpoint=checkpoint is not None, lava_python=lava_python)


def golden_hashes(artifact: Artifact) -> dict[str, str]:
    """Return the hash of every value that was compared when the artifact was written.

    Raises:
        InputError: DS2TA-157 when one of what passes between populations is missing.

    """
    golden = artifact.read_json(GOLDEN_HASHES, dict[str, str])
    missing = [name for name in population_values(artifact.graph) if name not in golden]
    if missing:
        where = str(artifact.path / GOLDEN_HASHES)
        raise InputError(Problem("DS2TA-157", f"has no hash of {name}", where, "export again") for name in missing)
    return golden


def golden_inputs(artifact: Artifact) -> NDArray[np.uint8]:
    """Return the inputs that the artifact was verified on when it was written."""
    name, where = artifact.graph.input_name, artifact.path / GOLDEN_INPUTS
    arrays = read_arrays(io.BytesIO(artifact.read(GOLDEN_INPUTS)), [name], where)  # the very bytes whose hash was checked
    if name not in arrays:
        raise InputError(Problem("DS2TA-133", f"has no array {name!r}", str(where)))
    return arrays[name]
