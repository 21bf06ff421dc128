"""``ds2ta report``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ds2ta_deploy.cli.fit import print_fit
from ds2ta_deploy.cli.options import allow_modified_option, artifact_argument, json_option, print_json, progress, read_numbers, say
from ds2ta_deploy.cli.outputs import require_free
from ds2ta_deploy.errors import Problem, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ds2ta_deploy.artifact import Artifact
    from ds2ta_deploy.pages.live import Engine
    from ds2ta_deploy.pages.page import PageOptions


@click.command("report", epilog="Example: ds2ta report OUT --html -o report.html")
@artifact_argument
@click.option("--html", is_flag=True, help="Write a page that needs no network: what was exported and compared, with pictures of it.")
@click.option("--target", metavar="NAME|FILE", help="Chip to estimate for: loihi1, loihi2, or a file of the same format.  [--html: both]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="With --html: file to write.  [default: ARTIFACT.html]")
@click.option("--inputs", type=click.Path(path_type=Path), help="With --html: inputs to run, as of run.  [default: the golden ones]")
@click.option("--data", type=click.Path(path_type=Path), help="With --html: labelled inputs to run, for the top-1 too.")
@click.option("--samples", type=click.IntRange(1), default=256, show_default=True, help="With --inputs or --data: most samples to run.")
@click.option(
    "--sample", type=click.IntRange(0), default=0, show_default=True, help="With --html: the input whose spikes and attention are drawn."
)
@click.option("--heads", metavar="N,N…", callback=read_numbers, help="With --html: heads whose attention is drawn.  [default: 4, spread]")
@click.option(
    "--steps", metavar="N,N…", callback=read_numbers, help="With --html: time steps whose attention is drawn.  [default: 4, spread]"
)
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="With --html: the checkpoint, for the functions behind the denoiser's tables."
)
@click.option("--bench", type=click.Path(path_type=Path), help="With --html: what ds2ta bench --json printed.")
@click.option("--live", is_flag=True, help="With --html: write a second page that runs the network in the browser, ARTIFACT.live.html.")
@click.option("--web", type=click.Path(path_type=Path), help="With --live: npm's folder.  [default: node_modules/onnxruntime-web]")
@allow_modified_option
@json_option
def command(
    artifact: Path,
    html: bool,
    target: str | None,
    output: Path | None,
    inputs: Path | None,
    data: Path | None,
    samples: int,
    sample: int,
    heads: tuple[int, ...],
    steps: tuple[int, ...],
    checkpoint: Path | None,
    bench: Path | None,
    live: bool,
    web: Path | None,
    allow_modified: bool,
    as_json: bool,
) -> None:
    """Describe ARTIFACT: as a page with pictures (--html), or what it would take of a neuromorphic chip (--target).

    The page says what was exported and compared, how the network fires, where its heads look, what it costs, and
    holds the numbers of every picture. It runs the inputs on the runtime reference, whose values must be the
    recorded ones. The live page holds the ONNX file and onnxruntime-web; it checks the golden logits when it opens.

    The estimate says per population: neurons, synapses, bits of weight, state and payload, memory, cores by each
    limit. Every limit is printed with its source. Nothing is run on a chip.
    """
    from ds2ta_deploy.artifact import Artifact

    if not html:
        said = {"-o": output, "--inputs": inputs, "--data": data, "--sample": sample, "--heads": heads, "--steps": steps}
        _require_target_alone(target, said | {"--checkpoint": checkpoint, "--bench": bench, "--live": live, "--web": web})
        print_fit(Artifact.open(artifact, allow_modified=allow_modified), str(target), as_json=as_json)
        return
    if web is not None and not live:
        raise UsageError(Problem("DS2TA-517", "--web is for a live page", mend="add --live"))
    if inputs is not None and data is not None:
        raise UsageError(Problem("DS2TA-517", "--inputs and --data both say what to run", mend="give one of them"))
    from ds2ta_deploy.pages.libraries import require_page_libraries

    require_page_libraries()
    from ds2ta_deploy.pages.page import PageOptions
    from ds2ta_deploy.pages.sections.attention import Choice
    from ds2ta_deploy.pages.sections.timings import read_timings

    out = output if output is not None else artifact.resolve().with_name(f"{artifact.resolve().name}.html")
    engine = _engine(web) if live else None
    for path in (out, *([_live_name(out)] if live else [])):
        require_free(path)
    opened = Artifact.open(artifact, allow_modified=allow_modified)
    pixels, labels = _read(opened, inputs or data, samples, labelled=data is not None)
    options = PageOptions(
        inputs=pixels,
        labels=labels,
        sample=sample,
        choice=Choice(heads, steps),
        checkpoint=checkpoint,
        timings=() if bench is None else read_timings(bench),
        **({} if target is None else {"chips": (target,)}),
    )
    pages = {out: _page(opened, options)}
    if engine is not None:
        from ds2ta_deploy.pages.live import build_live

        pages[_live_name(out)] = build_live(opened, engine)
    _write(pages, as_json=as_json)


def _live_name(page: Path) -> Path:
    return page.with_name(f"{page.stem}.live.html")


def _engine(folder: Path | None) -> "Engine":
    """Read onnxruntime-web before anything else is done."""
    from ds2ta_deploy.pages.live import ENGINE_FOLDER, read_engine

    return read_engine(ENGINE_FOLDER if folder is None else folder)


def _require_target_alone(target: str | None, said: dict[str, Any]) -> None:
    """Without --html there is a chip, and nothing that belongs to a page.

    Raises:
        UsageError: DS2TA-517 otherwise.

    """
    given = [name for name, value in said.items() if value]
    if given:
        raise UsageError(Problem("DS2TA-517", f"{', '.join(given)} belongs to a page", mend="add --html"))
    if target is None:
        raise UsageError(Problem("DS2TA-517", "nothing to report is asked for", mend="add --html for a page, or --target for a chip"))


def _read(
    opened: "Artifact", path: Path | None, samples: int, *, labelled: bool
) -> "tuple[NDArray[np.uint8] | None, NDArray[np.int64] | None]":
    """Return the first samples of a file, with their labels where these are asked for."""
    if path is None:
        return None, None
    from ds2ta_deploy.datasets import first_samples, require_labels
    from ds2ta_deploy.errors import InputError
    from ds2ta_deploy.inputs import read_inputs

    graph = opened.graph
    found = first_samples(read_inputs(path, graph.input_type.shape), samples, graph.input_type.shape.index(None))
    graph.check_input(found.images)
    if not labelled:
        return found.images, None
    if found.labels is None or len(found.labels) == 0:
        raise InputError(Problem("DS2TA-134", "has no labels", str(path), "save the classes under 'labels'"))
    require_labels(found.labels, graph.types[graph.output].shape[-1] or 0, str(path))
    return found.images, found.labels


def _page(opened: "Artifact", options: "PageOptions") -> bytes:
    """Build the page, with a progress bar."""
    from ds2ta_deploy.pages.page import build_page
    from ds2ta_deploy.verification import golden_inputs

    inputs = golden_inputs(opened) if options.inputs is None else options.inputs
    with progress(f"running {opened.path.name}", inputs.shape[opened.graph.input_type.shape.index(None)]) as tell:
        return build_page(opened, options, tell)


def _write(pages: dict[Path, bytes], *, as_json: bool) -> None:
    """Write what was built, and say so."""
    from ds2ta_deploy.artifact import FileEntry
    from ds2ta_deploy.staging import whole_file

    for path, page in pages.items():
        with whole_file(path) as file:
            file.write(page)
    if as_json:
        entries = {path: FileEntry.of(page) for path, page in pages.items()}
        print_json({"pages": [{"page": str(path), "size": entry.size, "sha256": entry.sha256} for path, entry in entries.items()]})
        return
    for path, page in pages.items():
        say(f"wrote {path}: {len(page):,} bytes")
