"""The C code as a firmware calls it, one frame after the other: a driver that does as it is told, compared with the graph."""

import signal
import subprocess
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from block_marks import blocks_for
from builders import STEPS, assert_fires, build_small_graph, small_inputs, trace_of
from c_support import SANITIZE, STRICT, different
from step_support import assert_resumes, assert_steps_are_the_sequence, frames_for
from stream_graph import CHUNK, StreamDraft, build_stream_graph
from support import replaced, spiking_chain

from ds2ta_deploy.c_code.files import files_of
from ds2ta_deploy.c_code.program import build_program
from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.stepping import over_frames, readout_of
from ds2ta_deploy.runtimes.c_program import CRuntime
from ds2ta_deploy.runtimes.c_stepper import CStepper

OK, END, SUM_FULL, NO_FRAME = range(4)


@dataclass(frozen=True)
class Driver:
    """The compiled driver of a network."""

    program: Path
    classes: int

    def run(self, *commands, killed=False):
        """Give commands; return the statuses of the steps and the logits behind each."""
        done = subprocess.run([self.program], input=b"".join(commands), capture_output=True, cwd=self.program.parent, check=False)
        assert done.returncode == (-signal.SIGKILL if killed else 0), done.stderr
        said = np.frombuffer(done.stdout, np.int32).reshape(-1, 1 + self.classes)
        return said[:, 0].tolist(), said[:, 1:].tolist()


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """Return a function that compiles the driver with the code of a network, once, undefined behaviour being fatal."""

    @cache
    def make(name, still=True):
        program, folder = program_of(name, still=still), tmp_path_factory.mktemp(name)
        for file, data in files_of(program).items():
            (folder / file).write_bytes(data)
        sources = [Path(__file__).with_name("driver.c"), *sorted(folder.glob("*.c"))]
        subprocess.run(["cc", *STRICT, *SANITIZE, f"-I{folder}", *sources, "-o", folder / "driver"], check=True)
        return Driver(folder / "driver", program.readout.weight.shape[0])

    return make


@cache
def program_of(name, *, still=True):
    """The planned code of a network."""
    return build_program({"small": build_small_graph, "stream": build_stream_graph, "late": build_late_graph}[name](still=still))


def shown(frames):
    """Commands that give one sample's frames."""
    return [b"f" + frame.tobytes() for frame in frames]


def increments(form, frames, block):
    """What each step adds to the sum, of one sample: the definition, many steps at a time."""
    kind = replace(form.block.input_type, shape=(block, *form.block.input_type.shape[1:]))
    many, state, found = replace(form, block=replace(form.block, input_type=kind)), form.initial(1), []
    readout = readout_of(form.sequence)
    for start in range(0, len(frames), block):
        seen = {}
        _, state = many.advance(start, state, frames[start : start + block, None], seen.__setitem__)
        found += [readout.increment(spikes[None].astype(np.int64))[0] for spikes in seen[readout.inputs[0]]]
    return np.array(found)


def build_late_graph(*, still=True):
    """Return a picture's network whose repeated current is added to what waits for a chunk, and that may run for ever."""
    assert still
    draft = StreamDraft(small_inputs(), 5)
    table = np.sort(draft.integers(500, (2, 256), np.int16), axis=1)
    value = draft.add(ops.InputTable, "encoder", ["images"], "input_values", table=table, still=1)
    current = draft.synapses("patch", value, 8, size=3)
    pooled = draft.add(ops.MaxPool2d, "patch.pool", [current], "patch.pooled", stride=2, axis=2)
    repeated = draft.add(ops.Repeat, "patch.repeat", [pooled], "patch._repeated", time_steps=STEPS)
    stream = draft.add(ops.Tokens, "patch.flatten", [repeated], "patch._tokens")
    stream = draft.residual("attn_residual", stream, draft.chunked("attn", stream))
    stream = draft.residual("mlp_residual", stream, draft.mlp("mlp", stream))
    weight = draft.integers(127, (3, 8), np.int8)
    spikes = draft.neuron("head.input", stream)
    sums = draft.values[spikes].sum(axis=(0, 2)) @ weight.astype(np.int64).T
    bias = -np.median(sums, axis=0).astype(np.int32)  # so that no class always wins
    draft.add(ops.Readout, "head", [spikes], "head.logits", weight=weight, bias=bias)
    kind = ops.ValueType((None, *small_inputs().shape[1:]), "uint8")
    return Graph("late", "images", kind, tuple(draft.ops), "head.logits", 0.125, {"time_steps": STEPS})


# --- sums and ends ---------------------------------------------------------------------------------------------------


def test_a_sum_begins_anew_while_membranes_stay(driver):
    form = program_of("small").form
    frames = frames_for(form.sequence, 9, batch=1)[:, 0]
    added = increments(form, frames, 9)
    status, logits = driver("small").run(b"i", *shown(frames[:5]), b"b", *shown(frames[5:]))
    assert status == [OK] * 9
    expected = [added[:n].sum(axis=0) + form.bias_over(n) for n in range(1, 6)]
    expected += [added[5 : 5 + n].sum(axis=0) + form.bias_over(n) for n in range(1, 5)]
    assert logits == np.array(expected).tolist()
    assert logits[3] == over_frames(form.sequence, 4).execute(frames[:4, None])[0].tolist()


def test_a_sum_ends_where_its_proof_does_and_nothing_is_done_then(driver):
    form, longest = program_of("small").form, program_of("small").longest_sum
    assert longest == form.longest_sum
    frames = frames_for(form.sequence, 4, batch=1)[:, 0]
    commands = [b"i", *shown(frames[:1]), so_many(longest - 1), *shown(frames[1:3]), b"b", *shown(frames[2:])]
    status, logits = driver("small").run(*commands)
    assert status == [OK, OK, SUM_FULL, OK, OK]
    assert logits[1] == logits[2]
    assert logits[3] == (increments(form, frames, 4)[2] + form.bias_over(1)).tolist()


def so_many(summed):
    """Command that lets the sum have so many steps."""
    return b"u" + np.uint32(summed).tobytes()


def test_a_run_ends_where_its_proof_does(driver):
    form = program_of("stream").form
    assert form.longest == STEPS
    frames = frames_for(form.sequence, STEPS, batch=1)[:, 0]
    commands = [b"i", *shown(frames), *shown(frames[:1]), b"b", *shown(frames[:1]), b"i", *shown(frames)]
    status, logits = driver("stream").run(*commands)
    assert status == [OK] * STEPS + [END, END] + [OK] * STEPS
    assert logits[STEPS] == logits[STEPS - 1] == logits[-1] == over_frames(form.sequence, STEPS).execute(frames[:, None])[0].tolist()


def test_a_sum_that_begins_while_frames_wait_has_the_whole_chunk(driver):
    form = program_of("late").form
    frames = frames_for(form.sequence, 8, batch=1)[:, 0]
    added, odd = increments(form, frames, 8), form.longest_sum % CHUNK
    assert odd == 1  # the last step of all would leave a chunk unfinished
    almost = so_many(form.longest_sum - odd - CHUNK)
    commands = [b"i", *shown(frames[:3]), b"b", *shown(frames[3:4]), almost, *shown(frames[4:8]), b"b", *shown(frames[7:])]
    status, logits = driver("late").run(*commands)
    assert status == [OK] * 7 + [SUM_FULL, OK]
    assert logits[2] == logits[1] == (added[:2].sum(axis=0) + form.bias_over(2)).tolist()
    assert logits[3] == (added[2:4].sum(axis=0) + form.bias_over(2)).tolist()
    assert logits[8] == (added[6:8].sum(axis=0) + form.bias_over(2)).tolist()


def test_a_frame_that_is_missing(driver):
    """A picture is shown again; a network that reads frames has none."""
    assert driver("small").run(b"i", b"n")[0] == [NO_FRAME]
    graph = program_of("small", still=False).graph
    frames = frames_for(graph, 2, batch=1)[:, 0]
    status, logits = driver("small", still=False).run(b"i", b"n", *shown(frames[:1]), b"n", *shown(frames[1:]))
    assert status == [NO_FRAME, OK, NO_FRAME, OK]
    assert logits[2] == logits[1]
    assert logits[3] == over_frames(graph, 2).execute(frames[:, None])[0].tolist()


@pytest.mark.parametrize("name", ["small", "late"])
def test_a_step_without_a_frame_sees_the_picture_again(name, driver):
    graph = program_of(name).graph
    frames = frames_for(graph, 3, batch=1)[:, 0]
    made, order = driver(name), [0, 0, 0, 1, 2, 2, 0, 0]
    given = [b"n" if now == before else shown(frames[[now]])[0] for now, before in zip(order, [-1, *order], strict=False)]
    assert given.count(b"n") == 4
    assert made.run(b"i", *given) == made.run(b"i", *shown(frames[order]))
    expected = over_frames(graph, len(order)).execute(frames[order][:, None])[0].tolist()
    assert made.run(b"i", *given)[1][-1] == expected


# --- for ever --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["small", pytest.param("late", marks=pytest.mark.slow)])
def test_five_thousand_steps(name, driver):
    """All frames differ; the driver has one state and nothing else to remember them in."""
    form, steps, every = program_of(name).form, 5000, 100
    assert form.longest is None
    frames = frames_for(form.sequence, steps, batch=1)[:, 0]
    added = increments(form, frames, 500)
    commands = [command for start in range(0, steps, every) for command in (b"b", *shown(frames[start : start + every]))]
    status, logits = driver(name).run(b"i", *commands)
    assert status == [OK] * steps
    sums = added.reshape(-1, every, added.shape[1]).sum(axis=1) + form.bias_over(every)
    assert logits[every - 1 :: every] == sums.tolist()
    assert len(set(map(tuple, sums.tolist()))) == steps // every


@pytest.mark.parametrize("name", ["small", "stream", "late"])
def test_a_state_outlives_its_process(name, driver):
    """Saved in the middle, in the middle of a chunk too; the process is killed; another one goes on."""
    frames, made = frames_for(program_of(name).graph, STEPS, batch=1)[:, 0], driver(name)
    status, logits = made.run(b"i", *shown(frames))
    assert status == [OK] * STEPS
    for middle in (1, 2, 3):
        assert made.run(b"i", *shown(frames[:middle]), b"s", *shown(frames[middle:]), b"k", killed=True) == (status, logits)
        assert made.run(b"l", *shown(frames[middle:])) == (status[middle:], logits[middle:])


# --- what has a step form --------------------------------------------------------------------------------------------


def test_a_picture_that_is_needed_when_a_chunk_is_full():
    """What it gives is kept for every step of a chunk; with pictures that change, too."""
    program = program_of("late")
    assert_fires(trace_of(program.graph, small_inputs()))
    assert program.memory.values["patch.pooled"].frames == CHUNK
    assert program.repeats_a_picture
    assert not different(program.graph, small_inputs())
    code = CRuntime(program.graph, flags=["-O0"])
    assert_steps_are_the_sequence(lambda _form, batch, wanted: CStepper(code, batch, wanted), program.graph)
    assert_resumes(lambda _form, batch, wanted: CStepper(code, batch, wanted), program.graph)


def test_a_window_in_front_of_the_repetition_has_no_c_form(small_graph):
    graph = replaced(small_graph, "patch.stages.0.window", taps=2)
    with pytest.raises(UnsupportedError, match=r"DS2TA-251.*patch\.stages\.0\.window.*before the picture is repeated"):
        build_program(graph)


def test_a_window_longer_than_a_sample_remembers_beyond_it():
    program = build_program(spiking_chain(2, window=(4, 1, 2))[0])
    assert program.memory.state["linear.window", "history"].elements == 3 * program.layouts["linear.product"].elements
    code = CRuntime(program.graph, flags=["-O0"])
    assert_steps_are_the_sequence(lambda _form, batch, wanted: CStepper(code, batch, wanted), program.graph, (1, 4, 10))


def test_a_picture_that_is_shown_once():
    """One time step, and so nothing that repeats: step by step every frame is a step all the same."""
    draft = StreamDraft(small_inputs(), 5)
    table = np.sort(draft.integers(500, (2, 256), np.int16), axis=1)
    value = draft.add(ops.InputTable, "encoder", ["images"], "input_values", table=table, still=1)
    value = draft.add(ops.Tokens, "flatten", [draft.conv("conv", value, 4, first=True)], "tokens")
    spikes = draft.linear("linear", value, 4, window=(3, 1, 2))
    draft.add(ops.Readout, "head", [spikes], "head.logits", weight=draft.integers(127, (3, 4), np.int8), bias=np.zeros(3, np.int32))
    graph = Graph("once", "images", ops.ValueType((None, *small_inputs().shape[1:]), "uint8"), tuple(draft.ops), "head.logits", 1.0, {})
    assert not different(graph, small_inputs())
    code = CRuntime(graph, flags=["-O0"])
    assert not code.program.repeats_a_picture
    assert_steps_are_the_sequence(lambda _form, batch, wanted: CStepper(code, batch, wanted), graph)


# --- the documentation -----------------------------------------------------------------------------------------------


def documented():
    """Return the programs of docs/c.md: the calls in short, and a main loop."""
    return [block.text for block in blocks_for("docs/c.md", __file__)]


#: What the documented main loop asks of the firmware around it.
_AROUND = """
#include "model.h"
#include <stdio.h>

int next_frame(uint8_t frame[DS2TA_FRAME_SIZE]);
void decided(uint32_t best);

int next_frame(uint8_t frame[DS2TA_FRAME_SIZE])
{
    return (fread(frame, DS2TA_FRAME_SIZE, 1, stdin) == 1) ? 1 : 0;
}

void decided(uint32_t best)
{
    printf("%u ", (unsigned)best);
}
"""


#: What stands around the calls in short: a picture from standard input, its frames again as a stream, and logits shown.
_BEFORE = """
#include <stdio.h>
static uint8_t picture[DS2TA_FRAME_SIZE * DS2TA_TIME_STEPS];
static uint32_t taken;
static const uint8_t *next_frame(void)
{
    return (taken < DS2TA_TIME_STEPS) ? &picture[DS2TA_FRAME_SIZE * taken++] : NULL;
}
static void show(void)
{
    for (uint32_t c = 0u; c < DS2TA_CLASSES; c++) {
        printf("%d ", (int)logits[c]);
    }
}
#define frame next_frame()
#define ds2ta_run(state, input, found) (ds2ta_run)(state, input, found), show()
#define ds2ta_logits(state, found) (ds2ta_logits)(state, found), show()
int main(void)
{
    if (fread(picture, sizeof picture, 1, stdin) != 1) {
        return 1;
    }
"""


def test_the_calls_of_the_documentation(tmp_path):
    """The whole sample at once, then its frames one by one: the logits behind the last are the same."""
    program, (code, _) = program_of("small", still=False), documented()
    calls = code.index("ds2ta_run(")
    text = f"{code[:calls]}{_BEFORE}{code[calls:]}return 0;\n}}\n"
    for file, data in {**files_of(program), "main.c": text.encode()}.items():
        (tmp_path / file).write_bytes(data)
    subprocess.run(["cc", *STRICT, *SANITIZE, *sorted(tmp_path.glob("*.c")), "-o", tmp_path / "calls"], check=True)
    inputs = small_inputs(still=False)[:, :1]
    done = subprocess.run([tmp_path / "calls"], input=inputs.tobytes(), capture_output=True, check=True)
    logits = np.array(done.stdout.split(), np.int64).reshape(1 + STEPS, -1)
    trace = trace_of(program.graph, inputs)
    assert_fires(trace)
    assert (logits[[0, -1]] == trace[program.graph.output][0]).all()
    assert (logits[1] != logits[-1]).any()


@pytest.mark.parametrize("name", ["small", "stream"])
def test_the_main_loop_of_the_documentation(name, tmp_path):
    """It compiles as it stands, decides every T steps, and begins again where the proof ends."""
    program = program_of(name, still=False)
    _, code = documented()
    for file, data in {**files_of(program), "main.c": code.encode(), "around.c": _AROUND.encode()}.items():
        (tmp_path / file).write_bytes(data)
    subprocess.run(["cc", *STRICT, *SANITIZE, *sorted(tmp_path.glob("*.c")), "-o", tmp_path / "loop"], check=True)
    form, frames = program.form, frames_for(program.graph, 10 * STEPS, batch=1)[:, 0]
    done = subprocess.run([tmp_path / "loop"], input=frames.tobytes(), capture_output=True, check=True)
    length = len(frames) if form.longest is None else form.longest
    added = np.concatenate([increments(form, frames[start : start + length], length) for start in range(0, len(frames), length)])
    best = (added.reshape(-1, STEPS, added.shape[1]).sum(axis=1) + form.bias_over(STEPS)).argmax(axis=1).tolist()
    assert len(set(best)) > 1
    assert done.stdout.decode().split() == list(map(str, best))
