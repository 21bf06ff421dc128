"""Export: graph to a verified artifact."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import (
    GOLDEN_HASHES,
    GOLDEN_INPUTS,
    GOLDEN_VALUES,
    GRAPH,
    PAGE,
    REPORT,
    Artifact,
    FileEntry,
    Manifest,
    encode_json,
    writer_versions,
)
from ds2ta_deploy.c_code.footprint import footprint
from ds2ta_deploy.c_code.program import build_program
from ds2ta_deploy.certificate import certify
from ds2ta_deploy.datasets import npz_bytes
from ds2ta_deploy.errors import InputError, ParityError, Problem, UsageError
from ds2ta_deploy.graph import serialize
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.pages.libraries import page_versions, require_page_libraries
from ds2ta_deploy.pages.page import build_page
from ds2ta_deploy.parity import ParityReport, Progress, compare_runtimes
from ds2ta_deploy.quantizing.settings import settings_in
from ds2ta_deploy.reading import read_regular
from ds2ta_deploy.report import build_report
from ds2ta_deploy.runtimes.base import Runtime
from ds2ta_deploy.runtimes.reference import ReferenceRuntime
from ds2ta_deploy.runtimes.stepped_file import open_stepped_files
from ds2ta_deploy.runtimes.table import RUNTIMES, open_runtime
from ds2ta_deploy.staging import stage
from ds2ta_deploy.synthetic import synthetic_pixels
from ds2ta_deploy.targets import TargetOptions, find_target
from ds2ta_deploy.verification import Values, wanted_values

if TYPE_CHECKING:
    from ds2ta_deploy.models.network import SpikingTransformer

#: Number of synthetic samples that an export is verified on when no inputs are given.
SYNTHETIC_SAMPLES = 8


def default_inputs(graph: Graph) -> NDArray[np.uint8]:
    """Synthetic inputs for a graph, the same on every machine."""
    shape = tuple(SYNTHETIC_SAMPLES if size is None else size for size in graph.input_type.shape)
    pictures = len(shape) == 4 and graph.input_type.shape[0] is None
    return synthetic_pixels("images" if pictures else "frames", shape)


def export(  # noqa: PLR0913 - options of one verb, all but three by keyword only
    graph: Graph,
    target: str = "onnx",
    out: str | Path = "artifact",
    *,
    model: "SpikingTransformer | None" = None,
    checkpoint: str | Path | None = None,
    inputs: NDArray[np.uint8] | None = None,
    inline: bool = False,
    lowering: str = "custom",
    verify: bool = True,
    runtimes: str | Sequence[str] | None = None,
    lava_python: str | Path | None = None,
    values: Values = "populations",
    html: bool = False,
    progress: Progress | None = None,
    on_report: Callable[[ParityReport], None] | None = None,
) -> Artifact:
    """Write a graph as an artifact, after every runtime asked for computed the same integers.

    Args:
        graph: what to export.
        target: ``onnx``, ``lava``, ``c`` or ``all``.
        out: directory to write; must not exist.
        model: the quantized model behind the graph; when given, everything is compared with PyTorch,
            otherwise with the graph's own execution.
        checkpoint: the file behind the model; its hash goes into the manifest.
        inputs: uint8 golden inputs; synthetic ones by default.
        inline: expand the ONNX functions, for engines that have none.
        lowering: ``stock`` puts populations on Lava's own processes where these compute the same integers.
        verify: compare before the artifact gets its name.
        runtimes: names of the runtimes to verify with, of which one must run the exported files; by default the target's.
        lava_python: interpreter that has Lava, for the runtime ``lava``; the present one by default.
        values: which values to compare and hash.
        html: add a page with pictures of what was exported and compared.
        progress: told the number of samples done.
        on_report: told the result of the comparison, whatever it is.

    Raises:
        UsageError: DS2TA-501 the output exists, 502 it cannot be written, 506 unknown target, 509 no runtime
            would run the exported files, 511 ``inline`` or ``lowering`` for a target to which they mean nothing.
        MissingRuntimeError: DS2TA-408 when a page is asked for and what makes it is not installed.
        UnsupportedError: when the graph does not fit the target.
        ParityError: when an integer differs; the artifact is then left as ``OUT.failed``.

    Example:
        >>> quantized = quantize(load_checkpoint("ckpt.safetensors"))  # doctest: +SKIP
        >>> artifact = export(freeze(quantized), out="build/", model=quantized, checkpoint="ckpt.safetensors")  # doctest: +SKIP

    """
    chosen = find_target(target)
    options = TargetOptions(inline, lowering)
    chosen.check(options)
    runtimes = chosen.verify_with if runtimes is None else [runtimes] if isinstance(runtimes, str) else runtimes
    python = None if lava_python is None else Path(lava_python)
    if verify:
        _require_execution(target, runtimes)
    if html:
        require_page_libraries()
    inputs = default_inputs(graph) if inputs is None else inputs
    graph.check_input(inputs)
    manifest = _manifest(graph, target, model, checkpoint, inline=inline)
    with stage(Path(out)) as staging:
        staging.write({GRAPH: serialize.to_bytes(graph), **chosen.write(graph, options, inputs)})
        staged = staging.artifact(manifest)
        baseline, others = _contestants(graph, model, runtimes, staged, python) if verify else (ReferenceRuntime(graph), [])
        report = compare_runtimes(graph, inputs, baseline, others, wanted_values(graph, values), progress=progress)
        if on_report is not None:
            on_report(report)
        staging.write(_vectors(graph, inputs, report))
        c = footprint(build_program(graph)) if "c" in chosen.holds else None
        staging.write({REPORT: encode_json(build_report(graph, report, c))})
        manifest = msgspec.structs.replace(manifest, parity=report.entries())
        if html:
            manifest = msgspec.structs.replace(manifest, versions={**manifest.versions, **page_versions()})
            staging.write({PAGE: build_page(staging.artifact(manifest))})
        failed = verify and not report.passed
        written = staging.commit(manifest, failed=failed)
    if failed:
        problems = [result.first.problem() for result in report.results if result.first is not None]
        raise ParityError([*problems, Problem("DS2TA-303", "the export is not released", str(written.path))])
    return written


def _require_execution(target: str, runtimes: Sequence[str]) -> None:
    """Verification that never runs the exported files says nothing of them."""
    unknown = [name for name in runtimes if name not in RUNTIMES]
    if unknown:
        advice = f"there are: {', '.join(RUNTIMES)}"
        raise UsageError(Problem("DS2TA-504", f"there is no runtime {name!r}", mend=advice) for name in unknown)
    problems = []
    for part in find_target(target).holds:
        executing = [name for name, info in RUNTIMES.items() if info.executes == part]
        if not set(executing) & set(runtimes):
            what = f"none of {', '.join(runtimes) or 'no runtimes'} runs the files exported for {part}"
            problems.append(Problem("DS2TA-509", what, mend=f"name one of: {', '.join(executing)}"))
    if problems:
        raise UsageError(problems)


def _contestants(
    graph: Graph, model: "SpikingTransformer | None", runtimes: Sequence[str], staged: Artifact, lava_python: Path | None
) -> tuple[Runtime, list[Runtime]]:
    """Return the baseline, PyTorch if its model is at hand, and what is compared with it."""
    named = []
    for name in runtimes:
        if name not in (ReferenceRuntime.name, "torch"):
            named += [open_runtime(name, staged, lava_python=lava_python), *open_stepped_files(name, staged, lava_python=lava_python)]
    reference = ReferenceRuntime(graph)
    if model is None:
        return reference, named
    from ds2ta_deploy.runtimes.pytorch import PytorchRuntime

    return PytorchRuntime(model, graph), [reference, *named]


def _manifest(graph: Graph, target: str, model: "SpikingTransformer | None", checkpoint: str | Path | None, *, inline: bool) -> Manifest:
    """Say what the artifact is made from."""
    return Manifest(
        target=target,
        inline=inline,
        versions=writer_versions(),
        checkpoint=None if checkpoint is None else _describe(Path(checkpoint)),
        config={} if model is None else msgspec.to_builtins(model.config),
        quantization=settings_in(graph.facts),
        rounding=str(graph.facts.get("rounding", "")),
        certificate=certify(graph),
        files={},
    )


def _describe(checkpoint: Path) -> FileEntry:
    try:
        return FileEntry.of(read_regular(checkpoint))
    except OSError as error:
        raise InputError(Problem("DS2TA-101", f"cannot be read: {error.strerror}", str(checkpoint))) from error


def _vectors(graph: Graph, inputs: NDArray[np.uint8], report: ParityReport) -> dict[str, bytes]:
    """Golden inputs, the logits of all of them, the first one's spikes and counts, and a hash of every compared value."""
    axis = graph.input_type.shape.index(None)
    first = ReferenceRuntime(graph).trace(inputs.take([0], axis), wanted_values(graph, "populations"))
    first[graph.output] = report.output
    return {
        GOLDEN_INPUTS: npz_bytes({graph.input_name: inputs}),
        GOLDEN_VALUES: npz_bytes(first),
        GOLDEN_HASHES: encode_json(report.hashes),
    }
