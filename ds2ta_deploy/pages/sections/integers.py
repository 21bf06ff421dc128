"""What is stored: weights, thresholds and tables, how they are spread and what they weigh."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Op
from ds2ta_deploy.pages.figures.histograms import histogram
from ds2ta_deploy.pages.parts import Block, Code, Gallery, Picture, Section, Table, Text, share_bar
from ds2ta_deploy.report import Report

#: What an op may hold -> what one integer of it is, and its colour.
_KINDS = {"weight": ("weight", "accent"), "threshold": ("threshold", "second"), "table": ("entry", "ink")}

_TITLES = {"weight": "Weights", "threshold": "Thresholds", "table": "Tables"}


def integers(graph: Graph) -> Section:
    """Draw the histograms of everything that an op holds."""
    blocks: list[Block] = []
    for kind, title in _TITLES.items():
        pictures = _pictures(graph, kind)
        if pictures:
            blocks.append(Gallery(title, f"Bars count how many integers of a layer have this {_KINDS[kind][0]}.", pictures, size="narrow"))
    return Section(
        "integers",
        "Weights, thresholds, tables",
        "Every number the network keeps is an integer; this is how they are spread.",
        tuple(blocks),
    )


def _pictures(graph: Graph, kind: str) -> tuple[Picture, ...]:
    unit, role = _KINDS[kind]
    return tuple(histogram(op.name, array, unit, role) for op, array in _holders(graph, kind))


def _holders(graph: Graph, kind: str) -> Sequence[tuple[Op, NDArray[Any]]]:
    found = ((op, getattr(op, kind, None)) for op in graph)
    return [(op, array) for op, array in found if isinstance(array, np.ndarray) and array.size]


def memory(artifact: Artifact, report: Report) -> Section:
    """Say how many bytes there are of what."""
    total = sum(report.memory.values())
    stored = tuple((kind, size, share_bar(size / total if total else 0.0)) for kind, size in report.memory.items() if size)
    files = sum(entry.size for entry in artifact.manifest.files.values())
    listed = tuple((Code(name), entry.size, share_bar(entry.size / files)) for name, entry in artifact.manifest.files.items())
    blocks: list[Block] = [
        Text(f"The network's integers take {total:,} bytes."),
        Table("Integers", ("kind", "bytes", "share"), stored),
        Table("Files of the artifact", ("file", "bytes", "share"), listed, folded=len(listed) > 12),
    ]
    if report.c is not None:
        rows = tuple(
            (name.replace("_", " "), int(getattr(report.c, name)))
            for name in report.c.__struct_fields__
            if isinstance(getattr(report.c, name), int)
        )
        blocks.append(Table("The C code", ("", ""), rows))
    return Section("memory", "Memory", "What it takes to store.", tuple(blocks))
