"""Freeze: a quantized model becomes an integer graph, one small function a part of the network.

Every value of the graph bears the name of the probe in the PyTorch model where the same value can be
watched, so the two can be compared without a table of names.
"""

import numpy as np

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.freezer.attention import freeze_attention
from ds2ta_deploy.freezer.draft import Draft, integers
from ds2ta_deploy.freezer.layers import freeze_mlp, freeze_patch
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ranges import PROFILES, prove
from ds2ta_deploy.grid import leak_is_exact
from ds2ta_deploy.models.encoder import IntegerPixelEncoder
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.models.readout import IntegerReadout, IntegerStreamReadout
from ds2ta_deploy.quantization import Quantization

#: How ties and negative numbers are rounded, wherever integers are made from reals or shifted.
ROUNDING = "weights, biases and tables of pixels round half to even; denoiser tables round half up; shifts floor; neurons fire at equality"


def freeze(model: SpikingTransformer) -> Graph:
    """Turn a quantized model into an integer graph whose ranges are proved.

    Raises:
        UnsupportedError: DS2TA-202 when the model is not quantized; DS2TA-220 and 221 for everything that
            could overflow or leave its table under the model's profile.

    Example:
        >>> graph = freeze(quantize(load_checkpoint("ckpt.safetensors")))  # doctest: +SKIP

    """
    settings = model.quantization
    encoder, head = model.encoder, model.head
    if not isinstance(settings, Quantization) or not isinstance(encoder, IntegerPixelEncoder) or not isinstance(head, IntegerReadout):
        raise UnsupportedError(Problem("DS2TA-202", "the model is not quantized", mend="call quantize(model) first"))
    config = model.config
    still = config.input_kind == "images"
    draft = Draft()
    table = integers(encoder.table, np.int16, "encoder.table")
    value = draft.add(ops.InputTable, "encoder", [config.input_kind], "input_values", table=table, still=int(still))
    value = freeze_patch(model.patch, draft, value, still=still)
    for index, block in enumerate(model.encoder_blocks):
        prefix = f"blocks.{index}"
        value = draft.sum(f"{prefix}.attn_residual", value, freeze_attention(block.attn, draft, f"{prefix}.attn", value))
        value = draft.sum(f"{prefix}.mlp_residual", value, freeze_mlp(block.mlp, draft, f"{prefix}.mlp", value))
    _readout(draft, head, value)
    facts: dict[str, str | int | float] = {
        "family": config.family,
        "input_kind": config.input_kind,
        "time_steps": config.time_steps,
        "classes": config.num_classes,
        "leak_exact": int(leak_is_exact(config.membrane_time_constant)),
        "notes": "; ".join(model.quantization_notes),
        "rounding": ROUNDING,
        **settings.facts(),
    }
    kind = ops.ValueType(config.input_shape, "uint8")
    name = f"{config.family}-{config.depth}-{config.embed_dim}"  # not the file's: the same checkpoint gives the same bytes
    graph = Graph(name, config.input_kind, kind, tuple(draft.drafted), "head.logits", head.scale, facts)
    prove(graph, PROFILES[settings.profile])
    return graph


def _readout(draft: Draft, head: IntegerReadout, value: str) -> None:
    """Append the readout; behind a stream the neurons that read its sum over the tokens come first."""
    if isinstance(head, IntegerStreamReadout):
        total = draft.add(ops.ReduceSum, "head.sum", [value], "head.pooled", axis=2)
        value = draft.stream_neuron(head.input, "head.input", total)
    arrays = {"weight": integers(head.weight, np.int8, "head.weight"), "bias": integers(head.bias, np.int32, "head.bias")}
    draft.add(ops.Readout, "head", [value], "head.logits", **arrays)
