"""``ds2ta export``, also called ``ds2ta-export``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ds2ta_deploy.cli.events import INPUTS, event_options
from ds2ta_deploy.cli.imports import import_options, load
from ds2ta_deploy.cli.options import (
    SETTINGS,
    checkpoint_argument,
    json_option,
    lava_python_option,
    parity_json,
    parity_table,
    print_json,
    print_rates,
    print_table,
    progress,
    runtime_option,
    say,
    settings_options,
    values_option,
)
from ds2ta_deploy.targets import TARGETS, find_target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ds2ta_deploy.events.frames import EventReading
    from ds2ta_deploy.graph.graph import Graph
    from ds2ta_deploy.parity import ParityReport
    from ds2ta_deploy.quantization import Quantization


@click.command("export", epilog="Example: ds2ta-export ckpt.safetensors --target onnx -o OUT")
@checkpoint_argument
@click.option("--target", type=click.Choice(list(TARGETS)), default="onnx", show_default=True, help="What to export to.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Directory to write; by default the checkpoint's name and the target."
)
@settings_options
@click.option(
    "--inputs",
    type=click.Path(path_type=Path),
    help=f"What to verify on, which the artifact will hold: {INPUTS}.  "
    "[default: the file beside CHECKPOINT of its name and .npz, otherwise synthetic ones]",
)
@click.option("--samples", type=click.IntRange(1), default=256, show_default=True, help="Most samples of the inputs to verify on.")
@click.option("--inline", is_flag=True, help="Expand the ONNX functions, for engines that have none.")
@click.option(
    "--lowering",
    type=click.Choice(["custom", "stock"]),
    default="custom",
    show_default=True,
    help="Lava processes: all ours, or Lava's own Sparse and LIFReset where these compute the same integers.",
)
@click.option("--verify/--no-verify", default=True, help="Compare the runtimes before the artifact is released.", show_default=True)
@runtime_option("Runtime to verify with, besides torch; may be repeated; 'all' for every one.  [default: the target's]", multiple=True)
@values_option
@click.option("--html", is_flag=True, help="Add report.html: what was exported and compared, with pictures. Needs the extra 'report'.")
@lava_python_option
@event_options
@import_options
@json_option
def command(
    checkpoint: Path,
    target: str,
    output: Path | None,
    config: Path | None,
    inputs: Path | None,
    samples: int,
    inline: bool,
    lowering: str,
    verify: bool,
    runtime: tuple[str, ...],
    values: Any,
    html: bool,
    lava_python: Path | None,
    as_json: bool,
    reading: "EventReading",
    said: dict[str, Any],
    **settings: Any,
) -> None:
    """Freeze CHECKPOINT into integers, export it and verify every value before it is released.

    The artifact appears under its name only when every runtime computed the same integers; otherwise
    OUT.failed is left for inspection and the exit code is 1.

    CHECKPOINT is one of this package, or a published one of any known family; what its file does not tell of
    the network is asked for by the name of the option, all at once.
    """
    from ds2ta_deploy.runtimes.table import require_torch

    require_torch()
    import msgspec

    from ds2ta_deploy.exporting import export
    from ds2ta_deploy.freezing import freeze
    from ds2ta_deploy.graph.ranges import beyond_float32
    from ds2ta_deploy.quantization import quantize
    from ds2ta_deploy.verification import available_runtimes

    model = quantize(load(checkpoint, said).model, read_settings(config, settings, find_target(target).profile))
    out = output if output is not None else checkpoint.with_name(f"{checkpoint.stem}-{target}")
    graph = freeze(model)
    pixels = _pixels(graph, _beside(checkpoint) if inputs is None else inputs, samples, reading)
    names = available_runtimes(target, with_checkpoint=False, lava_python=lava_python) if "all" in runtime else runtime or None
    reports: list[ParityReport] = []
    with progress(f"verifying {out.name}", pixels.shape[graph.input_type.shape.index(None)]) as tell:
        artifact = export(
            graph,
            target,
            out,
            model=model,
            checkpoint=checkpoint,
            inputs=pixels,
            inline=inline,
            lowering=lowering,
            verify=verify,
            runtimes=names,
            lava_python=lava_python,
            values=values,
            html=html,
            progress=tell,
            on_report=reports.append,
        )
    for note in model.quantization_notes:
        say(note, warning=True)
    wide = beyond_float32(graph) if inline else []
    if wide:
        say(
            f"{len(wide)} values can exceed 2^24, {wide[0]} first: an engine that computes integers in float32, as OpenVINO does, "
            "is not proved exact; --profile loihi keeps every value within",
            warning=True,
        )
    lowered = _lowered(graph) if lowering == "stock" else None
    takes = _footprint(graph) if "c" in find_target(target).holds else {}
    if as_json:
        print_json(
            {
                "artifact": str(out),
                "files": msgspec.to_builtins(artifact.manifest.files),
                "parity": parity_json(reports[0]) if verify else None,
                **({} if lowered is None else {"lowering": lowered}),
                **takes,
            }
        )
        return
    if verify:
        print_table(parity_table(reports[0]))
        print_rates(reports[0])
    say(f"wrote {out}{'' if verify else ' (not verified)'}")


def _footprint(graph: "Graph") -> dict[str, Any]:
    """Say what the C code takes."""
    import msgspec

    from ds2ta_deploy.c_code.footprint import footprint
    from ds2ta_deploy.c_code.program import build_program

    found = footprint(build_program(graph))
    say(
        f"C: {found.rom_bytes:,} bytes of constants (ROM), {found.ram_bytes:,} bytes of state (RAM), "
        f"{found.multiply_accumulates:,} multiply-accumulates a sample when nothing is skipped"
    )
    return {"c": msgspec.to_builtins(found)}


def _lowered(graph: "Graph") -> dict[str, Any]:
    """Say which populations run on Lava's own processes, and why each of the others does not."""
    from ds2ta_deploy.exporters.lava.lowering import plan

    planned = plan(graph, "stock")
    total = len(planned.stock) + len(planned.why_not)
    say(f"{len(planned.stock)} of {total} populations run on Lava's own processes: {', '.join(planned.stock)}")
    for name, reason in planned.why_not.items():
        say(f"{name} does not: {reason}")
    return {"stock": list(planned.stock), "why_not": planned.why_not}


def _beside(checkpoint: Path) -> Path | None:
    """Return the inputs that lie beside a checkpoint under its name, if there are any."""
    path = checkpoint.with_suffix(".npz")
    if not path.is_file():
        return None
    say(f"verifying on {path}")
    return path


def read_settings(config: Path | None, given: dict[str, Any], profile: str = "cpu") -> "Quantization":
    """Combine the config file with the options; options win. ``profile`` is what holds when neither names one.

    Raises:
        InputError: DS2TA-111 when the file is no TOML, or holds settings that are unknown, mistyped or out of range. Whether
            its table of weight formats fits the network is found out when that is put on the grid.
        UsageError: DS2TA-510 when an option is out of range.

    """
    import tomllib

    import msgspec

    from ds2ta_deploy.errors import InputError, Problem, UsageError
    from ds2ta_deploy.quantization import Quantization
    from ds2ta_deploy.reading import read_regular

    settings = Quantization(profile=profile)
    if config is not None:
        try:
            settings = msgspec.convert({"profile": profile, **tomllib.loads(read_regular(config).decode())}, Quantization)
            settings.validate()
        except UsageError as error:
            raise InputError(Problem("DS2TA-111", p.what, f"{config}: {p.where}", p.mend) for p in error.problems) from error
        except (OSError, ValueError, msgspec.ValidationError, RecursionError) as error:  # a number too long is a bare ValueError
            raise InputError(
                Problem("DS2TA-111", str(error), str(config), f"known settings: {', '.join(SETTINGS)}, and a table [weights]")
            ) from error
    settings = msgspec.structs.replace(settings, **{name: value for name, value in given.items() if value is not None})
    settings.validate()
    return settings


def _pixels(graph: "Graph", path: Path | None, samples: int, reading: "EventReading") -> "NDArray[np.uint8]":
    """Return the first samples of a file, or of the synthetic ones."""
    from ds2ta_deploy.exporting import default_inputs
    from ds2ta_deploy.inputs import read_inputs

    pixels = default_inputs(graph) if path is None else read_inputs(path, graph.input_type.shape, reading).images
    axis = graph.input_type.shape.index(None)
    return pixels.take(range(min(samples, pixels.shape[axis])), axis)
