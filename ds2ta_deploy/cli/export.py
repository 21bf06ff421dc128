"""``ds2ta export``, also called ``ds2ta-export``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ds2ta_deploy.cli.options import (
    checkpoint_argument,
    json_option,
    parity_json,
    parity_table,
    print_json,
    print_rates,
    print_table,
    progress,
    runtime_option,
    say,
    values_option,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ds2ta_deploy.parity import ParityReport
    from ds2ta_deploy.quantization import Quantization


@click.command("export", epilog="Example: ds2ta-export ckpt.safetensors --target onnx -o OUT")
@checkpoint_argument
@click.option("--target", type=click.Choice(["onnx"]), default="onnx", show_default=True, help="What to export to.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Directory to write; by default the checkpoint's name and the target."
)
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with profile, weight_bits, first_layer_bits.")
@click.option("--profile", type=click.Choice(["cpu", "loihi"]), help="Widths to freeze under: 32-bit state, or 24-bit.  [default: cpu]")
@click.option("--weight-bits", type=click.IntRange(2, 8), help="Bits of the weights behind the first layer.  [default: 8]")
@click.option("--first-layer-bits", type=click.IntRange(8, 12), help="Bits of the first layer's weights and inputs.  [default: 10]")
@click.option(
    "--inputs",
    type=click.Path(path_type=Path),
    help=".npz with uint8 'images' or 'frames' to verify on, which the artifact will hold; synthetic ones by default.",
)
@click.option("--samples", type=click.IntRange(1), default=256, show_default=True, help="Most samples of the inputs to verify on.")
@click.option("--inline", is_flag=True, help="Expand the ONNX functions, for engines that have none.")
@click.option("--verify/--no-verify", default=True, help="Compare the runtimes before the artifact is released.", show_default=True)
@runtime_option("Runtime to verify with, besides torch; may be repeated; 'all' for every one.  [default: onnxruntime]", multiple=True)
@values_option
@json_option
def command(
    checkpoint: Path,
    target: str,
    output: Path | None,
    config: Path | None,
    inputs: Path | None,
    samples: int,
    inline: bool,
    verify: bool,
    runtime: tuple[str, ...],
    values: Any,
    as_json: bool,
    **settings: Any,
) -> None:
    """Freeze CHECKPOINT into integers, export it and verify every value before it is released.

    The artifact appears under its name only when every runtime computed the same integers; otherwise
    OUT.failed is left for inspection and the exit code is 1.
    """
    from ds2ta_deploy.runtimes.base import require_torch

    require_torch()
    import msgspec

    from ds2ta_deploy.checkpoints import load_checkpoint
    from ds2ta_deploy.exporting import default_inputs, export
    from ds2ta_deploy.freezing import freeze
    from ds2ta_deploy.graph.ranges import beyond_float32
    from ds2ta_deploy.quantization import quantize
    from ds2ta_deploy.verification import available_runtimes

    model = quantize(load_checkpoint(checkpoint), read_settings(config, settings))
    out = output if output is not None else checkpoint.with_name(f"{checkpoint.stem}-{target}")
    graph = freeze(model)
    pixels = default_inputs(graph) if inputs is None else _first(inputs, graph.input_type.shape.index(None), samples)
    names = available_runtimes(with_checkpoint=False) if "all" in runtime else list(runtime or ("onnxruntime",))
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
            verify=verify,
            runtimes=names,
            values=values,
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
    if as_json:
        print_json(
            {
                "artifact": str(out),
                "files": msgspec.to_builtins(artifact.manifest.files),
                "parity": parity_json(reports[0]) if verify else None,
            }
        )
        return
    if verify:
        print_table(parity_table(reports[0]))
        print_rates(reports[0])
    say(f"wrote {out}{'' if verify else ' (not verified)'}")


def read_settings(config: Path | None, given: dict[str, Any]) -> "Quantization":
    """Combine the config file with the options; options win.

    Raises:
        InputError: DS2TA-111 when the file is no TOML, or holds settings that are unknown, mistyped or out of range.
        UsageError: DS2TA-510 when an option is out of range.

    """
    import tomllib

    import msgspec

    from ds2ta_deploy.errors import InputError, Problem, UsageError
    from ds2ta_deploy.quantization import Quantization
    from ds2ta_deploy.reading import read_regular

    settings = Quantization()
    if config is not None:
        try:
            settings = msgspec.convert(tomllib.loads(read_regular(config).decode()), Quantization)
            settings.validate()
        except UsageError as error:
            raise InputError(Problem("DS2TA-111", p.what, f"{config}: {p.where}", p.mend) for p in error.problems) from error
        except (OSError, ValueError, msgspec.ValidationError, RecursionError) as error:  # a number too long is a bare ValueError
            raise InputError(
                Problem("DS2TA-111", str(error), str(config), "known settings: profile, weight_bits, first_layer_bits")
            ) from error
    settings = msgspec.structs.replace(settings, **{name: value for name, value in given.items() if value is not None})
    settings.validate()
    return settings


def _first(path: Path, batch_axis: int, samples: int) -> "NDArray[np.uint8]":
    from ds2ta_deploy.datasets import read_data

    pixels = read_data(path).images
    return pixels.take(range(min(samples, pixels.shape[batch_axis])), batch_axis)
