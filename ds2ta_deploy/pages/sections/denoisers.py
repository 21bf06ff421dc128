"""The denoiser's tables, head by head, with the scores that they met."""

from pathlib import Path

import numpy as np

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Lookup
from ds2ta_deploy.pages.figures.curves import HeadCurve, denoiser_curve
from ds2ta_deploy.pages.observation import Observation
from ds2ta_deploy.pages.parts import Block, Code, Gallery, Section, Table, Text, share_bar, spread
from ds2ta_deploy.pages.trained import TrainedHead, trained_heads

#: Heads of a block that are drawn; the numbers of all are in the table.
_MOST_HEADS = 8


def denoisers(artifact: Artifact, observed: Observation, checkpoint: Path | None) -> Section | None:
    """Draw f_h, its table and its gate for every block; None for a network without a denoiser.

    Raises:
        InputError: when the checkpoint cannot be read, DS2TA-156 when it is another one.
        MissingRuntimeError: DS2TA-401 when a checkpoint is given and PyTorch is absent.

    """
    graph = artifact.graph
    lookups = [op for op in graph if isinstance(op, Lookup)]
    if not lookups:
        return None
    trained = {} if checkpoint is None else trained_heads(artifact, checkpoint)
    drawn = (
        "Drawn with the trained function f, before rounding, and its gate u."
        if trained
        else (
            "The trained function and its real-valued gate are in the checkpoint: give it with --checkpoint. "
            "The dashed line stands behind the last score whose entries are all 0."
        )
    )
    blocks: list[Block] = [
        Text(
            "A score s, the number of spikes that a query and a key share, is replaced by entry s of its head's table (NSAD). "
            f"Grey bars show how often a score occurred on {observed.samples} samples. {drawn}"
        )
    ]
    blocks += [_gallery(lookup, curves(lookup, observed, trained.get(lookup.name))) for lookup in lookups]
    blocks.append(_sparsity(graph, observed, lookups))
    return Section("denoisers", "Denoiser", "How each head's table thins the attention map out.", tuple(blocks))


def curves(lookup: Lookup, observed: Observation, trained: list[TrainedHead] | None) -> list[HeadCurve]:
    """Return what is known of each head of one table."""
    return [
        HeadCurve(
            head,
            lookup.table[head].astype(np.int64),
            observed.scores[lookup.name][head],
            None if trained is None else trained[head].function,
            None if trained is None else trained[head].gate,
        )
        for head in range(len(lookup.table))
    ]


def _gallery(lookup: Lookup, heads: list[HeadCurve]) -> Gallery:
    shown = spread(len(heads), _MOST_HEADS)
    note = "" if len(shown) == len(heads) else f"{len(shown)} of {len(heads)} heads, evenly spread."
    return Gallery(lookup.name, note, tuple(denoiser_curve(heads[head]) for head in shown), size="narrow", key=_key(heads[0]))


def _key(curve: HeadCurve) -> tuple[tuple[str, str], ...]:
    """Name what is drawn of every head."""
    trained = () if curve.function is None else (("second", "f, as trained"),)
    return (("accent", "table"), *trained, ("ink", "gate, dashed"), ("line", "scores that occurred"))


def _sparsity(graph: Graph, observed: Observation, lookups: list[Lookup]) -> Table:
    """Count the zeros of the maps before and after, exactly."""
    rows = []
    for lookup in lookups:
        counts, entries = observed.scores[lookup.name], lookup.table
        for head in range(len(entries)):
            total = int(counts[head].sum())
            before, after = int(counts[head][0]), int(counts[head][entries[head] == 0].sum())
            rows.append((Code(lookup.name), f"{head}", total, share_bar(before / total), share_bar(after / total)))
    return Table("Zeros in the attention maps", ("table", "head", "elements", "0 before", "0 after"), tuple(rows), folded=len(rows) > 16)
