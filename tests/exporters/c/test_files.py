import re
import shutil
import subprocess

import numpy as np
import pytest
from block_marks import ROOT, blocks_for
from builders import assert_fires, small_inputs, trace_of
from c_support import COMPILERS, SANITIZE, selftest, write
from support import replaced

from ds2ta_deploy.c_code.footprint import footprint
from ds2ta_deploy.c_code.program import build_program
from ds2ta_deploy.exporters.c import to_c

FILES = {
    *("CMakeLists.txt", "Makefile", "README.md", "ds2ta_kernels.c", "ds2ta_kernels.h", "model.c", "model.h", "model_data.c"),
    *("model_data.h", "selftest.c", "selftest.h", "selftest_data.c", "selftest_data.h", "selftest_host.c"),
}


@pytest.fixture
def code(small_graph, small_inputs, tmp_path):
    assert_fires(trace_of(small_graph, small_inputs))
    return write(to_c(small_graph, small_inputs), tmp_path)


def number(code, name):
    return int(re.findall(rf"#define {name} (\d+)", (code / "model.h").read_text())[0])


def test_the_files(code):
    assert {path.name for path in code.iterdir()} == FILES


def test_equal_graphs_and_inputs_give_equal_bytes(small_graph, small_inputs):
    assert to_c(small_graph, small_inputs) == to_c(small_graph, small_inputs)


@pytest.mark.parametrize("compiler", [pytest.param(name, marks=[pytest.mark.slow] * (name != "gcc")) for name in COMPILERS])
def test_the_self_test_passes_without_a_warning(code, compiler):
    for trace in (True, False):
        done = selftest(code, "-O1", compiler=compiler, trace=trace)
        assert (done.returncode, done.stdout) == (0, "PASS small\n")


@pytest.mark.parametrize("still", [True, False])
def test_the_self_test_of_a_network_with_every_other_op(stream_graph, tmp_path, still):
    import stream_graph as builder

    inputs = small_inputs(still=still)
    done = selftest(write(to_c(builder.build_stream_graph(still=still), inputs), tmp_path), *SANITIZE)
    assert (done.returncode, done.stdout) == (0, "PASS stream\n")


def test_memory_is_never_left(code):
    done = selftest(code, "-fsanitize=address,undefined", "-fno-sanitize-recover=all", compiler="gcc")
    assert (done.returncode, done.stdout, done.stderr) == (0, "PASS small\n", "")


def test_a_weight_that_is_changed_is_named(code):
    """Off by one, it need not flip a spike; the first value behind it differs all the same."""
    data = (code / "model_data.c").read_text()
    found = re.search(r"/\* patch\.position\.weights \*/\nconst int8_t \w+\[\d+\] = \{\n +(-?\d+)", data)
    (code / "model_data.c").write_text(f"{data[: found.start(1)]}{int(found[1]) - 1}{data[found.end(1) :]}")
    done = selftest(code)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "FAIL patch.position.product: differs (its checksum)"


@pytest.mark.slow
def test_the_self_test_of_the_bundled_network_says_what_the_page_shows(tmp_path):
    """One weight of the first layer is 8 too small."""
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    from ds2ta_deploy.checkpoints import load_checkpoint
    from ds2ta_deploy.freezing import freeze
    from ds2ta_deploy.quantization import quantize

    bundled = ROOT / "examples" / "fashion_mnist" / "ds2ta-2-64.safetensors"
    with np.load(bundled.with_suffix(".npz")) as pictures:
        code = write(to_c(freeze(quantize(load_checkpoint(bundled))), pictures["images"][:4]), tmp_path)
    assert selftest(code).returncode == 0
    data = (code / "model_data.c").read_text()
    found = re.search(r"/\* patch\.stages\.0\.weights \*/\nconst int16_t \w+\[\d+\] = \{\n +(-?\d+)", data)
    (code / "model_data.c").write_text(f"{data[: found.start(1)]}{int(found[1]) - 8}{data[found.end(1) :]}")
    (block,) = blocks_for("docs/c.md", __file__)
    assert selftest(code).stdout == block.text


def test_the_place_that_the_self_test_names_is_the_one_that_differs(small_graph, small_inputs, tmp_path):
    """Golden vectors of one network beside the code of another, whose first neurons differ in one threshold."""
    threshold = next(op for op in small_graph if op.name == "patch.stages.0").threshold.copy()
    threshold[3] //= 2
    changed = replaced(small_graph, "patch.stages.0", threshold=threshold)
    golden = {name: data for name, data in to_c(small_graph, small_inputs).items() if "selftest" in name}
    done = selftest(write(to_c(changed, small_inputs) | golden, tmp_path))
    before, after = (trace_of(graph, small_inputs)["patch.stages.0.spikes"][:, 0] for graph in (small_graph, changed))
    step, *index = np.argwhere(before != after)[0].tolist()
    spikes = f"patch.stages.0.spikes step {step} {index}: expected {before[step, *index]}, found {after[step, *index]}"
    assert done.stdout.splitlines()[0] == f"FAIL {spikes}"


def test_logits_that_are_wrong_are_named_where_nothing_is_traced(code):
    data = (code / "selftest_data.c").read_text()
    place = data.index("selftest_logits[")
    start = data.index("{\n    ", place) + 6
    old = re.match(r"-?\d+", data[start:]).group()
    (code / "selftest_data.c").write_text(f"{data[:start]}{int(old) + 1}{data[start + len(old) :]}")
    done = selftest(code, trace=False)
    assert (done.returncode, done.stdout) == (1, f"FAIL head.logits sample 0 [0]: expected {int(old) + 1}, found {old}\n")


def test_what_is_announced_is_what_the_compiler_makes(code, small_graph):
    found = footprint(build_program(small_graph))
    probe = code / "probe.c"
    probe.write_text(
        '#include <stdio.h>\n#include "model.h"\n'
        'int main(void) { printf("%u %u", (unsigned)sizeof(ds2ta_state), (unsigned)DS2TA_RAM_BYTES); return 0; }\n'
    )
    subprocess.run(["cc", probe, "-o", code / "probe"], check=True)
    sizes = subprocess.run([code / "probe"], capture_output=True, text=True, check=True).stdout
    assert sizes == f"{found.ram_bytes} {found.ram_bytes}"
    subprocess.run(["cc", "-c", "-fdata-sections", "model_data.c"], cwd=code, check=True)
    sections = subprocess.run(["size", "-A", "model_data.o"], cwd=code, capture_output=True, text=True, check=True).stdout
    constants = sum(int(size) for size in re.findall(r"^\.rodata\S*\s+(\d+)", sections, re.MULTILINE))
    assert constants == found.rom_bytes == number(code, "DS2TA_ROM_BYTES")
    assert f"{found.ram_bytes:,}" in (code / "README.md").read_text()
    assert 8 + found.state_bytes + found.arena_bytes <= found.ram_bytes < 12 + found.state_bytes + found.arena_bytes


def test_a_size_that_is_not_the_one_announced_does_not_compile(code):
    for name in ("ROM", "RAM"):
        header = (code / "model.h").read_text()
        old = number(code, f"DS2TA_{name}_BYTES")
        (code / "model.h").write_text(header.replace(f"DS2TA_{name}_BYTES {old}u", f"DS2TA_{name}_BYTES {old + 4}u"))
        source = "model_data.c" if name == "ROM" else "model.c"
        done = subprocess.run(["cc", "-c", source], cwd=code, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert f"ds2ta_{name.lower()}_is_as_announced" in done.stderr
        (code / "model.h").write_text(header)


def test_there_is_no_heap_no_library_no_recursion_and_little_stack(code):
    flags = ["-O2", "-ffreestanding", "-fstack-usage", "-fcallgraph-info", "-Werror=stack-usage=512", "-c"]
    subprocess.run(["gcc", *flags, "model.c", "model_data.c", "ds2ta_kernels.c"], cwd=code, check=True)
    undefined = subprocess.run(
        ["nm", "-u", "model.o", "model_data.o", "ds2ta_kernels.o"], cwd=code, capture_output=True, text=True, check=True
    )
    wanted = {line.split()[-1] for line in undefined.stdout.splitlines() if " U " in line}
    own = re.compile(r"ds2ta_|weight_|bias_|threshold_|table_|matrix_|memset$|memcpy$|_GLOBAL_OFFSET_TABLE_$")
    assert not [name for name in wanted if not own.match(name)]
    edges = re.findall(r'sourcename: "([^"]+)" targetname: "([^"]+)"', "".join(path.read_text() for path in code.glob("*.ci")))
    calls = {}
    for source, target in edges:
        calls.setdefault(source.split(":")[-1], set()).add(target.split(":")[-1])
    assert "ds2ta_step" in calls

    def reachable(name, seen):
        for target in calls.get(name, ()):
            if target not in seen:
                seen.add(target)
                reachable(target, seen)
        return seen

    assert not [name for name in calls if name in reachable(name, set())]


def test_step_by_step_is_the_same_as_a_run_and_a_state_may_be_copied(code, small_graph, small_inputs):
    """A copy of the state, taken in the middle, goes on as the original does."""
    pixels = ", ".join(map(str, small_inputs[0].reshape(-1).tolist()))
    (code / "probe.c").write_text(
        f"""
#include <stdio.h>
#include <string.h>
#include "model.h"
static const uint8_t picture[] = {{{pixels}}};
static ds2ta_state one, other;
int main(void)
{{
    int32_t whole[DS2TA_CLASSES], stepped[DS2TA_CLASSES], copied[DS2TA_CLASSES];
    ds2ta_run(&one, picture, whole);
    memset(&one, 0xA5, sizeof one);
    ds2ta_init(&one);
    for (unsigned step = 1u; step <= DS2TA_TIME_STEPS; step++) {{
        if (ds2ta_step(&one, picture) != DS2TA_OK) return 1;
        if (step == 2u) {{
            memcpy(&other, &one, sizeof one);
        }} else if (step > 2u) {{
            if (ds2ta_step(&other, picture) != DS2TA_OK) return 1;
        }}
    }}
    ds2ta_logits(&one, stepped);
    ds2ta_logits(&other, copied);
    printf("%d %d", memcmp(whole, stepped, sizeof whole), memcmp(whole, copied, sizeof whole));
    for (unsigned c = 0u; c < DS2TA_CLASSES; c++) printf(" %ld", (long)whole[c]);
    return 0;
}}
"""
    )
    subprocess.run(["cc", "probe.c", "model.c", "model_data.c", "ds2ta_kernels.c", "-o", "probe"], cwd=code, check=True)
    said = subprocess.run([code / "probe"], capture_output=True, text=True, check=True).stdout
    logits = small_graph.execute(small_inputs[:1])[0].tolist()
    assert said == " ".join(map(str, [0, 0, *logits]))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_builds_the_library_and_checks(code):
    done = subprocess.run(["make", "libds2ta_model.a", "check", "size"], cwd=code, check=True, capture_output=True, text=True)
    assert done.stdout.count("PASS small") == 2
    assert (code / "libds2ta_model.a").is_file()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake")
def test_cmake_builds_and_checks(code):
    for command in (["cmake", "-S", ".", "-B", "build"], ["cmake", "--build", "build"], ["ctest", "--test-dir", "build"]):
        done = subprocess.run(command, cwd=code, check=True, capture_output=True, text=True)
    assert "100% tests passed, 0 tests failed out of 1" in done.stdout


def test_a_name_cannot_break_out_of_the_code(small_graph, small_inputs, tmp_path):
    """Names come from a file that a stranger may have written; in C they are words in comments and strings."""
    import dataclasses

    wild = '*/ int main(void){return 7;} /* "\\\n ??/ %s'
    ops = tuple(
        dataclasses.replace(op, name=f"{wild}{op.name}", inputs=tuple(map(_spoil, op.inputs)), outputs=tuple(map(_spoil, op.outputs)))
        for op in small_graph
    )
    graph = dataclasses.replace(small_graph, name=wild, ops=ops, input_name=_spoil("images"), output=_spoil("head.logits"))
    done = selftest(write(to_c(graph, small_inputs), tmp_path))
    assert done.returncode == 0
    assert done.stdout.startswith("PASS __ int main_void__return 7__")


def _spoil(name):
    return f'*/ "\\\n{name}'
