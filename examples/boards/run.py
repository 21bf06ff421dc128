"""Build the self-test of an exported network for two microcontroller boards, and run it on their emulators.

    python examples/boards/run.py OUT/c

Needs a cross compiler and an emulator for each board (``install.sh`` puts Debian's in place). Prints what the self-test
says, and the sizes the compiler made; both must be what was announced.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent

#: Seconds that one run may take; it takes a few.
DEADLINE = 300

FLAGS = ("-std=gnu99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffreestanding", "-ffunction-sections", "-fdata-sections")
LINK = ("-nostdlib", "-Wl,--gc-sections", "-Wl,--fatal-warnings", f"-L{HERE}")
MODEL = ("model.c", "model_data.c", "ds2ta_kernels.c")


@dataclass(frozen=True)
class Board:
    """A board: how to compile for it, and how to emulate it.

    Attributes:
        name: for people; also the name of its linker script.
        prefix: of the cross compiler's programs.
        target: arguments that choose the processor.
        emulator: program and arguments; the file to run comes last.

    """

    name: str
    prefix: str
    target: tuple[str, ...]
    emulator: tuple[str, ...]

    @property
    def missing(self) -> list[str]:
        """Programs that are not installed."""
        return [program for program in (f"{self.prefix}gcc", self.emulator[0]) if shutil.which(program) is None]


_QEMU = ("-nographic", "-monitor", "none", "-serial", "null", "-semihosting-config", "enable=on,target=native")

BOARDS = (
    Board(
        "cortex-m7",
        "arm-none-eabi-",
        ("-mcpu=cortex-m7", "-mthumb"),
        ("qemu-system-arm", "-M", "mps2-an500", *_QEMU, "-kernel"),
    ),
    Board(
        "riscv32",
        "riscv64-unknown-elf-",
        ("-march=rv32imac", "-mabi=ilp32"),
        ("qemu-system-riscv32", "-M", "virt", "-bios", "none", *_QEMU, "-kernel"),
    ),
)


def build(board: Board, code: Path, folder: Path, *, trace: bool = True) -> Path:
    """Compile the self-test for a board, warnings being errors; with ``trace`` it compares every value."""
    port = compile_one(board, HERE / "port.c", code, folder, "-fno-tree-loop-distribute-patterns")
    defined = ("-DDS2TA_TRACE",) if trace else ()
    sources = [*MODEL, "selftest.c", "selftest_data.c"]
    objects = [compile_one(board, code / name, code, folder, *defined) for name in sources]
    program = folder / f"{board.name}.elf"
    run([f"{board.prefix}gcc", *board.target, *LINK, "-T", HERE / f"{board.name}.ld", port, *objects, "-lgcc", "-o", program])
    return program


def compile_one(board: Board, source: Path, code: Path, folder: Path, *flags: str) -> Path:
    """Compile one file."""
    made = folder / f"{source.stem}.o"
    run([f"{board.prefix}gcc", *board.target, *FLAGS, *flags, f"-I{code}", "-c", source, "-o", made])
    return made


def emulate(board: Board, program: Path) -> tuple[int, str]:
    """Run a program on the emulated board; returns its exit code and what it said."""
    done = subprocess.run(  # noqa: S603 - the emulator of the board
        [*board.emulator, program], capture_output=True, text=True, timeout=DEADLINE, check=False, stdin=subprocess.DEVNULL
    )
    return done.returncode, done.stdout + done.stderr


def sizes(board: Board, code: Path, folder: Path) -> dict[str, int]:
    """What the compiler made of the network alone: bytes of constants, of state, of code."""
    for name in MODEL:
        compile_one(board, code / name, code, folder)
    probe = folder / "probe.c"
    probe.write_text('#include "model.h"\nextern ds2ta_state probe;\nds2ta_state probe;\n')
    state = sections(board, compile_one(board, probe, code, folder))
    code_sections = [sections(board, folder / f"{Path(name).stem}.o") for name in ("model.c", "ds2ta_kernels.c")]
    return {
        "ROM": sum(size for name, size in sections(board, folder / "model_data.o").items() if "rodata" in name),
        "RAM": sum(size for name, size in state.items() if "bss" in name),
        "code": sum(size for found in code_sections for name, size in found.items() if name.startswith((".text", ".rodata", ".srodata"))),
    }


def sections(board: Board, made: Path) -> dict[str, int]:
    """Sizes of an object file's sections."""
    table = run([f"{board.prefix}size", "-A", made])
    return {name: int(size) for name, size in re.findall(r"^(\.\S+)\s+(\d+)", table, re.MULTILINE)}


def announced(code: Path) -> dict[str, int]:
    """The sizes that ``model.h`` announces."""
    header = (code / "model.h").read_text()
    return {kind: int(re.findall(rf"#define DS2TA_{kind}_BYTES (\d+)u", header)[0]) for kind in ("ROM", "RAM")}


def run(command: list[object]) -> str:
    """Run a command that has to succeed."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)  # noqa: S603 - compilers
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> int:
    """Run the self-test on every board that can be emulated here; 0: PASS everywhere, and the sizes are as announced."""
    code, passed = Path(sys.argv[1]).resolve(), True
    for board in BOARDS:
        if board.missing:
            print(f"{board.name}: NOT run, {' and '.join(board.missing)} missing: examples/boards/install.sh")
            passed = False
            continue
        for trace in (True, False):
            with tempfile.TemporaryDirectory() as folder:
                result, said = emulate(board, build(board, code, Path(folder), trace=trace))
                print(f"{board.name}, {'every value' if trace else 'logits alone'}: {said.strip()}".replace("\n", "; "))
                passed &= result == 0 and "PASS" in said
        with tempfile.TemporaryDirectory() as folder:
            found, told = sizes(board, code, Path(folder)), announced(code)
        print(f"{board.name}: {', '.join(f'{kind} {size:,} bytes' for kind, size in found.items())}; announced {told}")
        passed &= all(found[kind] == size for kind, size in told.items())
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
