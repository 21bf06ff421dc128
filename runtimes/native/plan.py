"""A plan of the native library: made once from a graph; in a run the library allocates nothing."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import Problem, UnsupportedError, UsageError
from ds2ta_deploy.graph.arena import Lifetime, arrange
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ranges import PROFILES, prove
from ds2ta_deploy.runtimes.native import library
from ds2ta_deploy.runtimes.native.layout import Layout
from ds2ta_deploy.runtimes.native.steps import Step
from ds2ta_deploy.runtimes.native.translate import time_steps, translate

Trace = dict[str, NDArray[np.integer]]

#: What the library tells as the graph orders it.
_IN_ORDER = ("scores", "denoised", "tabled")

#: Types that the library tells values in.
_STORED = ("uint8", "int32")


class Plan:
    """What the library runs. One call at a time; several plans may run at once, each in its own thread."""

    def __init__(self, graph: Graph, threads: int | None = None, instruction_set: str | None = None) -> None:
        """Translate the graph, arrange its values in an arena, pack its weights.

        Args:
            graph: what to run; a block of time steps, where it shall run step by step.
            threads: how many threads share the work of one call; by default what the environment says, or one.
            instruction_set: one of :func:`library.instruction_sets`; by default what the environment says, or the best.

        Raises:
            MissingRuntimeError: DS2TA-405 when the library is not there.
            UnsupportedError: DS2TA-220 or 221 for what 32 bits or a table cannot hold, DS2TA-243 for what the library cannot run.
            UsageError: DS2TA-513 for an instruction set or a number of threads that cannot be.

        """
        self._library = library.load()
        chosen, threads = library.choose_instruction_set(instruction_set), library.choose_threads(threads)
        prove(graph, PROFILES["cpu"])
        self._graph = graph
        self._translation = translate(graph)
        self._layouts = self._translation.layouts
        self._names = [step.output for step in self._translation.steps if step.output]
        self._inner: dict[str, list[tuple[int, str]]] = {}
        for index, step in enumerate(self._translation.steps):
            for what, name in step.inner.items():
                self._inner.setdefault(name, []).append((len(library.INNER) * index + library.INNER.index(what), what))
        self._batch_axis, output = graph.input_type.shape.index(None), graph.types[graph.output]
        self._classes, self._run = output.shape[-1] or 0, self._library.ds2ta_run
        known = self._translation.memory_of(graph.output) in self._layouts or graph.output in self._inner
        self._output_as_told = not known and output.dtype == "int32" and output.shape == (None, self._classes)  # as every readout's is
        self._time_steps = time_steps(self._translation)
        values, arena = self._values()
        self._arena = arena
        operations = (library.Operation * len(self._translation.steps))(*(self._operation(step) for step in self._translation.steps))
        error = ctypes.create_string_buffer(400)
        self._plan = self._library.ds2ta_plan_new(
            *(self._time_steps, values, len(values), operations, len(operations), arena, threads),
            *(chosen.encode() if chosen else None, error, len(error)),
        )
        if not self._plan:
            what = f"the native library refuses it: {error.value.decode(errors='replace')}"
            raise UnsupportedError(Problem("DS2TA-243", what, graph.name))

    def __del__(self) -> None:
        """Give the memory back."""
        if getattr(self, "_plan", None):
            self._library.ds2ta_plan_free(self._plan)
            self._plan = None

    @property
    def instruction_set(self) -> str:
        """Name of the instruction set whose kernels run."""
        return str(self._library.ds2ta_plan_isa(self._plan).decode())

    @property
    def arena(self) -> int:
        """Bytes in which one sample's values lie; every thread has as many."""
        return self._arena

    @property
    def memory(self) -> int:
        """Bytes held: packed weights, arenas, scratch."""
        return int(self._library.ds2ta_plan_bytes(self._plan))

    @property
    def populations(self) -> list[str]:
        """Names of the operations, in order."""
        return [step.name for step in self._translation.steps]

    @property
    def steps(self) -> list[Step]:
        """The operations, in order."""
        return self._translation.steps

    @property
    def layouts(self) -> dict[str, Layout]:
        """How every value lies in the library's memory."""
        return self._layouts

    @property
    def state_size(self) -> int:
        """Integers of 32 bits that one sample's run remembers."""
        return int(self._library.ds2ta_state_size(self._plan))

    def state_place(self, step: int) -> int:
        """Return where among them those of an operation begin."""
        return int(self._library.ds2ta_state_place(self._plan, step))

    def run(self, inputs: NDArray[np.uint8], wanted: Sequence[str] = (), nanoseconds: NDArray[np.int64] | None = None) -> Trace:
        """Run the inputs and return the wanted values and always the output.

        Args:
            inputs: uint8, the network's input; checked by the caller.
            wanted: names of values.
            nanoseconds: int64, one element an operation, receives the time each took.

        """
        if self._output_as_told and not wanted and nanoseconds is None and inputs.flags.c_contiguous:
            return {self._graph.output: self._only_output(inputs)}
        return self._tell(inputs, wanted, lambda *told: self._library.ds2ta_run(self._plan, *told, _address(nanoseconds)))

    def _only_output(self, inputs: NDArray[np.uint8]) -> NDArray[np.int32]:
        """The shortest way: weights have been through the caches, and all that Python does comes from behind them."""
        batch = inputs.shape[self._batch_axis]
        output = np.zeros((batch, self._classes), np.int32)
        self._run(self._plan, _address(inputs), batch, _address(output), None, None, None)
        return output

    def advance(
        self,
        taken: int,
        state: NDArray[np.int32],
        inputs: NDArray[np.uint8],
        wanted: Sequence[str] = (),
        nanoseconds: NDArray[np.int64] | None = None,
    ) -> Trace:
        """Run the plan's time steps behind others, and return the wanted values and always the output.

        Args:
            taken: time steps before; a multiple of the plan's.
            state: int32 ``[batch, state_size]``, contiguous, on an address that 64 divides: what was remembered, and afterwards what is.
            inputs: as for :meth:`run`.
            wanted: as for :meth:`run`.
            nanoseconds: as for :meth:`run`.

        Raises:
            UsageError: DS2TA-520 when there are no weights for these time steps. Nothing is done then.

        """

        def step(*told: Any) -> None:
            if not self._library.ds2ta_step(self._plan, taken, _address(state), *told, _address(nanoseconds)):
                what = f"cannot go on behind {taken} time steps"
                raise UsageError(Problem("DS2TA-520", what, self._graph.name, "begin again with restart()"))

        return self._tell(inputs, wanted, step)

    def _tell(self, inputs: NDArray[np.uint8], wanted: Sequence[str], call: Callable[..., None]) -> Trace:
        """Make room for what is wanted, let ``call`` fill it, and return it in the graph's order of axes."""
        graph = self._graph
        batch, contiguous = inputs.shape[self._batch_axis], np.ascontiguousarray(inputs)
        made: Trace = {
            name: np.zeros([batch if size is None else size for size in graph.types[name].shape], graph.types[name].dtype)
            for name in dict.fromkeys([*wanted, graph.output])
        }
        told = {name: self._room(name, batch, made) for name in map(self._translation.memory_of, made) if name in self._layouts}
        inside = {}
        for name in made:
            for _, what in self._inner.get(name, ()):
                inside[name] = made[name] if what in _IN_ORDER else self._room(name, batch, made)
        values = self._addresses(len(self._names), {index: told[name] for index, name in enumerate(self._names) if name in told})
        places = {place: array for name, array in inside.items() for place, _ in self._inner[name]}
        inner = self._addresses(len(library.INNER) * len(self._translation.steps), places)
        call(_address(contiguous), batch, _address(made[graph.output]), values, inner)
        for name in made:
            raw = inside[name] if name in inside else told.get(self._translation.memory_of(name), made[name])
            if raw is not made[name]:
                made[name][...] = self._layouts[name].spread(raw, batch).reshape(made[name].shape)
        return made

    @staticmethod
    def _addresses(count: int, arrays: Mapping[int, NDArray[np.integer]]) -> Any:
        """Return so many addresses, null where there is no array; None where there is none at all."""
        if not arrays:
            return None
        addresses = (ctypes.c_void_p * count)()
        for place, array in arrays.items():
            addresses[place] = array.ctypes.data
        return addresses

    def _room(self, name: str, batch: int, made: Trace) -> NDArray[np.integer]:
        """Return an array that receives a value as the library tells it: the made one, when that is the same."""
        layout, kind = self._layouts[name], self._graph.types.get(name)
        if name in made and layout.form != "heads" and kind is not None and kind.dtype in _STORED:
            return made[name]
        return np.zeros((layout.steps, batch, layout.tokens, layout.channels), np.uint8 if layout.planes else np.int32)

    def _values(self) -> tuple[Any, int]:
        """Describe every value and arrange them in the arena; return the descriptions and the arena's size."""
        steps, memory = self._translation.steps, self._translation.memory_of
        groups = -(-self._time_steps // library.GROUP)
        described, lifetimes = [], []
        for name in self._names:
            layout = self._layouts[name]
            height, width = self._picture(name)
            padded = -(-layout.channels // library.TILE) * library.TILE
            size = layout.rows * layout.channels * 4 if layout.planes == 0 else layout.tokens * padded * layout.planes * groups
            born = next(index for index, step in enumerate(steps) if step.output == name)
            read = [index for index, step in enumerate(steps) if any(memory(source) == name for source in step.inputs)]
            lifetimes.append(Lifetime(size, born, max([born, *read])))
            described.append((height, width, layout.channels, layout.planes))
        offsets, arena = arrange(lifetimes, library.TILE)
        values = [
            library.Value(*entry, offset, self._layouts[name].steps)
            for name, entry, offset in zip(self._names, described, offsets, strict=True)
        ]
        return (library.Value * len(values))(*values), max(arena, library.TILE)

    def _picture(self, name: str) -> tuple[int, int]:
        """Rows and columns of a value: of a picture that its tokens are read as, if there is one."""
        views = [name, *(view for view in self._translation.alias if self._translation.memory_of(view) == name)]
        pictures = {(self._layouts[view].height, self._layouts[view].width) for view in views if self._layouts[view].form == "picture"}
        if len(pictures) > 1:
            raise UnsupportedError(Problem("DS2TA-243", "the native library reads tokens as pictures of one size only", name))
        return pictures.pop() if pictures else (1, self._layouts[name].tokens)

    def _operation(self, step: Step) -> library.Operation:
        """Fill in the structure; the arrays stay alive in the graph and are copied when the plan is made."""
        operation = library.Operation(kind=step.kind, **step.integers)
        operation.inputs = (ctypes.c_int32 * 3)(
            *[self._names.index(self._translation.memory_of(name)) if name else -1 for name in step.inputs], *[-1] * (3 - len(step.inputs))
        )
        operation.output = self._names.index(step.output) if step.output else -1
        for name, array in step.arrays.items():
            step.arrays[name] = np.ascontiguousarray(array)
            setattr(operation, name, step.arrays[name].ctypes.data)
        return operation


def _address(array: NDArray[Any] | None) -> int | None:
    return None if array is None else int(array.__array_interface__["data"][0])
