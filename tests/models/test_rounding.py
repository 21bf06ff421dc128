import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from ds2ta_deploy.models.rounding import straight_through


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(-3, 3))
def test_the_value_is_the_rounded_one_and_the_gradient_that_of_the_value(numbers, factor):
    leaf = torch.tensor(numbers, dtype=torch.float64, requires_grad=True)
    value = leaf * factor
    passed = straight_through(value, value.round())
    assert passed.tolist() == [float(round(number * factor)) for number in numbers]  # half to even, both
    passed.sum().backward()
    assert leaf.grad.tolist() == [factor] * len(numbers)
