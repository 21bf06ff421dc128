"""A page that runs the exported integers in the reader's browser, on WebAssembly, and checks itself before it does."""

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ds2ta_deploy.artifact import MODEL, Artifact
from ds2ta_deploy.errors import MissingRuntimeError, Problem, printable
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.pages.libraries import require_page_libraries
from ds2ta_deploy.pages.observation import map_ops, table_behind
from ds2ta_deploy.pages.rendering import live_page
from ds2ta_deploy.pages.sections.attention import token_grid
from ds2ta_deploy.reading import read_regular
from ds2ta_deploy.verification import golden_inputs, golden_logits

#: Where npm puts the engine, and what it is told.
ENGINE_FOLDER, INSTALL = Path("node_modules/onnxruntime-web"), "npm install onnxruntime-web@1.30.0"

#: Of the package: the program with what loads WebAssembly, and the engine.
_SCRIPT, _WASM = "dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm"

#: Golden samples that travel with the page, which are checked when it opens.
_SAMPLES = 8


@dataclass(frozen=True)
class Engine:
    """onnxruntime-web.

    Attributes:
        version: of the package.
        script: an ES module.
        wasm: WebAssembly.

    """

    version: str
    script: bytes
    wasm: bytes


def read_engine(folder: Path) -> Engine:
    """Read the engine from its npm package.

    Raises:
        MissingRuntimeError: DS2TA-409 when it is not there.

    """
    try:
        about = msgspec.json.decode(read_regular(folder / "package.json"), type=dict[str, Any])
        return Engine(str(about["version"]), read_regular(folder / _SCRIPT), read_regular(folder / _WASM))
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError) as error:
        raise MissingRuntimeError(
            Problem("DS2TA-409", "a live page needs the npm package onnxruntime-web", str(folder), INSTALL)
        ) from error


def build_live(artifact: Artifact, engine: Engine) -> bytes:
    """Return the page: model and engine inside, no network needed.

    Raises:
        InputError: DS2TA-152 when the artifact holds no ONNX file, DS2TA-160 or 164 when it is none of ours.
        MissingRuntimeError: DS2TA-408 without Jinja2.

    """
    require_page_libraries()
    import onnx

    from ds2ta_deploy.runtimes.onnx_file import expose
    from ds2ta_deploy.runtimes.ort import OnnxRuntime

    graph, data = artifact.graph, artifact.read(MODEL)
    OnnxRuntime(data, graph, str(artifact.path / MODEL))  # refuses what no exported file holds
    model, made = expose(onnx.load_model_from_string(data), graph, _shown(graph))
    samples, logits = _checked(artifact)
    facts = {
        "name": printable(graph.name),
        "version": printable(engine.version),
        "input": {"name": graph.input_name, "shape": [1 if size is None else size for size in graph.input_type.shape]},
        "still": graph.input_type.shape[0] is None,
        "output": graph.output,
        "layers": [name for name in made if name.endswith(".spikes")],
        "maps": [entry for entry in _maps(graph) if entry["scores"] in made],
        "logits": logits,
    }
    parts = {"engine": engine.script, "wasm": engine.wasm, "model": model.SerializeToString(deterministic=True), "samples": samples}
    return live_page(facts, {name: base64.b64encode(gzip.compress(part, 9, mtime=0)).decode() for name, part in parts.items()})


def _shown(graph: Graph) -> Sequence[str]:
    names = [name for name in graph.observable if name.endswith(".spikes")]
    return [*names, *(name for entry in _maps(graph) for name in (entry["scores"], entry["denoised"]) if name)]


def _maps(graph: Graph) -> list[dict[str, Any]]:
    """Say of every map which tokens it compares, and what the denoiser makes of it."""
    found = []
    for op in map_ops(graph):
        grid, table = token_grid(graph, op), table_behind(graph, op.outputs[0])
        if grid is not None:
            found.append({"scores": op.outputs[0], "denoised": table.outputs[0] if table else None, "grid": list(grid)})
    return found


def _checked(artifact: Artifact) -> tuple[bytes, list[list[int]]]:
    """Return the first golden inputs, one behind the other, and the logits that were recorded for them."""
    graph, inputs = artifact.graph, golden_inputs(artifact)
    axis = graph.input_type.shape.index(None)
    samples = min(_SAMPLES, inputs.shape[axis])
    chosen = inputs.take(range(samples), axis)
    logits: list[list[int]] = golden_logits(artifact)[:samples].tolist()
    return np.ascontiguousarray(np.moveaxis(chosen, axis, 0)).tobytes(), logits
