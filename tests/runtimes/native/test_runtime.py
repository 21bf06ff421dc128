import threading
from pathlib import Path

import builders
import numpy as np
import pytest
from builders import assert_fires
from native_support import Recipe, assert_native_equal, build, needs_library, provable
from support import assert_all_equal, frozen

from ds2ta_deploy.errors import InputError, UsageError
from ds2ta_deploy.runtimes.native import library
from ds2ta_deploy.runtimes.native.runtime import NativeRuntime
from ds2ta_deploy.runtimes.reference import ReferenceRuntime
from ds2ta_deploy.runtimes.table import open_runtime

pytestmark = needs_library

THREADS = (1, 2, 3, 5)


@pytest.fixture(scope="module", params=[True, False], ids=["pictures", "frames"])
def network(request):
    """Return the graph with every op, and a function from a batch size to inputs."""
    graph = builders.build_small_graph(still=request.param)
    inputs = builders.small_inputs(still=request.param)
    return graph, lambda batch: np.take(inputs, range(batch), axis=0 if request.param else 1, mode="wrap")


def sets():
    """Return the instruction sets that work here; the module is skipped without the library."""
    return library.instruction_sets() if library.library_path() else ()


def test_the_scalar_definition_is_always_there():
    assert library.instruction_sets()[0] == "scalar"


@pytest.mark.parametrize("instruction_set", sets())
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_every_value_equals_the_graphs_own_execution(network, instruction_set, batch):
    graph, inputs = network
    expected = ReferenceRuntime(graph).trace(inputs(batch), graph.observable)
    if batch >= 3:
        assert_fires(expected)
    for threads in THREADS:
        runtime = NativeRuntime(graph, threads, instruction_set)
        assert runtime.plan.instruction_set == instruction_set
        assert_all_equal(expected, runtime.trace(inputs(batch), graph.observable))


def test_only_what_is_wanted_is_kept_and_always_the_output(network):
    graph, inputs = network
    runtime, expected = NativeRuntime(graph), ReferenceRuntime(graph).trace(inputs(2), graph.observable)
    assert set(runtime.trace(inputs(2), ())) == {"head.logits"}
    for name in graph.observable:
        assert_all_equal({key: expected[key] for key in {name, "head.logits"}}, runtime.trace(inputs(2), [name]))


def test_one_plan_runs_batches_of_any_size_one_after_the_other(network):
    graph, inputs = network
    runtime = NativeRuntime(graph, 2)
    for batch in (5, 1, 8, 1, 0, 3):
        assert_all_equal(ReferenceRuntime(graph).trace(inputs(batch), graph.observable), runtime.trace(inputs(batch), graph.observable))


def test_inputs_need_not_be_contiguous_or_writable(network):
    graph, inputs = network
    wide = np.repeat(inputs(4), 2, axis=-1)
    wide.flags.writeable = False
    assert_all_equal(NativeRuntime(graph).trace(inputs(4), ()), NativeRuntime(graph).trace(wide[..., ::2], ()))


@pytest.mark.parametrize("threads", [1, 3])
def test_one_runtime_may_be_shared_by_several_callers(network, threads):
    graph, inputs = network
    runtime, expected = NativeRuntime(graph, threads), ReferenceRuntime(graph).trace(inputs(8), graph.observable)
    wrong = []

    def call(sample):
        axis = graph.input_type.shape.index(None)
        for _ in range(10):
            found = runtime.trace(inputs(8).take([sample], axis), ["head.logits"])["head.logits"]
            if not np.array_equal(found, expected["head.logits"][[sample]]):
                wrong.append(sample)

    callers = [threading.Thread(target=call, args=(sample,)) for sample in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


def test_several_runtimes_run_at_once(network):
    graph, inputs = network
    runtimes = [NativeRuntime(graph, threads, instruction_set) for threads in (1, 2) for instruction_set in sets()]
    expected, found = ReferenceRuntime(graph).trace(inputs(5), graph.observable), {}

    def call(number):
        for _ in range(5):
            found[number] = runtimes[number].trace(inputs(5), graph.observable)

    callers = [threading.Thread(target=call, args=(number,)) for number in range(len(runtimes))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for number in range(len(runtimes)):
        assert_all_equal(expected, found[number])


def test_it_opens_by_name_from_an_artifact(network, monkeypatch):
    graph, inputs = network
    monkeypatch.setenv(library.ISA, "scalar")
    monkeypatch.setenv(library.THREADS, "3")

    class Opened:
        pass

    Opened.graph = graph
    runtime = open_runtime("native", Opened)
    assert (runtime.name, runtime.plan.instruction_set) == ("native", "scalar")
    assert_all_equal(ReferenceRuntime(graph).trace(inputs(3), ()), runtime.trace(inputs(3), ()))


def test_unknown_values_and_unfit_inputs_are_refused(network):
    graph, inputs = network
    runtime = NativeRuntime(graph)
    with pytest.raises(UsageError, match=r"DS2TA-505 \[nothing\]"):
        runtime.trace(inputs(1), ["nothing"])
    with pytest.raises(InputError, match="DS2TA-120"):
        runtime.trace(inputs(1).astype(np.int16), ())
    with pytest.raises(InputError, match="DS2TA-121"):
        runtime.trace(inputs(1)[..., :1], ())


def test_a_plan_tells_what_it_holds_and_how_long_each_operation_took(network):
    graph, inputs = network
    plan = NativeRuntime(graph).plan
    took = np.full(len(plan.populations), -1, np.int64)
    plan.run(inputs(8), (), took)
    assert plan.populations[-1] == "head"
    assert (took >= 0).all()
    assert took.sum() > 0
    weights = sum(op.weight.nbytes for op in graph if hasattr(op, "weight"))
    assert weights < plan.memory < 2**20


def test_many_plans_come_and_go(network):
    graph, inputs = network
    expected = ReferenceRuntime(graph).trace(inputs(1), ())
    for _ in range(50):
        assert_all_equal(expected, NativeRuntime(graph, 2).trace(inputs(1), ()))


def test_the_graph_may_go_once_the_plan_is_made():
    # The arrays are copied: what the graph held may be written over.
    graph, inputs = build(Recipe(seed=4))
    expected = ReferenceRuntime(graph).trace(inputs, ())
    runtime = NativeRuntime(graph)
    for op in graph:
        for name in ("weight", "table", "bias", "threshold"):
            if hasattr(op, name):
                getattr(op, name)[...] = 1
    assert_all_equal(expected, runtime.trace(inputs, ()))


def test_facts_of_freezing_make_no_difference(network):
    graph, inputs = network
    assert_all_equal(NativeRuntime(graph).trace(inputs(2), ()), NativeRuntime(frozen(graph)).trace(inputs(2), ()))


def test_a_frozen_network(tiny_graph, tiny_inputs):
    assert provable(tiny_graph)
    assert_fires(assert_native_equal(tiny_graph, tiny_inputs, (1, 3)))


@pytest.mark.slow
def test_the_bundled_network_on_every_instruction_set():
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    from ds2ta_deploy.checkpoints import load_checkpoint
    from ds2ta_deploy.freezing import freeze
    from ds2ta_deploy.quantization import quantize

    folder = Path(__file__).parents[3] / "examples" / "fashion_mnist"
    graph = freeze(quantize(load_checkpoint(folder / "ds2ta-2-64.safetensors")))
    pictures = np.load(folder / "ds2ta-2-64.npz")["images"]
    for batch in (1, 3, 8):
        assert_native_equal(graph, pictures[:batch], (1, 2))
    assert_fires(assert_native_equal(graph, pictures[:64], (1, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["ds2ta-4-384", "ds2ta-2-256"])
def test_the_papers_networks_on_every_instruction_set(preset):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    from ds2ta_deploy.freezing import freeze
    from ds2ta_deploy.models.calibration import random_network
    from ds2ta_deploy.models.presets import PRESETS
    from ds2ta_deploy.quantization import quantize

    graph = freeze(quantize(random_network(PRESETS[preset], seed=1)))
    inputs = builders.pixels_for(PRESETS[preset], 8, seed=2)
    axis = graph.input_type.shape.index(None)
    assert_fires(assert_native_equal(graph, inputs.take(range(3), axis), (1, 2)))
    expected = ReferenceRuntime(graph).trace(inputs, ())
    for instruction_set in sets():
        runtime = NativeRuntime(graph, 2, instruction_set)
        assert_all_equal(expected, runtime.trace(inputs, ()))
        for sample in range(8):
            alone = runtime.trace(inputs.take([sample], axis), ())
            assert np.array_equal(alone["head.logits"][0], expected["head.logits"][sample])
