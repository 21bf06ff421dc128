from dataclasses import replace

import numpy as np
import pytest

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Add, Lif, Linear, Lookup, TemporalWindow, ValueType
from ds2ta_deploy.graph.ranges import PROFILES, Profile, ProvenRange, profile_of, prove

COUNTS = ValueType((1, None, 3, 4), "uint8")


def test_the_profiles_are_those_of_the_contract():
    assert {name: (profile.name, profile.state_bits) for name, profile in PROFILES.items()} == {"cpu": ("cpu", 32), "loihi": ("loihi", 24)}


@pytest.mark.parametrize("profile", ["cpu", "loihi"])
def test_the_small_graph_is_proved_under_both(small_graph, profile):
    proven = prove(small_graph, PROFILES[profile])
    assert [entry.name for entry in proven] == list(small_graph.types)
    for entry in proven:
        interval = small_graph.ranges[entry.name]
        assert (entry.low, entry.high, entry.bits) == (interval.minimum, interval.maximum, interval.bits)
        assert entry.limit == {"uint8": 9, "int16": 16, "int32": PROFILES[profile].state_bits}[small_graph.types[entry.name].dtype]
        assert entry.margin == entry.limit - entry.bits >= 0


@pytest.mark.parametrize("bits", [1, 8, 12, 14, 16, 18, 20, 22])
def test_a_profile_too_narrow_names_every_value_that_does_not_fit(small_graph, bits):
    needed = {entry.name: entry.bits for entry in prove(small_graph, PROFILES["cpu"]) if small_graph.types[entry.name].dtype == "int32"}
    too_wide = {name for name, need in needed.items() if need > bits}
    assert too_wide
    with pytest.raises(UnsupportedError) as caught:
        prove(small_graph, Profile("narrow", bits))
    problems = caught.value.problems
    assert {problem.code for problem in problems} == {"DS2TA-220"}
    assert {problem.where for problem in problems} == too_wide
    assert len(problems) == len(too_wide)
    for problem in problems:
        interval = small_graph.ranges[problem.where]
        assert f"needs {needed[problem.where]} bits" in problem.what
        assert f"grants {bits}" in problem.what
        assert f"[{interval.minimum}, {interval.maximum}]" in problem.what


def test_the_widest_value_decides_and_one_bit_less_is_refused(small_graph):
    widest = max(entry.bits for entry in prove(small_graph, PROFILES["cpu"]) if small_graph.types[entry.name].dtype == "int32")
    prove(small_graph, Profile("just", widest))
    with pytest.raises(UnsupportedError, match="DS2TA-220"):
        prove(small_graph, Profile("less", widest - 1))


def test_a_graph_says_under_which_profile_it_was_frozen(small_graph):
    assert profile_of(small_graph) is PROFILES["cpu"]  # made by hand, and silent
    assert profile_of(replace(small_graph, facts={"profile": "loihi"})) is PROFILES["loihi"]


@pytest.mark.parametrize("name", ["gpu", "", 3])
def test_a_profile_that_is_not_known_is_refused(small_graph, name):
    with pytest.raises(UnsupportedError, match=rf"DS2TA-212 \[small\].*{name!r}.*cpu, loihi"):
        profile_of(replace(small_graph, facts={"profile": name}))


def test_margin():
    assert ProvenRange("v", 0, 1, 2, 24).margin == 22
    assert ProvenRange("v", 0, 1, 26, 24).margin == -2


def sums(times: int) -> Graph:
    """Return a graph whose output is a spike times ``2 ** times``."""
    product = Linear("l", ("x",), ("p",), np.eye(4, dtype=np.int8))
    spike = Lif("n", ("p",), ("v0", "m"), np.ones(4, np.int32), 1, 1)
    adds = [Add(f"add{i}", (f"v{i}", f"v{i}"), (f"v{i + 1}",)) for i in range(times)]
    return Graph("g", "x", COUNTS, (product, spike, *adds), f"v{times}", 1.0)


def test_a_count_may_fill_its_byte_and_no_more():
    assert prove(sums(7), PROFILES["cpu"])[-1].high == 128
    with pytest.raises(UnsupportedError) as caught:
        prove(sums(8), PROFILES["cpu"])
    (problem,) = caught.value.problems
    assert (problem.code, problem.where) == ("DS2TA-220", "v8")
    assert "[0, 256]" in problem.what


def test_a_count_of_exactly_255_fits():
    # 1 + 2 + 4 + ... + 128
    more = [Add(f"more{i}", ("v0" if i == 1 else f"w{i}", f"v{i}"), (f"w{i + 1}",)) for i in range(1, 8)]
    full = Graph("g", "x", COUNTS, (*sums(7).ops, *more), "w8", 1.0)
    last = prove(full, PROFILES["cpu"])[-1]
    assert (last.name, last.high, last.margin) == ("w8", 255, 0)


@pytest.mark.parametrize(("bits", "fits"), [(24, True), (23, False)])
def test_signed_state_of_exactly_its_bits_fits(bits, fits):
    # 4 inputs of 0..255 times -128 reach -130,560; << 6 is -8,355,840: 24 bits.
    product = Linear("l", ("x",), ("p",), np.full((1, 4), -128, np.int8))
    shifted = TemporalWindow("w", ("p",), ("z",), np.zeros(1, np.int32), 1, 0, 6)
    graph = Graph("g", "x", COUNTS, (product, shifted), "z", 1.0)
    if fits:
        assert prove(graph, Profile("p", bits))[-1].low == -8_355_840
    else:
        with pytest.raises(UnsupportedError, match="DS2TA-220"):
            prove(graph, Profile("p", bits))


def test_a_state_beyond_32_bits_is_found_and_not_wrapped():
    product = Linear("l", ("x",), ("p",), np.full((1, 4), 127, np.int8))
    shifted = TemporalWindow("w", ("p",), ("c",), np.zeros(1, np.int32), 1, 0, 16)
    neuron = Lif("n", ("c",), ("s", "z"), np.array([2**31 - 1], np.int32), 1, 1)
    graph = Graph("g", "x", COUNTS, (product, shifted, neuron), "z", 1.0)
    with pytest.raises(UnsupportedError) as caught:
        prove(graph, PROFILES["cpu"])
    (problem,) = caught.value.problems  # what is behind it reckons with what 32 bits can hold
    assert problem.where == "c"
    assert f"[0, {(4 * 255 * 127) << 16}]" in problem.what


def test_a_table_index_that_could_leave_its_table_fails_the_proof(small_graph):
    def shortened(op):
        return replace(op, table=op.table[:, :4]) if isinstance(op, Lookup) else op

    graph = replace(small_graph, ops=tuple(shortened(op) for op in small_graph))
    with pytest.raises(UnsupportedError) as caught:
        prove(graph, PROFILES["cpu"])
    assert [(problem.code, problem.where) for problem in caught.value.problems] == [("DS2TA-221", "blocks.0.attn.denoiser")]
