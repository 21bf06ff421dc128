"""Verify: run an artifact on every runtime asked for and compare every value."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import GOLDEN_HASHES, GOLDEN_INPUTS, GOLDEN_VALUES, GRAPH, Artifact
from ds2ta_deploy.datasets import read_arrays
from ds2ta_deploy.errors import InputError, Problem, UnsupportedError, UsageError
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.populations import population_values
from ds2ta_deploy.parity import ParityReport, Progress, compare_runtimes
from ds2ta_deploy.runtimes.base import Runtime
from ds2ta_deploy.runtimes.reference import ReferenceRuntime
from ds2ta_deploy.runtimes.stepped_file import open_stepped_files
from ds2ta_deploy.runtimes.table import RUNTIMES, open_runtime
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
    check_certificate(opened)
    golden = None
    if inputs is None:
        inputs = golden_inputs(opened)
        golden = golden_hashes(opened)
    opened.graph.check_input(inputs)
    path = Path(checkpoint) if checkpoint is not None else None
    lava = Path(lava_python) if lava_python is not None else None
    asked = [runtimes] if isinstance(runtimes, str) else runtimes
    comparison = open_comparison(opened, asked, path, lava, values, recorded=golden is not None)
    return comparison.run(inputs, golden, progress)


def check_certificate(artifact: Artifact) -> None:
    """Check the certificate of a graph that is the one exported.

    Raises:
        InputError: DS2TA-170 when it does not hold.

    """
    if GRAPH not in artifact.modified:
        artifact.check_certificate()


@dataclass(frozen=True)
class Comparison:
    """Runtimes of an artifact, opened, and what of them is compared.

    Attributes:
        graph: of the artifact.
        baseline: what the others are compared with.
        others: what is compared.
        wanted: names of the values.
        left_out: name of a runtime that nobody asked for and that cannot run this network -> why.

    """

    graph: Graph
    baseline: Runtime
    others: tuple[Runtime, ...]
    wanted: tuple[str, ...]
    left_out: dict[str, str]

    def run(self, inputs: NDArray[np.uint8], golden: dict[str, str] | None = None, progress: Progress | None = None) -> ParityReport:
        """Compare on some inputs; arguments and errors as :func:`ds2ta_deploy.parity.compare_runtimes`."""
        self.graph.check_input(inputs)
        report = compare_runtimes(self.graph, inputs, self.baseline, self.others, self.wanted, golden=golden, progress=progress)
        report.left_out = dict(self.left_out)
        return report


def open_comparison(
    artifact: Artifact,
    runtimes: Sequence[str] | None,
    checkpoint: Path | None,
    lava_python: Path | None,
    values: Values | None,
    *,
    recorded: bool,
) -> Comparison:
    """Open the runtimes that are to be compared; arguments and errors as :func:`verify`.

    Args:
        artifact: what to verify, opened.
        runtimes: names; by default every one that can run here, and this network.
        checkpoint: compares with the quantized PyTorch model too.
        lava_python: interpreter that has Lava.
        values: which values to compare.
        recorded: whether recorded hashes will be compared, too.

    """
    names = list(runtimes if runtimes is not None else _default_runtimes(artifact, checkpoint, lava_python))
    if checkpoint is not None:
        names.append("torch")
    baseline = open_runtime("torch" if "torch" in names else ReferenceRuntime.name, artifact, checkpoint)
    compared = [name for name in dict.fromkeys([ReferenceRuntime.name, *names]) if name != baseline.name]
    if not compared and not recorded:
        raise UsageError(Problem("DS2TA-509", "there is nothing to compare the reference with", mend=f"name one of: {', '.join(RUNTIMES)}"))
    others, left_out = list[Runtime](), dict[str, str]()
    for name in compared:
        try:
            others.append(open_runtime(name, artifact, checkpoint, lava_python=lava_python))
            others += open_stepped_files(name, artifact, lava_python=lava_python)
        except UnsupportedError as error:
            if runtimes is not None:
                raise
            left_out[name] = error.problems[0].what
    wanted = wanted_values(artifact.graph, values or ("all" if artifact.modified else "populations"))
    return Comparison(artifact.graph, baseline, tuple(others), wanted, left_out)


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


def golden_logits(artifact: Artifact) -> NDArray[np.integer]:
    """Return the logits that were recorded for the golden inputs, int32 ``[B, classes]``.

    Raises:
        InputError: DS2TA-132 or 133 when there are none.

    """
    graph, where = artifact.graph, artifact.path / GOLDEN_VALUES
    arrays = read_arrays(io.BytesIO(artifact.read(GOLDEN_VALUES)), [graph.output], where)
    found, samples = arrays.get(graph.output), golden_inputs(artifact).shape[graph.input_type.shape.index(None)]
    if found is None or found.dtype != np.int32 or found.shape != (samples, graph.types[graph.output].shape[-1]):
        raise InputError(Problem("DS2TA-133", f"has no logits {graph.output!r} of its {samples} inputs", str(where), "export again"))
    return found


def golden_inputs(artifact: Artifact) -> NDArray[np.uint8]:
    """Return the inputs that the artifact was verified on when it was written."""
    name, where = artifact.graph.input_name, artifact.path / GOLDEN_INPUTS
    arrays = read_arrays(io.BytesIO(artifact.read(GOLDEN_INPUTS)), [name], where)  # the very bytes whose hash was checked
    if name not in arrays:
        raise InputError(Problem("DS2TA-133", f"has no array {name!r}", str(where)))
    return arrays[name]
