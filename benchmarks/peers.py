"""Time this package beside the engines that people use, on the same networks and pictures, in turns and in one process.

    python -m benchmarks.peers --json peers.json --plot peers.svg

Everyone's logits are compared before anyone is timed. In every round each contestant runs the same pictures twice, and
the second call is timed: its weights are in the cache, as they are when a network runs by itself. The dense peak of the
core is measured between the contestants, so whatever slows the machine down slows the yardstick too.
"""

import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

from benchmarks.contestants import Contestant, contestants
from benchmarks.machine import machine, write
from benchmarks.networks import Network, network_at_rate, network_like, trained_network
from benchmarks.outcome import Outcome, Result, summarise
from benchmarks.peak import DensePeak, Peak
from benchmarks.picture import draw
from ds2ta_deploy.cli.bench import numbers_option
from ds2ta_deploy.errors import ParityError, Problem
from ds2ta_deploy.models.presets import PRESETS

#: Firing rates of the random networks, in percent.
_RATES = (10, 15, 20)

#: Calls of everyone before any is timed.
_WARM_UP = 2

#: Seconds of rest before everyone's turn when there are several threads: engines' threads go on waiting for work at full speed.
_REST = 0.02


def race(network: Network, batch: int, threads: int, rounds: int, peak: DensePeak, *, compiled: bool) -> Result:
    """Time everyone on one network.

    Raises:
        ParityError: DS2TA-301 when someone's logits are not the network's.

    """
    count = network.pictures.shape[network.axis]
    samples = [np.arange(start, start + batch) % count for start in range(count)]
    pictures = [np.ascontiguousarray(network.pictures.take(chosen, network.axis)) for chosen in samples]
    runners = list(contestants(network, batch, threads, compiled=compiled))
    wrong = [said for runner in runners for taken, chosen in zip(pictures, samples, strict=True) if (said := runner.check(taken, chosen))]
    if wrong:
        raise ParityError(Problem("DS2TA-301", said, network.name) for said in dict.fromkeys(wrong))
    for runner in runners * _WARM_UP:
        runner.run(pictures[0])
    gc.collect()
    peaks: list[Peak] = []
    for done in range(rounds):
        for runner in runners:
            _turn(runner, lambda runner=runner, taken=pictures[done % count]: runner.run(taken), rest=threads > 1)  # type: ignore[misc]
            peaks.append(peak.measure())
    return summarise(network, batch, threads, runners, peaks)


def _turn(runner: Contestant, call: Callable[[], object], *, rest: bool) -> None:
    """Call twice and time the second call."""
    if rest:
        time.sleep(_REST)
    call()
    began, used = time.perf_counter(), time.process_time()
    call()
    runner.seconds.append(time.perf_counter() - began)
    runner.processor_seconds.append(time.process_time() - used)


@click.command()
@click.option(
    "--preset", type=click.Choice(sorted(PRESETS)), default="ds2ta-4-384", show_default=True, help="Architecture of the random networks."
)
@click.option("--rate", "rates", type=click.IntRange(1, 60), multiple=True, default=_RATES, show_default=True, help="Their rates, percent.")
@numbers_option("--batch", "Samples in a call.")
@numbers_option("--threads", "Threads that everyone may use.")
@click.option("--rounds", type=click.IntRange(2, 100_000), default=30, show_default=True, help="Timed calls of everyone.")
@click.option("--pictures", type=click.IntRange(1, 64), default=4, show_default=True, help="Pictures, shown in turn.")
@click.option("--compile", "compiled", is_flag=True, help="torch.compile takes part; it compiles for minutes.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write everything measured here.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw it here (.svg or .png); needs matplotlib.")
def main(
    preset: str,
    rates: tuple[int, ...],
    batch: tuple[int, ...],
    threads: tuple[int, ...],
    rounds: int,
    pictures: int,
    compiled: bool,
    json_file: Path | None,
    plot: Path | None,
) -> None:
    """Time this package beside PyTorch, ONNX Runtime and OpenVINO, and print the table."""
    peak, results = DensePeak(), []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        trained = [trained_network(folder, pictures), trained_network(folder, pictures, "sparse")]
        makers: list[Callable[[], Network]] = [lambda network=network: network for network in trained]  # type: ignore[misc]
        makers += [lambda rate=rate: network_at_rate(preset, rate / 100, folder, count=pictures) for rate in rates]  # type: ignore[misc]
        makers += [lambda network=network: network_like(network, preset, folder, count=pictures) for network in trained]  # type: ignore[misc]
        for make in makers:
            click.echo("making the next network …", err=True)
            network = make()
            for size in batch:
                for number in threads:
                    results.append(race(network, size, number, rounds, peak, compiled=compiled))
                    click.echo(results[-1].table())
    outcome = Outcome(machine=machine(), results=tuple(results))
    click.echo(f"\n### Together\n\n{outcome.summary()}")
    if json_file is not None:
        write(outcome, json_file)
    if plot is not None:
        draw(outcome, plot)


if __name__ == "__main__":
    main()
