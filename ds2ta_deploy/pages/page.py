"""An artifact as one self-contained HTML page. It needs no network and no script."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import REPORT, Artifact
from ds2ta_deploy.benchmark import Timing
from ds2ta_deploy.chips import CHIPS, read_chip
from ds2ta_deploy.fit import estimate
from ds2ta_deploy.pages.libraries import require_page_libraries
from ds2ta_deploy.pages.observation import Observation, observe
from ds2ta_deploy.pages.parts import Section
from ds2ta_deploy.pages.rendering import render
from ds2ta_deploy.pages.sections.activity import activity
from ds2ta_deploy.pages.sections.agreement import agreement
from ds2ta_deploy.pages.sections.attention import Choice, attention
from ds2ta_deploy.pages.sections.bounds import bounds
from ds2ta_deploy.pages.sections.chips import chips
from ds2ta_deploy.pages.sections.denoisers import denoisers
from ds2ta_deploy.pages.sections.integers import integers, memory
from ds2ta_deploy.pages.sections.operations import operations
from ds2ta_deploy.pages.sections.origin import origin
from ds2ta_deploy.pages.sections.timings import timings
from ds2ta_deploy.pages.summary import summarise
from ds2ta_deploy.report import Report
from ds2ta_deploy.verification import golden_hashes, golden_inputs


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """What a page shows beyond the artifact itself.

    Attributes:
        inputs: uint8; the artifact's golden inputs by default, whose recorded hashes then must be met.
        labels: the inputs' classes, for the top-1.
        sample: number of the input whose spikes and attention are drawn.
        choice: heads and time steps whose attention is drawn.
        checkpoint: the file behind the artifact, for the trained functions behind its tables.
        chips: names of chips, or files of the same format, to estimate the fit for.
        timings: what ``ds2ta bench`` measured.

    """

    inputs: NDArray[np.uint8] | None = None
    labels: NDArray[np.int64] | None = None
    sample: int = 0
    choice: Choice = field(default_factory=Choice)
    checkpoint: Path | None = None
    chips: tuple[str, ...] = CHIPS
    timings: tuple[Timing, ...] = ()


def build_page(artifact: Artifact, options: PageOptions | None = None, progress: Callable[[int], None] | None = None) -> bytes:
    """Return the page: UTF-8, the same bytes for the same artifact, options and versions.

    Args:
        artifact: an opened one.
        options: what else to show.
        progress: told the number of samples run.

    Raises:
        InputError: when the artifact, the inputs or the checkpoint are not what they should be.
        MissingRuntimeError: DS2TA-408 without Jinja2 or matplotlib, 401 for a checkpoint without PyTorch.
        ParityError: DS2TA-304 when the golden inputs no longer give what was recorded.
        UsageError: DS2TA-507 without a sample, 518 when a sample, head or time step does not exist.

    Example:
        >>> Path("OUT.html").write_bytes(build_page(Artifact.open("OUT")))  # doctest: +SKIP
        1204511

    """
    require_page_libraries()
    options = options or PageOptions()
    graph, report, hashes = artifact.graph, artifact.read_json(REPORT, Report), golden_hashes(artifact)
    inputs = golden_inputs(artifact) if options.inputs is None else options.inputs
    golden = hashes if options.inputs is None else None
    observed = observe(graph, inputs, options.sample, golden=golden, progress=progress)
    found = _sections(artifact, report, hashes, observed, options)
    return render(summarise(artifact, report, observed, options.labels), [section for section in found if section is not None])


def _sections(
    artifact: Artifact, report: Report, hashes: dict[str, str], observed: Observation, options: PageOptions
) -> list[Section | None]:
    """Return the sections in the order of the questions: is it right, how does it behave, what does it cost."""
    graph = artifact.graph
    return [
        agreement(graph, report, artifact.manifest.parity, hashes),
        activity(graph, observed),
        attention(graph, observed, options.choice),
        denoisers(artifact, observed, options.checkpoint),
        operations(graph, observed),
        timings(options.timings) if options.timings else None,
        bounds(graph),
        integers(graph),
        memory(artifact, report),
        chips(tuple(estimate(graph, read_chip(name)) for name in options.chips)),
        origin(artifact, report),
    ]
