"""Graph to operations of the native library: which of its kinds each population is."""

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Op
from ds2ta_deploy.graph.populations import Population, group
from ds2ta_deploy.runtimes.native import streams
from ds2ta_deploy.runtimes.native.fused import encoder, population_step, readout
from ds2ta_deploy.runtimes.native.layout import layouts_of
from ds2ta_deploy.runtimes.native.residual import add_in_place
from ds2ta_deploy.runtimes.native.steps import Step, Translation


def translate(graph: Graph) -> Translation:
    """Turn every population into one operation, or where the library has none for the whole of it, every op into one.

    Raises:
        UnsupportedError: DS2TA-243 for each population that cannot be run.

    """
    tables = {op.outputs[0]: op for op in graph if isinstance(op, ops.InputTable) and op.inputs[0] == graph.input_name}
    translation = Translation([], {}, layouts_of(graph))
    problems = []
    for population in group(graph):
        if population.ops[0].outputs[0] in tables:
            continue  # part of the first layer
        steps = _steps(graph, population, tables, translation)
        if steps is None:
            kinds = ", ".join(type(op).__name__ for op in population.ops)
            problems.append(Problem("DS2TA-243", f"the native library has no kind of operation for {kinds}", population.name))
        else:
            translation.steps += steps
    problems = problems or _unfit(graph, translation)
    if problems:
        raise UnsupportedError(problems)
    add_in_place(translation)
    return translation


def _unfit(graph: Graph, translation: Translation) -> list[Problem]:
    """Name what the library would not see: inputs that no operation makes, other time steps, values that it cannot tell."""
    layouts, made = translation.layouts, {step.output for step in translation.steps if step.output}
    told = {name for name in translation.alias if translation.memory_of(name) in made}
    told = {*told, *made, graph.output}.union(*(step.inner.values() for step in translation.steps))
    steps = time_steps(translation)
    problems = []
    for step in translation.steps:
        unmade = [name for name in map(translation.memory_of, step.inputs) if name and name not in made]
        problems += [
            Problem("DS2TA-243", f"the native library cannot read {name!r} without a neuron before it", step.name) for name in unmade
        ]
        if step.output and layouts[step.output].planes and layouts[step.output].steps != steps:
            problems.append(Problem("DS2TA-243", f"the native library runs every neuron for the same {steps} time steps", step.name))
    too_wide = [op.name for op in graph if _is_too_wide(graph, op)]
    problems += [Problem("DS2TA-243", "the parts of its weights have sums that 32 bits may not hold", name) for name in too_wide]
    problems += [Problem("DS2TA-243", "the native library cannot tell this value", name) for name in graph.observable if name not in told]
    return problems


def _is_too_wide(graph: Graph, op: Op) -> bool:
    """Whether sums of the upper part of weights, a rounded number, may leave 32 bits where those of the weights do not."""
    if not isinstance(op, ops.Linear | ops.Conv2d) or graph.types[op.inputs[0]].dtype != "uint8" or op.inputs[0] == graph.input_name:
        return False
    first, _ = streams.parts_of(op.weight)[0]
    products, counts = graph.ranges[op.outputs[0]], graph.ranges[op.inputs[0]].maximum
    rounded = 2**first * counts * (op.weight.size // op.weight.shape[0]) if first else 0
    return max(-products.minimum, products.maximum) + rounded >= 2**31


def time_steps(translation: Translation) -> int:
    """Return T: the steps of whatever fires, or of everything when nothing does."""
    made = [translation.layouts[step.output] for step in translation.steps if step.output]
    return max((layout.steps for layout in made if layout.planes), default=max((layout.steps for layout in made), default=1))


def _steps(graph: Graph, population: Population, tables: dict[str, ops.InputTable], translation: Translation) -> list[Step] | None:
    whole = population_step(population, tables, translation.layouts)
    if whole is not None:
        return [whole]
    return _apart(graph, list(population.ops), tables, translation)


def _apart(graph: Graph, parts: list[Op], tables: dict[str, ops.InputTable], translation: Translation) -> list[Step] | None:
    """Op by op, but a bias stays with its weights and a window with its neuron."""
    readers: dict[str, list[Op]] = {}
    for op in graph:
        for source in op.inputs:
            readers.setdefault(source, []).append(op)

    def only(op: Op) -> Op | None:
        found = readers.get(op.outputs[0], [])
        return found[0] if len(found) == 1 and found[0] in parts else None

    steps: list[Step] = []
    done: set[str] = set()
    for op in parts:
        if op.name in done:
            continue
        after = only(op)
        made: list[Step] | None
        if isinstance(op, streams.VIEWS):
            translation.alias[op.outputs[0]] = op.inputs[0]
            continue
        if isinstance(op, ops.Linear | ops.Conv2d):
            window = after if isinstance(after, ops.TemporalWindow) and _adds_bias(after, translation) else None
            made = _weighted(op, window, tables, translation)
            done |= {window.name} if window else set()
        elif isinstance(op, ops.TemporalWindow) and isinstance(after, ops.Repeat | ops.Lif):
            last = only(after) if isinstance(after, ops.Repeat) else after
            if isinstance(last, ops.Lif):
                made = [streams.neuron(last, translation.layouts, op.inputs[0], op)]
                done |= {after.name, last.name}
            else:
                made = streams.single(op, translation.layouts)
        else:
            made = readout(graph, op) or streams.single(op, translation.layouts)
        if made is None:
            return None
        steps += made
    return steps


def _adds_bias(window: ops.TemporalWindow, translation: Translation) -> bool:
    """Whether a window does nothing else."""
    return window.guard_bits == 0 and (window.taps == 1 or translation.layouts[window.outputs[0]].still)


def _weighted(
    op: ops.Linear | ops.Conv2d, window: ops.TemporalWindow | None, tables: dict[str, ops.InputTable], translation: Translation
) -> list[Step] | None:
    """Return the operations that add a layer's products, and the window's bias, into a stream; None where the library has none."""
    layouts, source = translation.layouts, op.inputs[0]
    if source in tables:
        return encoder(op, tables[source], window, layouts)
    if source not in layouts or not layouts[source].planes:
        return None
    return streams.weighted(op, window, layouts)
