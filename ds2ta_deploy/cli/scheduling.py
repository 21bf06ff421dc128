"""Where shards run: the options that several commands share, and the run."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ds2ta_deploy.cli.options import progress

if TYPE_CHECKING:
    from ds2ta_deploy.datasets import Labelled
    from ds2ta_deploy.sharding.job import Job, Opened, Result
    from ds2ta_deploy.sharding.shards import Shard

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--scheduler",
        metavar="ADDRESS|local",
        help="Run on the workers of this dask scheduler, tcp://HOST:PORT, or on local processes.  [default: in this process]",
    ),
    click.option("--workers", type=click.IntRange(1), help="Processes of --scheduler local.  [default: one a core]"),
    click.option(
        "--resume",
        type=click.Path(path_type=Path, file_okay=False),
        help="Keep the results of finished shards here, and do not run these again.",
    ),
)


@dataclass(frozen=True)
class Scheduling:
    """Where shards run, and where their results are kept; fields as the options."""

    scheduler: str | None
    workers: int | None
    resume: Path | None


def scheduling_options(command: Function) -> Function:
    """Add the options; the command takes them as keywords, of which it makes a :class:`Scheduling`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def run_job(
    job: "Job[Result]", opened: "Opened[Result]", data: "Labelled", where: Scheduling, description: str
) -> "list[tuple[Shard, Result]]":
    """Run a job on all samples; returns the shards and their results, in order.

    Raises:
        MissingRuntimeError: DS2TA-410 when a scheduler is named and dask is not installed.
        RuntimeFailedError: DS2TA-610 to 612 when the cluster fails.
        click.UsageError: when workers are asked for elsewhere.

    """
    from ds2ta_deploy.sharding.shards import InProcess, run_shards

    if where.workers is not None and where.scheduler != "local":
        raise click.UsageError("--workers goes with --scheduler local")
    if where.scheduler is None:
        executor: Any = nullcontext(InProcess(opened))
    else:
        from ds2ta_deploy.sharding.cluster import Cluster

        executor = Cluster(where.scheduler, where.workers)
    axis = opened.batch_axis if data.images.ndim > opened.batch_axis else 0
    with executor as runs, progress(description, data.images.shape[axis]) as tell:
        return run_shards(job, data, opened, executor=runs, kept=where.resume, progress=tell)
