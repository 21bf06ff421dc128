"""``ds2ta check``."""

from pathlib import Path
from typing import Any

import click

from ds2ta_deploy.cli.imports import import_options, load
from ds2ta_deploy.cli.options import checkpoint_argument, json_option, print_json, say, settings_options


@click.command("check", epilog="Example: ds2ta check ckpt.safetensors")
@checkpoint_argument
@settings_options
@import_options
@json_option
def command(checkpoint: Path, config: Path | None, as_json: bool, said: dict[str, Any], **settings: Any) -> None:
    """Say whether CHECKPOINT can be exported, with every problem and its place; nothing is written.

    The checkpoint is read, quantized, frozen, its ranges are proved and the ONNX graph is built: what
    this command accepts, an export can only still refuse because an engine computes something else.
    """
    from ds2ta_deploy.runtimes.table import require_torch

    require_torch()
    from ds2ta_deploy.cli.export import read_settings
    from ds2ta_deploy.errors import Ds2taError
    from ds2ta_deploy.exporters.onnx import to_onnx
    from ds2ta_deploy.freezing import freeze
    from ds2ta_deploy.quantization import quantize
    from ds2ta_deploy.report import memory

    findings: dict[str, Any] = {"supported": True, "problems": []}
    try:
        model = load(checkpoint, said).model
        quantized = quantize(model, read_settings(config, settings))
        graph = freeze(quantized)
        to_onnx(graph)
        findings |= {"family": model.config.family, "parameters": sum(p.numel() for p in model.parameters())}
        findings |= {"integer_bytes": sum(memory(graph).values()), "ops": len(graph.ops), "notes": list(quantized.quantization_notes)}
    except Ds2taError as error:
        if not as_json:
            raise
        findings = {
            "supported": False,
            "problems": [{"code": p.code, "what": p.what, "where": p.where, "mend": p.mend} for p in error.problems],
        }
        print_json(findings)
        raise
    if as_json:
        print_json(findings)
        return
    size = f"{findings['parameters']:,} parameters, {findings['integer_bytes']:,} bytes of integers"
    click.echo(f"{checkpoint}: can be exported ({findings['family']}, {size})")
    for note in findings["notes"]:
        say(f"note: {note}")
