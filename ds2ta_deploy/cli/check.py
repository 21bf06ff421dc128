"""``ds2ta check``."""

from pathlib import Path
from typing import Any

import click

from ds2ta_deploy.cli.options import checkpoint_argument, json_option, print_json


@click.command("check", epilog="Example: ds2ta check ckpt.safetensors")
@checkpoint_argument
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with profile, weight_bits, first_layer_bits.")
@click.option("--profile", type=click.Choice(["cpu", "loihi"]), help="Widths to freeze under.  [default: cpu]")
@json_option
def command(checkpoint: Path, config: Path | None, profile: str | None, as_json: bool) -> None:
    """Say whether CHECKPOINT can be exported; list every problem with its place, before any work starts."""
    from ds2ta_deploy.runtimes.base import require_torch

    require_torch()
    from ds2ta_deploy.checkpoints import load_checkpoint
    from ds2ta_deploy.cli.export import read_settings
    from ds2ta_deploy.errors import Ds2taError
    from ds2ta_deploy.freezing import freeze
    from ds2ta_deploy.quantization import quantize
    from ds2ta_deploy.report import memory

    findings: dict[str, Any] = {"supported": True, "problems": []}
    try:
        settings = read_settings(config, {"profile": profile})
        model = load_checkpoint(checkpoint)
        graph = freeze(quantize(model, settings), checkpoint.stem)
        findings |= {"family": model.config.family, "parameters": sum(p.numel() for p in model.parameters())}
        findings |= {"integer_bytes": sum(memory(graph).values()), "ops": len(graph.ops), "leak_exact": bool(graph.facts["leak_exact"])}
        findings["clipped_weights"] = graph.facts["clipped_weights"]
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
    if findings["clipped_weights"]:
        click.echo(
            f"note: {findings['clipped_weights']} weights exceed what the grid can hold beside their threshold and are cut off", err=True
        )
    if not findings["leak_exact"]:
        click.echo("note: the membrane's leak is no power of two; the integer neuron only approximates the real-valued one", err=True)
