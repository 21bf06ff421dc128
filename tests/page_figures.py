"""The figures of the pages: in which words each stands, and which test measures it.

The tests are fast, slow (``make test-slow``) or long (``make faults``); those of ``tests/docs`` measure what is about pages only.
"""

from figures import Figure, Phrase

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
    "top-1 of other families": Figure(
        ACCURACY, (Phrase(FASHION, "{spikformer:.1f} and {statten:.1f} % of the 10,000 test images in integers"),)
    ),
    "a threshold a layer": Figure(
        ACCURACY,
        (
            Phrase(
                "docs/lava.md",
                "top-1 on the 10,000 test pictures is {percent:.2f} % either way ({changed} decisions differ, {right} right on each side only)",
            ),
        ),
    ),
    "formats under a budget": Figure(
        ACCURACY, (Phrase("docs/bits.md", "chooses {bytes:,} bytes; {changed} of the 500 decisions change, and the top-1 on these does not."),)
    ),
    "events": Figure(
        ACCURACY,
        (
            Phrase("examples/events/README.md", "| float, PyTorch (`ds2ta eval mine.safetensors …`) | {floating:.2f} % |"),
            Phrase("examples/events/README.md", "| integers, ONNX Runtime (`ds2ta eval mine …`) | {integers:.2f} % |"),
            Phrase("examples/events/README.md", "300 ms, {events:,.0f} events on average"),
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
        (Phrase(CIFAR, "stopped at step 1000 of {steps}, after {epochs:.1f} epochs on a fraction of one core, with the learning rate at {rate:.0f} %"),),
    ),
}

FIGURES: dict[str, Figure] = {**_SIZES, **_ACCURACY}
