"""Export: graph to a verified artifact."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import (
    GOLDEN_HASHES,
    GOLDEN_INPUTS,
    GOLDEN_VALUES,
    GRAPH,
    MODEL,
    REPORT,
    Artifact,
    FileEntry,
    Manifest,
    encode_json,
    stage,
    writer_versions,
)
from ds2ta_deploy.errors import ParityError, Problem, UsageError
from ds2ta_deploy.graph import serialize
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.parity import ParityReport, Progress, compare_runtimes
from ds2ta_deploy.report import build_report
from ds2ta_deploy.runtimes.base import Runtime, open_runtime
from ds2ta_deploy.runtimes.reference import ReferenceRuntime
from ds2ta_deploy.synthetic import synthetic_pixels
from ds2ta_deploy.verification import Values, wanted_values

#: What can be exported to, and what it is.
TARGETS: dict[str, str] = {"onnx": "one ONNX file of integer ops that any stock ONNX Runtime executes"}

#: Number of synthetic samples that an export is verified on when no inputs are given.
SYNTHETIC_SAMPLES = 8


@dataclass(frozen=True)
class Provenance:
    """Where a graph comes from, for the manifest.

    Attributes:
        checkpoint: hash and size of the checkpoint file.
        config: the model's configuration.
        quantization: how it was put on the grid.

    """

    checkpoint: FileEntry | None = None
    config: dict[str, Any] = field(default_factory=dict)
    quantization: dict[str, Any] = field(default_factory=dict)


def default_inputs(graph: Graph) -> NDArray[np.uint8]:
    """Synthetic inputs for a graph, the same on every machine."""
    shape = tuple(SYNTHETIC_SAMPLES if size is None else size for size in graph.input_type.shape)
    return synthetic_pixels("frames" if graph.input_name == "frames" else "images", shape)


def export(  # noqa: PLR0913 - options of one verb, all but three by keyword only
    graph: Graph,
    target: str = "onnx",
    out: str | Path = "artifact",
    *,
    inputs: NDArray[np.uint8] | None = None,
    inline: bool = False,
    runtimes: Sequence[str] = ("onnxruntime",),
    reference: Runtime | None = None,
    values: Values = "populations",
    provenance: Provenance | None = None,
    progress: Progress | None = None,
    on_report: Callable[[ParityReport], None] | None = None,
) -> Artifact:
    """Write a graph as an artifact, after every runtime asked for computed the same integers.

    Args:
        graph: what to export.
        target: ``onnx``.
        out: directory to write; must not exist.
        inputs: uint8 golden inputs; synthetic ones by default.
        inline: expand the ONNX functions, for engines that have none.
        runtimes: names of the runtimes to verify with; none switches verification off.
        reference: one more runtime to compare with, usually the quantized PyTorch model.
        values: which values to compare and hash.
        provenance: what the manifest says of the graph's origin.
        progress: told the number of samples done.
        on_report: told the result of the comparison, whatever it is.

    Raises:
        UsageError: DS2TA-501 the output exists, 502 it cannot be written, 506 unknown target.
        UnsupportedError: when the graph does not fit the target.
        ParityError: when an integer differs; the artifact is then left as ``OUT.failed``.

    Example:
        >>> artifact = export(freeze(quantize(model)), target="onnx", out="build/")  # doctest: +SKIP

    """
    if target not in TARGETS:
        raise UsageError(Problem("DS2TA-506", f"there is no target {target!r}", mend=f"there are: {', '.join(TARGETS)}"))
    provenance = provenance or Provenance()
    inputs = default_inputs(graph) if inputs is None else inputs
    graph.check_input(inputs)
    manifest = Manifest(
        target=target,
        inline=inline,
        versions=writer_versions(),
        checkpoint=provenance.checkpoint,
        config=provenance.config,
        quantization=provenance.quantization,
        rounding=str(graph.facts.get("rounding", "")),
        files={},
    )
    with stage(Path(out)) as staging:
        staging.write({GRAPH: serialize.to_bytes(graph), MODEL: _onnx_bytes(graph, inline=inline)})
        staged = staging.artifact(manifest)
        others = [open_runtime(name, staged) for name in runtimes if name != ReferenceRuntime.name]
        if reference is not None:
            others.insert(0, reference)
        wanted = wanted_values(graph, values)
        report = compare_runtimes(graph, inputs, ReferenceRuntime(graph), others, wanted, progress=progress)
        if on_report is not None:
            on_report(report)
        staging.write(_vectors(graph, inputs, report))
        staging.write({REPORT: encode_json(build_report(graph, report))})
        written = staging.commit(_with_parity(manifest, report, verified=bool(others)), failed=not report.passed)
    if not report.passed:
        problems = [result.first.problem() for result in report.results if result.first is not None]
        raise ParityError([*problems, Problem("DS2TA-303", "the export is not released", str(written.path))])
    return written


def _with_parity(manifest: Manifest, report: ParityReport, *, verified: bool) -> Manifest:
    return msgspec.structs.replace(manifest, parity=report.entries() if verified else ())


def _onnx_bytes(graph: Graph, *, inline: bool) -> bytes:
    from ds2ta_deploy.exporters.onnx import to_onnx

    data: bytes = to_onnx(graph, inline=inline).SerializeToString(deterministic=True)
    return data


def _vectors(graph: Graph, inputs: NDArray[np.uint8], report: ParityReport) -> dict[str, bytes]:
    """Golden inputs, the logits of all of them, the first one's spikes and counts, and a hash of every compared value."""
    axis = graph.input_type.shape.index(None)
    first = ReferenceRuntime(graph).trace(inputs.take([0], axis), wanted_values(graph, "populations"))
    first[graph.output] = report.output
    return {
        GOLDEN_INPUTS: _npz({graph.input_name: inputs}),
        GOLDEN_VALUES: _npz(first),
        GOLDEN_HASHES: encode_json(report.hashes),
    }


def _npz(arrays: dict[str, NDArray[Any]]) -> bytes:
    """Uncompressed, so that the bytes do not depend on a compressor's version."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
