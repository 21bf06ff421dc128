import numpy as np
import onnx.parser
import pytest

from ds2ta_deploy.exporters.onnx.functions import DOMAIN, FunctionLibrary

DOUBLE = ["y = Add (x, x)"]
NEGATE = ["y = Neg (x)"]


@pytest.fixture
def library():
    return FunctionLibrary()


def add(library, name, body, **changes):
    given = {"inputs": ["x"], "outputs": ["y"], "attributes": [], "about": ""} | changes
    return library.add(name, given["inputs"], given["outputs"], given["attributes"], body, given["about"])


def test_equal_bodies_are_one_function(library):
    assert [add(library, "Double", DOUBLE), add(library, "Double", DOUBLE)] == ["Double", "Double"]
    assert [function.name for function in library.functions] == ["Double"]


def test_another_body_under_the_same_name_gets_a_number(library):
    bodies = [DOUBLE, NEGATE, ["y = Abs (x)"]]
    assert [add(library, "Op", body) for body in bodies] == ["Op", "Op_2", "Op_3"]
    assert [add(library, "Op", body) for body in reversed(bodies)] == ["Op_3", "Op_2", "Op"]
    assert [function.node[0].op_type for function in library.functions] == ["Add", "Neg", "Abs"]


@pytest.mark.parametrize(
    "changes", [{"inputs": ["x", "z"]}, {"outputs": ["y", "x"]}, {"attributes": ["a"]}], ids=["inputs", "outputs", "attributes"]
)
def test_another_signature_is_another_function(library, changes):
    assert add(library, "Double", DOUBLE) == "Double"
    assert add(library, "Double", DOUBLE, **changes) == "Double_2"


def test_a_function_is_of_our_domain_and_says_what_it_is(library):
    add(library, "Double", DOUBLE, about="Twice x.", attributes=["scale"])
    (function,) = library.functions
    assert (function.domain, function.doc_string, list(function.attribute)) == ("ai.ds2ta", "Twice x.", ["scale"])
    assert {opset.domain: opset.version for opset in function.opset_import} == {"": 20, "ai.ds2ta": 1}
    assert (list(function.input), list(function.output)) == (["x"], ["y"])


def test_an_op_marked_with_at_calls_another_function_of_the_library(library, check_function):
    add(library, "Double", DOUBLE)
    name = add(library, "Quadruple", ["half = @Double (x)", "y = @Double (half)"])
    assert [node.domain for node in library.functions[1].node] == [DOMAIN, DOMAIN]
    x = np.array([-3, 0, 7], np.int32)
    check_function(library, name, {"x": x}, {"y": np.array([-12, 0, 28])}, ["int32"])


def test_an_at_in_an_attribute_is_a_reference_to_the_functions_own(library, check_function):
    body = ["k_64 = Constant <value_int: int = @factor> ()", "k = Cast <to = 6> (k_64)", "y = Mul (x, k)"]
    name = add(library, "Scale", body, attributes=["factor"])
    check_function(library, name, {"x": np.array([2, -5], np.int32)}, {"y": np.array([6, -15])}, ["int32"], factor=3)


def test_the_order_is_that_of_the_definitions(library):
    for name in ("A", "B", "A", "C"):
        add(library, name, DOUBLE)
    assert [function.name for function in library.functions] == ["A", "B", "C"]


def test_a_body_that_is_no_onnx_text_is_refused_at_once(library):
    with pytest.raises(onnx.parser.ParseError):
        add(library, "Broken", ["y = ("])
    assert library.functions == []


def test_two_libraries_know_nothing_of_each_other(library):
    add(library, "Double", DOUBLE)
    other = FunctionLibrary()
    assert add(other, "Double", NEGATE) == "Double"
    assert [other.functions[0].node[0].op_type, library.functions[0].node[0].op_type] == ["Neg", "Add"]
