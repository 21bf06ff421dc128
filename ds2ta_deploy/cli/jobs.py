"""The work that ``eval``, ``verify`` and ``analyze`` do on every shard of their samples."""

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ds2ta_deploy.analysis.results import Analysis
from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.cli.imports import load
from ds2ta_deploy.cli.sources import FLOAT_RUNTIME, open_source
from ds2ta_deploy.datasets import Labelled, require_labels
from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.parity import ParityReport, Progress, RuntimeResult, firing_rates
from ds2ta_deploy.quantizing.settings import Quantization
from ds2ta_deploy.sharding.job import Job, Opened
from ds2ta_deploy.sharding.shards import Shard
from ds2ta_deploy.verification import Values, check_certificate, golden_hashes, open_comparison


@dataclass(frozen=True)
class Score:
    """How many decisions are right, and on which runtime."""

    runtime: str
    samples: int
    correct: int


@dataclass(frozen=True)
class EvalJob(Job[Score]):
    """Count right decisions; fields as the options of ``eval``."""

    kind: ClassVar[str] = "eval"
    shard_samples: ClassVar[int] = 512
    result: ClassVar[type[Score]] = Score

    runtime: str | None = None
    allow_modified: bool = False
    lava_python: Path | None = None
    said: dict[str, Any] = field(default_factory=dict)

    def open(self) -> Opened[Score]:
        """Open the runtime."""
        opened = open_source(
            self.source,
            self.runtime,
            "populations",
            checkpoint=self.checkpoint,
            allow_modified=self.allow_modified,
            lava_python=self.lava_python,
            said=self.said,
        )

        def run(data: Labelled, progress: Progress | None) -> Score:
            if data.labels is None:
                raise InputError(Problem("DS2TA-134", "has no labels", "data", "save the classes under 'labels'"))
            right = start = 0
            with _one_thread() if opened.runtime == FLOAT_RUNTIME else nullcontext():
                for batch in opened.batches(data.images):
                    logits = opened.trace(batch, ())[opened.logits]
                    labels = data.labels[start : start + len(logits)]
                    require_labels(labels, logits.shape[1], "labels")
                    right += int((logits.argmax(1) == labels).sum())
                    start += len(logits)
                    if progress is not None:
                        progress(start)
            return Score(opened.runtime, start, right)

        return Opened(run, opened.input_shape)


@dataclass(frozen=True)
class VerifiedShard:
    """What of a comparison adds up over shards; fields as those of :class:`~ds2ta_deploy.parity.ParityReport`."""

    samples: int
    baseline: str
    results: tuple[RuntimeResult, ...]
    hashes: dict[str, str]
    spike_counts: dict[str, tuple[int, int]]
    left_out: dict[str, str]


@dataclass(frozen=True)
class VerifyJob(Job[VerifiedShard]):
    """Compare runtimes; fields as the options of ``verify``.

    ``recorded`` says that the samples are the artifact's own, all of them, whose hashes were recorded.
    """

    kind: ClassVar[str] = "verify"
    shard_samples: ClassVar[int] = 256
    result: ClassVar[type[VerifiedShard]] = VerifiedShard

    runtimes: tuple[str, ...] | None = None
    values: Values | None = None
    allow_modified: bool = False
    lava_python: Path | None = None
    recorded: bool = False

    @property
    def splits(self) -> bool:
        """What was recorded are hashes over all samples."""
        return not self.recorded

    def open(self) -> Opened[VerifiedShard]:
        """Check the certificate and open the runtimes."""
        artifact = Artifact.open(self.source, allow_modified=self.allow_modified)
        check_certificate(artifact)
        golden = golden_hashes(artifact) if self.recorded else None
        comparison = open_comparison(artifact, self.runtimes, self.checkpoint, self.lava_python, self.values, recorded=self.recorded)

        def run(data: Labelled, progress: Progress | None) -> VerifiedShard:
            report = comparison.run(data.images, golden, progress)
            return VerifiedShard(
                report.samples, report.baseline, tuple(report.results), report.hashes, report.spike_counts, report.left_out
            )

        return Opened(run, artifact.graph.input_type.shape)


def merge_verified(parts: Sequence[tuple[Shard, VerifiedShard]]) -> ParityReport:
    """Return one report of all shards, but for the logits.

    Of several shards a value's hash is the SHA-256 of the shards' hashes, one after the other.
    """
    (_, first), *_ = parts
    report = ParityReport(
        sum(part.samples for _, part in parts), first.baseline, [RuntimeResult(result.runtime) for result in first.results]
    )
    counts: dict[str, tuple[int, int]] = {}
    for shard, part in parts:
        for total, result in zip(report.results, part.results, strict=True):
            total.add(result, shard.start)
        for name, (spikes, compared) in part.spike_counts.items():
            before = counts.get(name, (0, 0))
            counts[name] = before[0] + spikes, before[1] + compared
    report.hashes = dict(first.hashes)
    if len(parts) > 1:
        report.hashes = {name: _joined([part.hashes[name] for _, part in parts]) for name in first.hashes}
    report.spike_counts, report.firing_rates = counts, firing_rates(counts)
    report.left_out = dict(first.left_out)
    return report


def _joined(hashes: Sequence[str]) -> str:
    return hashlib.sha256(b"".join(map(bytes.fromhex, hashes))).hexdigest()


@dataclass(frozen=True)
class AnalyzeJob(Job[Analysis]):
    """Put every layer on the grid; fields as the options of ``analyze``."""

    kind: ClassVar[str] = "analyze"
    shard_samples: ClassVar[int] = 64
    result: ClassVar[type[Analysis]] = Analysis

    quantization: Quantization = field(default_factory=Quantization)
    said: dict[str, Any] = field(default_factory=dict)

    def open(self) -> Opened[Analysis]:
        """Load the checkpoint."""
        from ds2ta_deploy.analysis.measure import analyze

        model = load(self.source, self.said).model

        def run(data: Labelled, progress: Progress | None) -> Analysis:
            with _one_thread():
                return analyze(model, data, self.quantization, progress)

        return Opened(run, model.config.input_shape)


def _one_thread() -> Any:
    """Let floating-point sums be taken in one order, whatever the machine's number of cores."""
    from ds2ta_deploy.runtimes.pytorch import one_thread

    return one_thread()
