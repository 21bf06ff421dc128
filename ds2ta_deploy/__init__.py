"""ds2ta-deploy: from a trained spiking transformer to integers that run anywhere, proved equal value by value.

    import ds2ta_deploy as dd

    model = dd.quantize(dd.load_checkpoint("ckpt.safetensors"))
    graph = dd.freeze(model)
    artifact = dd.export(graph, target="onnx", out="build/", model=model, checkpoint="ckpt.safetensors")
    report = dd.verify(artifact, runtimes=["onnxruntime"])

The verbs are imported when they are first used, so that ``import ds2ta_deploy`` needs neither PyTorch nor
ONNX Runtime.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ds2ta_deploy.artifact import Artifact
    from ds2ta_deploy.checkpoints import load_checkpoint, save_checkpoint
    from ds2ta_deploy.exporting import export
    from ds2ta_deploy.fine_tuning import qat
    from ds2ta_deploy.freezing import freeze
    from ds2ta_deploy.importing.loading import import_checkpoint
    from ds2ta_deploy.quantization import Quantization, quantize
    from ds2ta_deploy.runtimes.table import open_stepper
    from ds2ta_deploy.step_verification import verify_steps
    from ds2ta_deploy.verification import verify

__version__ = "0.1.0"

_HOMES = {
    "Artifact": "artifact",
    "Quantization": "quantization",
    "export": "exporting",
    "freeze": "freezing",
    "import_checkpoint": "importing.loading",
    "load_checkpoint": "checkpoints",
    "open_stepper": "runtimes.table",
    "qat": "fine_tuning",
    "quantize": "quantization",
    "save_checkpoint": "checkpoints",
    "verify": "verification",
    "verify_steps": "step_verification",
}

__all__ = [
    "Artifact",
    "Quantization",
    "export",
    "freeze",
    "import_checkpoint",
    "load_checkpoint",
    "open_stepper",
    "qat",
    "quantize",
    "save_checkpoint",
    "verify",
    "verify_steps",
]


def __getattr__(name: str) -> Any:
    """Import a verb when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the verbs beside what is imported already."""
    return sorted({*globals(), *__all__})
