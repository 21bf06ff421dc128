"""The figures of the pages: in which words each stands, and which test measures it.

The tests are fast, slow (``make test-slow``) or long (``make faults``); those of ``tests/docs`` measure what is about pages only.
"""

from figures import Figure, Phrase
from trust_figures import TRUSTED

BUNDLED = "tests/docs/test_bundled_figures.py"
ACCURACY = "tests/docs/test_accuracy.py"
ENERGY = "tests/docs/test_energy_figures.py"
LIMITS = "tests/docs/test_limits.py"
FASHION = "examples/fashion_mnist/README.md"
CIFAR = "examples/cifar10/README.md"
CIFAR_TEST = "tests/cli/test_cifar10.py"

_SIZES = {
    "bytes of weights": Figure(
        BUNDLED,
        (
            Phrase(
                "docs/bits.md",
                "The bundled network's weights take {eight:,} bytes at 8 bits, {six:,} at 6 and {four:,} at 4.",
            ),
        ),
    ),
    "parameters": Figure(
        BUNDLED,
        (
            Phrase(FASHION, "the network that it trained, {bundled:,} parameters"),
            Phrase(CIFAR, "trained for a little on a busy CPU, {cifar:,} parameters"),
            Phrase(CIFAR, "| `ds2ta-4-384`, `spikformer-4-384` | 4, 384, 12 | 64 | {large:.1f} million |"),
            Phrase(CIFAR, "| `ds2ta-2-128`, `spikformer-2-128` | 2, 128, 4 | 64 | {medium:.2f} million |"),
            Phrase(CIFAR, "the first stage pools already | 64 | {small:.2f} million |"),
        ),
    ),
    "longest sums": Figure(
        BUNDLED,
        (
            Phrase("docs/c.md", "until `ds2ta_begin_sum` | {cpu:,} |"),
            Phrase("docs/streaming.md", "({cpu:,} for the bundled network; {loihi} in the 24 bits of the profile `loihi`)"),
        ),
    ),
    "C": Figure(
        BUNDLED,
        (
            Phrase("docs/c.md", "(`DS2TA_ROM_BYTES`) | {rom:,} |"),
            Phrase("docs/c.md", "(`DS2TA_RAM_BYTES`) | {ram:,} |"),
            Phrase("docs/c.md", "(`DS2TA_STATE_BYTES`) | {state:,} |"),
            Phrase("docs/c.md", "(`DS2TA_ARENA_BYTES`) | {arena:,} |"),
            Phrase("docs/c.md", "when nothing is skipped | {operations:,} |"),
        ),
    ),
    "C: code, cortex-m7": Figure("tests/examples/test_boards.py", (Phrase("docs/c.md", "| code, Cortex-M7, GCC 12, `-O2` | {code:,} |"),)),
    "C: code, riscv32": Figure("tests/examples/test_boards.py", (Phrase("docs/c.md", "| code, RV32IMAC, GCC 12, `-O2` | {code:,} |"),)),
    "nodes": Figure(BUNDLED, (Phrase("docs/onnx.md", "The {fused:,} nodes of the bundled network become {inlined:,}."),)),
    "kinds of ops": Figure(BUNDLED, (Phrase("docs/numerics.md", "a graph of integer ops, {kinds} kinds of them."),)),
    "lava: processes": Figure(
        BUNDLED,
        (
            Phrase("docs/lava.md", "(the bundled network has {bundled} leaves;"),
            Phrase("docs/lava.md", "each with another attention, has {populations} populations in {leaves} leaves)"),
        ),
    ),
    "lava: largest bias": Figure(BUNDLED, (Phrase("docs/lava.md", "its largest bias, {bias}, needs one bit more than the mantissa has"),)),
}

_ACCURACY = {
    "top-1 in float": Figure(
        "tests/cli/test_bundled.py",
        (
            Phrase("README.md", "has a top-1 of {percent:.2f} % in float"),
            Phrase(FASHION, "| float32 | {percent:.2f} % |"),
            Phrase("examples/events/README.md", "trained for ten epochs, has {percent:.1f} %."),
        ),
    ),
    "top-1 in integers": Figure(
        ACCURACY,
        (
            Phrase("README.md", "and {plain_8:.2f} % in integers"),
            Phrase("README.md", "it has {tuned_8:.2f} % with 8-bit weights and {tuned_4:.2f} % with 4-bit ones"),
            Phrase(FASHION, "| 8 bits | {plain_8:.2f} % | {tuned_8:.2f} % | {bytes_8:,} |"),
            Phrase(FASHION, "| 4 bits | {plain_4:.2f} % | {tuned_4:.2f} % | {bytes_4:,} |"),
        ),
    ),
    "the sparse network": Figure(
        ACCURACY,
        (
            Phrase(FASHION, "| top-1, weights of 8 bits | {plain_8:.2f} % | {sparse_8:.2f} % |"),
            Phrase(FASHION, "| top-1, weights of 6 bits | {plain_6:.2f} % | {sparse_6:.2f} % |"),
            Phrase(FASHION, "| mean rate of a population | {plain_rate:.1f} % | {sparse_rate:.1f} % |"),
        ),
    ),
    "top-1 of other families": Figure(
        ACCURACY, (Phrase(FASHION, "{spikformer:.1f} and {statten:.1f} % of the 10,000 test images in integers"),)
    ),
    "top-1 of the ablation": Figure(
        ACCURACY,
        (
            Phrase(
                "docs/energy.md",
                "on all 10,000 test pictures: {full:.2f}, {no_nsad:.2f}, {no_tasa:.2f} and {neither:.2f} % in this order",
            ),
        ),
    ),
    "a threshold a layer": Figure(
        ACCURACY,
        (
            Phrase(
                "docs/lava.md",
                "test pictures is {percent:.2f} % either way ({changed} decisions differ, {right} right on each side only)",
            ),
        ),
    ),
    "formats under a budget": Figure(
        ACCURACY,
        (Phrase("docs/bits.md", "chooses {bytes:,} bytes; {changed} of the 500 decisions change; {before} were right, and {after} are."),),
    ),
    "events": Figure(
        ACCURACY,
        (
            Phrase("examples/events/README.md", "| float, PyTorch | {floating:.2f} % |"),
            Phrase("examples/events/README.md", "| integers | {integers:.2f} % |"),
            Phrase("examples/events/README.md", "300 ms, {events:,.0f} events on average in the first 100"),
        ),
    ),
    "CIFAR-10 in float": Figure(CIFAR_TEST, (Phrase(CIFAR, "| float, PyTorch | {percent:.2f} % ({right}) |"),)),
    "CIFAR-10 in integers": Figure(
        CIFAR_TEST,
        (
            Phrase(CIFAR, "| integers (8 bits, first layer 10), ONNX Runtime | {percent:.2f} % ({right}) |"),
            Phrase(CIFAR, "| integers, native kernels | {percent:.2f} % ({right}) |"),
        ),
    ),
    "CIFAR-10 compared": Figure(
        CIFAR_TEST,
        (Phrase(CIFAR, "of {integers:,} integers {different} differ, and {least:.1f} to {most:.1f} % of a layer's neurons fire."),),
    ),
    "CIFAR-10 training": Figure(
        BUNDLED,
        (
            Phrase(
                CIFAR,
                "at step 1000 of {steps}, after {epochs:.1f} epochs on a fraction of one core, with the learning rate at {rate:.0f} %",
            ),
        ),
    ),
}

_CLI = "tests/cli/test_bundled.py"
_EVENTS = "tests/cli/test_real_recordings.py"


def _recording(row: str) -> Figure:
    return Figure(_EVENTS, (Phrase("docs/events.md", f"| {row} | {{events:,}} | {{integers:,}} | {{different}} |"),))


_PARITY = {
    "firing rates": Figure(_CLI, (Phrase("docs/c.md", "bundled network's rates ({least:.0f} to {most:.0f} %)"),)),
    "integers on Lava": Figure(
        _CLI, (Phrase("docs/lava.md", "on all 256 of its pictures: {integers:,} integers compared on Lava, {different} different."),)
    ),
    "integers on Lava's own processes": Figure(
        _CLI, (Phrase("docs/lava.md", "are lowered, {different} of {integers:,} integers differ."),)
    ),
    "recording: sample_nmnist.bin": _recording("N-MNIST, `.bin` | 34x34"),
    "recording: sample_ncars.dat": _recording("N-Cars, `.dat` | 120x100"),
    "recording: sample.aedat4": _recording("DVXplorer, `.aedat4` | 320x240"),
}

_ENERGY = {
    "energy: paper": Figure(ENERGY, table="docs/energy.md"),
    "energy: our networks": Figure(ENERGY, table="docs/energy.md"),
    "energy: ablation": Figure(ENERGY, table="docs/energy.md"),
    "what the paper's table says": Figure(
        ENERGY,
        (
            Phrase("docs/energy.md", "fixes the product of the two, {least:.2f} to {most:.2f} nJ."),
            Phrase("docs/energy.md", "`N^2 D` = {operations:,} operations, those of `A V` in one time step, E_AC is {accumulate:.4f} pJ"),
            Phrase("docs/energy.md", "With {float32} pJ the number of operations would be {other:,.0f}, which"),
            Phrase("docs/energy.md", "From the sparsities alone the third is {third:.2f} %, which is not {printed:.1f}."),
        ),
    ),
    "energy constants": Figure(
        ENERGY,
        (
            Phrase("docs/energy.md", "| `int8` (default) | {integer_ac} pJ | {integer_mac} pJ |"),
            Phrase("docs/energy.md", "| `float32` | {float_ac} pJ | {float_mac} pJ |"),
        ),
    ),
    "where the energy goes": Figure(
        ENERGY,
        (
            Phrase("docs/energy.md", "products of attention are {attention:.1f} % of its energy"),
            Phrase("docs/energy.md", "which read sums of spikes, take {mlp:.0f} %."),
        ),
    ),
    "what the parts save": Figure(
        ENERGY,
        (
            Phrase(
                "docs/energy.md",
                "{first:.0f} and {second:.0f} % in the two blocks with windows, {bare_first:.0f} and {bare_second:.0f} % without.",
            ),
            Phrase("docs/energy.md", "Of the whole network's energy it is {whole:.1f} and {bare_whole:.1f} %."),
            Phrase("docs/energy.md", "The windows' additions take {windows:.1f} % of the energy."),
        ),
    ),
}

_LIMITS = {
    "limits": Figure(
        LIMITS,
        (
            Phrase("SECURITY.md", "may expand to {expansion} MiB and {times} times its size"),
            Phrase("SECURITY.md", "with {unpacking} s of computing (and 1 s a MiB) and {space} GiB (and four times the file)"),
            Phrase("docs/events.md", "and take {space} GiB and four times the file"),
            Phrase("docs/events.md", "hold all events in memory, at most {events:,};"),
            Phrase("SECURITY.md", "expands beyond {nodes:,} nodes"),
            Phrase("docs/lava.md", "within its deadline: {start:.0f} seconds, and {step:.0f} for each time step of each sample"),
        ),
    ),
    "limits of the fuzzer": Figure(LIMITS, (Phrase("SECURITY.md", "may take {memory} GiB of address space beyond its imports"),)),
    "defaults": Figure(
        LIMITS,
        (
            Phrase("docs/bits.md", "(`--samples`, {bits:,} unless said otherwise)"),
            Phrase("docs/analyze.md", "`--samples` is {analyze} unless said otherwise"),
            Phrase("docs/cluster.md", "of a fixed size ({evaluated}, {verified} and {analyzed} samples)"),
        ),
    ),
    "bytes of a picture": Figure(BUNDLED, (Phrase("examples/c_program/README.md", "A picture is {bytes} bytes"),)),
    "versions": Figure(
        LIMITS,
        (
            Phrase("README.md", "| ONNX Runtime {ort} | as exported |"),
            Phrase("README.md", "| onnx ReferenceEvaluator {onnx} |"),
            Phrase("README.md", "| onnxruntime-web {web} (WebAssembly, Node) |"),
            Phrase("README.md", "| OpenVINO {openvino} (CPU) |"),
            Phrase("README.md", "| Lava {lava}, Python"),
            Phrase("docs/onnx.md", "| ONNX Runtime {ort}, CPU |"),
            Phrase("docs/onnx.md", "| onnx ReferenceEvaluator {onnx} |"),
            Phrase("docs/onnx.md", "| onnxruntime-web {web}, WebAssembly under Node |"),
            Phrase("docs/onnx.md", "| OpenVINO {openvino}, CPU |"),
            Phrase("docs/lava.md", "Lava's last release is {lava} and"),
        ),
    ),
}

RECORDED = "tests/benchmarks/test_recorded.py"
_SPEED = {
    "benchmarks: peers": Figure(RECORDED, table="benchmarks/README.md"),
    "benchmarks: scaling": Figure(RECORDED, table="benchmarks/README.md"),
    "benchmarks: startup": Figure(RECORDED, table="benchmarks/README.md"),
    "benchmarks: stepping": Figure(RECORDED, table="docs/native.md"),
    "benchmarks, in short": Figure(
        RECORDED,
        (Phrase("README.md", "{integers:.1f} times stock ONNX Runtime on the same integers, {eager:.0f} times PyTorch, on one core"),),
    ),
}

FIGURES: dict[str, Figure] = {**_SPEED, **_SIZES, **_ACCURACY, **_PARITY, **_ENERGY, **_LIMITS, **TRUSTED}
