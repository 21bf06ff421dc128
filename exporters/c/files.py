"""Writes ``c/``."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.c_code.files import C, files_of
from ds2ta_deploy.c_code.footprint import footprint
from ds2ta_deploy.c_code.program import Program, build_program
from ds2ta_deploy.c_code.text import shown
from ds2ta_deploy.exporters.c.golden import golden_files
from ds2ta_deploy.graph.graph import Graph

_SOURCES = Path(__file__).parent / "sources"

#: Files that are the same for every network.
_FIXED = ("CMakeLists.txt", "Makefile", "selftest.c", "selftest.h", "selftest_host.c")


def to_c(graph: Graph, inputs: NDArray[np.uint8]) -> dict[str, bytes]:
    """Return the files of the C target, by name relative to the artifact; equal graphs and inputs give equal bytes.

    Args:
        graph: what to export.
        inputs: uint8 golden inputs; the first few go into the self-test.

    Raises:
        UnsupportedError: DS2TA-220, 221, 250, 251 or 252 when the graph has no C form.

    Example:
        >>> sorted(to_c(graph, inputs))[0]  # doctest: +SKIP
        'c/CMakeLists.txt'

    """
    program = build_program(graph)
    files = {**files_of(program), **{name: (_SOURCES / name).read_bytes() for name in _FIXED}}
    files |= {name: text.encode() for name, text in golden_files(program, inputs).items()}
    files["README.md"] = _readme(program).encode()
    return {f"{C}/{name}": files[name] for name in sorted(files)}


def _readme(program: Program) -> str:
    graph, found = program.graph, footprint(program)
    still = graph.input_type.shape[0] is None
    example = "ds2ta_run(&state, picture, logits);     /* a sample */"
    if not still:
        example = "ds2ta_run(&state, frames, logits);      /* a sample: DS2TA_TIME_STEPS frames */"
    waits = f"{found.latency} of them are collected before the network answers, so that logits lag by up to {found.latency} steps."
    return (
        (_SOURCES / "README.md.in")
        .read_text(encoding="utf-8")
        .format(
            name=shown(graph.name),
            example=example,
            rom=f"{found.rom_bytes:,}",
            ram=f"{found.ram_bytes:,}",
            state=f"{found.state_bytes:,}",
            arena=f"{found.arena_bytes:,}",
            steps=program.timing.steps,
            frame=f"{program.layouts[graph.input_name].elements:,}",
            latency=waits if found.latency else "every step is computed as it comes.",
            longest=f"A run may be {longest} steps long" if (longest := program.form.longest) is not None else "A run may go on for ever",
            longest_sum=f"{program.longest_sum:,}",
            operations=f"{found.multiply_accumulates:,}",
            scale=repr(graph.output_scale),
        )
    )
