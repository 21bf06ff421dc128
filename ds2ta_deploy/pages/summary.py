"""The first ten seconds of a page."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.pages.observation import Observation
from ds2ta_deploy.pages.parts import Card, Mark, percent
from ds2ta_deploy.pages.sections.agreement import baseline
from ds2ta_deploy.pages.sections.bounds import tightest
from ds2ta_deploy.pages.sections.operations import total_work
from ds2ta_deploy.report import Report


@dataclass(frozen=True)
class Summary:
    """What stands at the top.

    Attributes:
        name: of the network.
        about: what it is, one line.
        verdict: whether its integers are what they should be.
        cards: the figures.

    """

    name: str
    about: str
    verdict: Mark
    cards: tuple[Card, ...]


def summarise(artifact: Artifact, report: Report, observed: Observation, labels: NDArray[np.int64] | None) -> Summary:
    """Boil an artifact down to a verdict and a few figures."""
    facts = report.facts
    about = [f"target {artifact.manifest.target}"]
    about += [f"{facts[name]}{words}" for name, words in _ABOUT.items() if name in facts]
    cards = [_compared(artifact), _size(artifact, report), _rates(observed), _margin(artifact), _work(observed)]
    if labels is not None:
        cards.append(_top1(observed, labels))
    return Summary(report.graph, ", ".join(about), _verdict(artifact), tuple(cards))


#: Facts of a graph that everybody asks for.
_ABOUT = {"weight_bits": "-bit weights", "time_steps": " time steps", "classes": " classes"}


def _verdict(artifact: Artifact) -> Mark:
    entries = artifact.manifest.parity
    if artifact.modified:
        return Mark("Files were changed after the export.", "bad")
    if not entries:
        return Mark("Not verified: no engine was compared.", "doubtful")
    if any(entry.different for entry in entries):
        return Mark("Engines disagree: see below.", "bad")
    return Mark("Every engine computes the same integers.", "good")


def _compared(artifact: Artifact) -> Card:
    entries = artifact.manifest.parity
    different, integers = sum(entry.different for entry in entries), sum(entry.integers for entry in entries)
    engines = ", ".join([baseline(entries), *(entry.runtime for entry in entries)]) if entries else "none"
    tone = "" if not entries else "bad" if different else "good"
    return Card(f"{different:,}", f"different integers of {integers:,}", f"compared: {engines}", tone)


def _size(artifact: Artifact, report: Report) -> Card:
    total = sum(report.memory.values())
    weights = report.memory.get("weight", 0)
    return Card(_bytes(total), "of integers", f"{_bytes(weights)} are weights; {len(report.populations)} populations")


def _rates(observed: Observation) -> Card:
    rates = {name: observed.rate(name) for name in observed.spikes}
    if not rates:
        return Card("none", "firing rate", "no layer of neurons")
    low, high = min(rates, key=rates.__getitem__), max(rates, key=rates.__getitem__)
    return Card(f"{100 * rates[low]:.2g} to {100 * rates[high]:.2g} %", "of a layer fires", f"least: {low}; most: {high}")


def _margin(artifact: Artifact) -> Card:
    entry = tightest(artifact.graph)
    note = f"{entry.name}: {entry.bits} of {entry.limit} bits, whatever the input"
    return Card(f"{entry.margin} bit{'' if entry.margin == 1 else 's'}", "smallest proven margin", note)


def _work(observed: Observation) -> Card:
    total = total_work(observed)
    done = (total.accumulates + total.multiplies) / total.dense if total.dense else 0.0
    return Card(
        percent(done), "of the dense operations are left", f"of {total.dense // observed.samples:,} a sample, when zeros are skipped"
    )


def _top1(observed: Observation, labels: NDArray[np.int64]) -> Card:
    right = int((observed.logits.argmax(axis=1) == labels).sum())
    return Card(percent(right / len(labels)), "top-1", f"{right:,} of {len(labels):,} samples, on the runtime reference")


def _bytes(size: int) -> str:
    """Return a size as people read it.

    Example:
        >>> _bytes(999), _bytes(172680), _bytes(4_500_000)
        ('999 B', '173 kB', '4.5 MB')

    """
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e3:.0f} kB" if size < 999_500 else f"{size / 1e6:.1f} MB"
