"""The definitions of the functions that ``model.h`` declares."""

import re
from collections.abc import Sequence

from ds2ta_deploy.c_code.functions import Function
from ds2ta_deploy.c_code.memory import TYPES
from ds2ta_deploy.c_code.program import Program
from ds2ta_deploy.c_code.text import block


def definitions(program: Program, functions: Sequence[Function]) -> list[str]:
    """Return what stands behind the calls' own functions in ``model.c``."""
    return [_init(program), _begin_sum(program), _step(program, functions), _logits(program), _run(program)]


def _define(declared: str, lines: list[str]) -> str:
    return f"{declared}\n{{\n{block(lines)}}}\n"


def _init(program: Program) -> str:
    lines = ["state->step = 0u;", "state->summed = 0u;"]
    for dtype, size in program.memory.sizes.items():
        if size:
            lines += [f"for (uint32_t i = 0u; i < {size}u; i++) {{", f"    state->{TYPES[dtype][0]}[i] = 0;", "}"]
    return _define("void ds2ta_init(ds2ta_state *state)", lines)


def _total(program: Program) -> int:
    """Return where the sum of the readout begins."""
    return program.memory.state[program.readout.name, "total"].offset


def _begin_sum(program: Program) -> str:
    clearing = ["for (uint32_t c = 0u; c < DS2TA_CLASSES; c++) {", f"    state->i32[{_total(program)}u + c] = 0;", "}"]
    return _define("void ds2ta_begin_sum(ds2ta_state *state)", ["state->summed = 0u;", *clearing])


def _logits(program: Program) -> str:
    bias = f"ds2ta_bias_over({program.constant(program.readout, 'bias')}[c], state->summed, DS2TA_TIME_STEPS)"
    lines = ["for (uint32_t c = 0u; c < DS2TA_CLASSES; c++) {", f"    logits[c] = state->i32[{_total(program)}u + c] + {bias};", "}"]
    return _define("void ds2ta_logits(const ds2ta_state *state, int32_t logits[DS2TA_CLASSES])", lines)


def _run(program: Program) -> str:
    still = program.graph.input_type.shape[0] is None
    source, given = ("picture", "(t == 0u) ? picture : NULL") if still else ("frames", "&frames[t * DS2TA_FRAME_SIZE]")
    stepping = ["for (uint32_t t = 0u; t < DS2TA_TIME_STEPS; t++) {", f"    (void)ds2ta_step(state, {given});", "}"]
    declared = f"void ds2ta_run(ds2ta_state *state, const uint8_t {source}[], int32_t logits[DS2TA_CLASSES])"
    return _define(declared, ["ds2ta_init(state);", *stepping, "ds2ta_logits(state, logits);"])


def _step(program: Program, functions: Sequence[Function]) -> str:
    """Return what refuses a step, what runs when, and how the steps are counted."""
    summed = "(state->summed + (t % DS2TA_CHUNK_STEPS))" if program.sums_late else "state->summed"
    missing = "(frame == NULL) && (t == 0u)" if program.repeats_a_picture else "frame == NULL"
    refused = [("t >= DS2TA_LONGEST_RUN", "DS2TA_END")] if program.form.longest is not None else []
    refused += [(f"{summed} >= DS2TA_LONGEST_SUM", "DS2TA_SUM_FULL"), (missing, "DS2TA_NO_FRAME")]
    lines = []
    for number, (condition, status) in enumerate(refused):
        lines += [f"{'} else ' if number else ''}if ({condition}) {{", f"    status = {status};"]
    computing = [*_as_it_comes(program, functions), *_when_full(program, functions), _counting(program)]
    lines += ["} else {", *(f"    {line}" for line in computing), "}", "return status;"]
    now = ["const uint32_t t = state->step;"] if any(re.search(r"\bt\b", line) for line in lines) else []
    declared = "ds2ta_status ds2ta_step(ds2ta_state *state, const uint8_t *frame)"
    return _define(declared, [*now, "ds2ta_status status = DS2TA_OK;", *lines])


def _as_it_comes(program: Program, functions: Sequence[Function]) -> list[str]:
    """Return what is computed at every step."""
    lines, first = [], _chosen(functions, "once", 0)
    if first:
        lines += ["if (frame != NULL) {", *(f"    {line}" for line in first), *_shown_again(program), "}"]
    lines += _chosen(functions, "frame", 0)
    return lines if program.sums_late else [*lines, "state->summed++;"]


def _shown_again(program: Program) -> list[str]:
    """Return what a step without a frame does, where what a picture gave is kept for every step of a chunk: copy."""
    lines = []
    for name in program.traced:
        region = program.memory.values.get(name)
        if region is not None and program.timing.moments[name].rate == "once" and region.frames > 1:
            place = f"state->{TYPES[region.dtype][0]}[{region.offset}u + ({{}} * {region.elements}u) + i]"
            before = place.format("((t - 1u) % DS2TA_CHUNK_STEPS)")
            lines += [f"    for (uint32_t i = 0u; i < {region.elements}u; i++) {{"]
            lines += [f"        {place.format('(t % DS2TA_CHUNK_STEPS)')} = {before};", "    }"]
    return ["} else {", *lines] if lines else []


def _when_full(program: Program, functions: Sequence[Function]) -> list[str]:
    """Return what is computed when a chunk is full."""
    if program.timing.phases == 1:
        return []
    lines = ["if ((t % DS2TA_CHUNK_STEPS) == (DS2TA_CHUNK_STEPS - 1u)) { /* a chunk is full */"]
    for phase in range(1, program.timing.phases):
        lines += [f"    {line}" for line in _chosen(functions, "chunk", phase, "t / DS2TA_CHUNK_STEPS")]
        late = _chosen(functions, "frame", phase, "late")
        if late:
            head = "for (uint32_t late = t - (DS2TA_CHUNK_STEPS - 1u); late <= t; late++) {"
            lines += [f"    {head}", *(f"        {line}" for line in late), "    }"]
    return [*lines, *(["    state->summed += DS2TA_CHUNK_STEPS;"] if program.sums_late else []), "}"]


def _counting(program: Program) -> str:
    """Return how the steps are counted: for ever, if need be, and then no number may overflow."""
    if program.form.longest is not None:
        return "state->step = t + 1u;"
    if program.timing.chunk == 1:
        return "state->step = 1u;"
    return "state->step = ((t + 1u) < (2u * DS2TA_CHUNK_STEPS)) ? (t + 1u) : DS2TA_CHUNK_STEPS;"


def _chosen(functions: Sequence[Function], rate: str, phase: int, time: str = "t") -> list[str]:
    """Return the statements that call what runs then."""
    found = [function for function in functions if (function.call.moment.rate, function.call.moment.phase) == (rate, phase)]
    return [function.called(time) for function in found]
