"""A call as a function of C."""

from dataclasses import dataclass

from ds2ta_deploy.c_code.calls import Call
from ds2ta_deploy.c_code.kernels import Writer
from ds2ta_deploy.c_code.memory import TYPES
from ds2ta_deploy.c_code.program import Program
from ds2ta_deploy.c_code.text import block, identifier, shown


@dataclass(frozen=True)
class Function:
    """A call as a function of C.

    Attributes:
        call: what it runs.
        name: in C.
        reads: names of its arguments besides the state.
        text: its definition.

    """

    call: Call
    name: str
    reads: tuple[str, ...]
    text: str

    def called(self, time: str = "t") -> str:
        """Return the statement that calls it for a time step."""
        arguments = {"frame": "frame", "t": time}
        return f"{self.name}({', '.join(['state', *(arguments[name] for name in self.reads)])});"


def function(program: Program, index: int, call: Call) -> Function:
    """Write the function of a call."""
    writer = Writer(program, call)
    lines = []
    for op in call.ops:
        lines.append(writer.statement(op))
        for name in reversed(op.outputs):
            if name in program.memory.values:
                count = program.layouts[name].row if call.by_row else program.layouts[name].elements
                suffix = TYPES[program.memory.values[name].dtype][0]
                lines.append(f"TRACE_{suffix.upper()}({program.traced.index(name)}u, {writer.place(name)}, {count}u);")
    body = block(lines)
    if call.by_row:
        rows = program.layouts[call.ops[0].outputs[0]].in_memory[0]
        body = f"    for (uint32_t row = 0u; row < {rows}u; row++) {{\n{block(lines, ' ' * 8)}    }}\n"
    parameters = {"frame": "const uint8_t frame[]", "t": "uint32_t t"}
    reads = tuple(name for name in parameters if name in writer.reads)
    name = identifier(call.ops[-1].name, index)
    kinds = ", ".join(type(op).__name__ for op in call.ops)
    heading = f"/* {shown(call.ops[-1].name)}: {kinds} */\nstatic void {name}"
    declared = ", ".join(["ds2ta_state *state", *(parameters[name] for name in reads)])
    return Function(call, name, reads, f"{''.join(writer.shapes)}{heading}({declared})\n{{\n{body}}}\n")
