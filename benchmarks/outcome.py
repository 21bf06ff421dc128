"""What was measured, as plain data, and as a table in Markdown."""

import statistics
from collections.abc import Sequence

import msgspec

from benchmarks.contestants import NATIVE, NATIVE_6, ORT_FLOAT, ORT_INTEGER, TORCH, Contestant
from benchmarks.machine import Machine
from benchmarks.networks import Network, mean_rates
from benchmarks.peak import Peak

#: Ratio -> whose time is divided by whose; None stands for the dense limit.
_RATIOS: dict[str, tuple[str | None, str | None]] = {
    "native 8-bit / dense limit": (NATIVE, None),
    "native 6-bit / dense limit": (NATIVE_6, None),
    "PyTorch eager / native": (TORCH, NATIVE),
    "ONNX Runtime fp32 / native": (ORT_FLOAT, NATIVE),
    "ONNX Runtime integers / native": (ORT_INTEGER, NATIVE),
}


class Timing(msgspec.Struct):
    """Milliseconds of one contestant's calls.

    Attributes:
        name: who.
        median: by the clock on the wall.
        low: lower quartile.
        high: upper quartile.
        best: shortest call.
        processor: median of what the calls took of the processors, all threads together.
        equal: whether all logits were equal, not only the class.

    """

    name: str
    median: float
    low: float
    high: float
    best: float
    processor: float
    equal: bool


class Result(msgspec.Struct):
    """One network, batch and number of threads.

    Attributes:
        network: its name.
        batch: samples in a call.
        threads: how many everyone could use.
        rounds: timed calls of everyone.
        operations: dense multiply-accumulates of one sample.
        peak: dense 8-bit products a second of one core, the median of those measured between the calls.
        best_peak: the largest of those.
        instructions: that reach it.
        dense_limit: milliseconds in which one core at that peak does a call's operations.
        timings: of the contestants, slowest first.
        ratios: of medians.
        rates: mean firing rates of groups of populations.
        populations: population -> mean firing rate.

    """

    network: str
    batch: int
    threads: int
    rounds: int
    operations: int
    peak: float
    best_peak: float
    instructions: str
    dense_limit: float
    timings: tuple[Timing, ...]
    ratios: dict[str, float]
    rates: dict[str, float]
    populations: dict[str, float]

    def table(self) -> str:
        """Return it in Markdown."""
        rates = ", ".join(f"{kind} {rate:.1%}" for kind, rate in self.rates.items())
        title = f"\n### {self.network}, batch {self.batch}, {self.threads} thread{'s' * (self.threads > 1)}\n"
        peak = f"one core's dense peak {self.peak / 1e9:.0f} G/s ({self.instructions})"
        about = f"Firing rates: {rates}. {self.operations / 1e9:.3f} G dense products a sample, {peak}. Medians of {self.rounds} calls.\n"
        lines = [
            title,
            about,
            "| | ms a call | quartiles | processor ms | times the dense limit | logits |",
            "|---|---:|---:|---:|---:|---|",
        ]
        lines += [self._row(timing) for timing in self.timings]
        lines += [f"| *dense int8 limit of one core* | {self.dense_limit:.2f} | | | 1 | |", "", "| ratio | |", "|---|---:|"]
        lines += [f"| {name} | {ratio:.2f} |" for name, ratio in self.ratios.items()]
        return "\n".join(lines)

    def _row(self, timing: Timing) -> str:
        quartiles, times = f"{timing.low:.2f}-{timing.high:.2f}", timing.median / self.dense_limit
        logits = "equal" if timing.equal else "same class"
        return f"| {timing.name} | {timing.median:.2f} | {quartiles} | {timing.processor:.2f} | {times:.2f} | {logits} |"


class Outcome(msgspec.Struct, kw_only=True):
    """A whole run."""

    schema: str = "ds2ta-peers/1"
    machine: Machine
    results: tuple[Result, ...]

    def summary(self) -> str:
        """Return all results side by side, in Markdown: milliseconds, then ratios."""
        columns = [
            {
                "batch, threads": f"{result.batch}, {result.threads}",
                "timed calls of each": str(result.rounds),
                **{f"rates: {kind}": f"{rate:.1%}" for kind, rate in result.rates.items()},
                **{f"{timing.name}, ms": f"{timing.median:.2f}" for timing in result.timings},
                "*dense int8 limit of one core*, ms": f"{result.dense_limit:.2f}",
                **{f"**{name}**": f"{ratio:.2f}" for name, ratio in result.ratios.items()},
            }
            for result in self.results
        ]
        rows = dict.fromkeys(name for column in reversed(columns) for name in column)  # the large networks' order
        lines = ["| | " + " | ".join(result.network for result in self.results) + " |", "|---|" + "---:|" * len(columns)]
        lines += [f"| {row} | " + " | ".join(column.get(row, "") for column in columns) + " |" for row in rows]
        return "\n".join([str(self.machine), "", *lines])


def summarise(network: Network, batch: int, threads: int, runners: Sequence[Contestant], peaks: Sequence[Peak]) -> Result:
    """Turn what everyone took into medians and ratios."""
    timings = {runner.name: _timing(runner) for runner in runners}
    speed = statistics.median(peak.products_a_second for peak in peaks)
    best = max(peaks)
    limit = network.operations * batch / speed * 1e3
    medians: dict[str | None, float] = {None: limit, **{name: timing.median for name, timing in timings.items()}}
    ratios = {name: medians[over] / medians[under] for name, (over, under) in _RATIOS.items() if over in medians and under in medians}
    return Result(
        network=network.name,
        batch=batch,
        threads=threads,
        rounds=len(runners[0].seconds),
        operations=network.operations,
        peak=speed,
        best_peak=best.products_a_second,
        instructions=best.instructions,
        dense_limit=limit,
        timings=tuple(sorted(timings.values(), key=lambda timing: -timing.median)),
        ratios=ratios,
        rates=dict(mean_rates(network)),
        populations=network.rates,
    )


def _timing(runner: Contestant) -> Timing:
    low, middle, high = (1e3 * part for part in statistics.quantiles(runner.seconds, n=4, method="inclusive"))
    processor = 1e3 * statistics.median(runner.processor_seconds)
    return Timing(runner.name, middle, low, high, 1e3 * min(runner.seconds), processor, runner.equal)
