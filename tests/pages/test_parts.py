from hypothesis import given
from hypothesis import strategies as st

from ds2ta_deploy.pages.parts import percent, spread


@given(st.integers(1, 500), st.integers(1, 40))
def test_what_is_chosen_is_there_in_order_and_spans_all(count, most):
    chosen = spread(count, most)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(count, most)
    assert chosen[0] == 0
    assert most == 1 or chosen[-1] == count - 1


@given(st.floats(0, 1))
def test_a_share_that_is_not_zero_is_never_shown_as_zero(share):
    assert (percent(share) == "0 %") == (100 * share == 0)
