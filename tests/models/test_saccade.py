import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from ds2ta_deploy.models.saccade import IntegerSaccade, Saccade, decoupled_agreement


def saccade(matrix, threshold, gain=None):
    """Return a float64 saccadic neuron with everything given."""
    made = Saccade(len(matrix), learned_gain=gain is not None).double()
    made.matrix.data = torch.tensor(matrix, dtype=torch.float64)
    made.threshold.data = torch.tensor(threshold, dtype=torch.float64)
    if gain is not None:
        made.gain.data = torch.tensor(float(gain), dtype=torch.float64)
    return made


def by_definition(matrix, threshold, relevance, gain=1):
    """Spikes of one token in Python integers."""
    return [int(sum(matrix[t][u] * gain * relevance[u] for u in range(t + 1)) >= threshold[t]) for t in range(len(matrix))]


@st.composite
def neurons(draw, diagonal=None):
    steps = draw(st.integers(1, 5))
    numbers = st.integers(-6, 6)
    matrix = draw(st.lists(st.lists(numbers, min_size=steps, max_size=steps), min_size=steps, max_size=steps))
    if diagonal is not None:
        for t in range(steps):
            matrix[t][t] = draw(diagonal)
    threshold = draw(st.lists(numbers, min_size=steps, max_size=steps))
    tokens = draw(st.lists(st.lists(st.integers(0, 9), min_size=steps, max_size=steps), min_size=1, max_size=4))
    return matrix, threshold, tokens


def as_relevance(tokens):
    """``[T, 1, N]`` from one list of T numbers a token."""
    return torch.tensor(tokens, dtype=torch.float64).T[:, None, :]


@given(neurons(), st.sampled_from([None, 2, -1]))
def test_the_causal_sum_compared_with_a_threshold_a_step(neuron, gain):
    matrix, threshold, tokens = neuron
    spikes = saccade(matrix, threshold, gain)(as_relevance(tokens))
    expected = [by_definition(matrix, threshold, token, 1 if gain is None else gain) for token in tokens]
    assert spikes[:, 0].T.int().tolist() == expected


@given(neurons())
def test_the_integer_neuron_is_the_same(neuron):
    matrix, threshold, tokens = neuron
    integer = IntegerSaccade(torch.tensor(matrix).tril(), torch.tensor(threshold))
    assert torch.equal(integer(as_relevance(tokens)), saccade(matrix, threshold)(as_relevance(tokens)))


def test_a_later_step_changes_no_earlier_spike():
    neuron, relevance = saccade([[1, 9, 9], [-1, 1, 9], [1, -2, 1]], [2, 0, 1]), torch.arange(12.0).double().view(3, 1, 4)
    later = relevance.clone()
    later[2] += 5
    assert torch.equal(neuron(relevance)[:2], neuron(later)[:2])
    assert not torch.equal(neuron(relevance)[2], neuron(later)[2])


@given(st.lists(st.integers(1, 8), min_size=1, max_size=5), st.data())
def test_decoupling_a_diagonal_matrix_loses_nothing(diagonal, data):
    # Powers of two: dividing by them is exact, so that ties stay ties.
    matrix = torch.diag(torch.tensor([float(2**entry) for entry in diagonal])).tolist()
    threshold = data.draw(st.lists(st.integers(-6, 40), min_size=len(diagonal), max_size=len(diagonal)))
    tokens = data.draw(st.lists(st.lists(st.integers(0, 9), min_size=len(diagonal), max_size=len(diagonal)), min_size=1, max_size=4))
    assert decoupled_agreement(saccade(matrix, threshold), as_relevance(tokens)) == 1.0


def test_decoupling_a_negative_diagonal_turns_the_comparison_round():
    """-q >= -1 is q <= 1; decoupled it would be q >= 1."""
    assert decoupled_agreement(saccade([[-1]], [-1]), as_relevance([[0], [1], [2]])) == 1 / 3


def test_decoupling_a_triangular_matrix_gives_another_neuron():
    """M = [[1, 0], [1, 1]], V_th = (1, 1): the second step needs q1 + q2 >= 1; decoupled it needs q2 >= 0, and always fires."""
    neuron, tokens = saccade([[1, 0], [1, 1]], [1, 1]), [[0, 0], [0, 1], [1, 0], [1, 1]]
    spikes = neuron(as_relevance(tokens))[:, 0].T.int().tolist()
    assert spikes == [[0, 0], [0, 1], [1, 1], [1, 1]]
    # Decoupled: q1 >= 1 and q2 >= 0. Of eight spikes one differs: the silent token's second.
    decoupled = [[int(one >= 1), int(two >= 0)] for one, two in tokens]
    assert sum(a != b for mine, other in zip(spikes, decoupled, strict=True) for a, b in zip(mine, other, strict=True)) == 1
    assert decoupled_agreement(neuron, as_relevance(tokens)) == 7 / 8


@given(neurons(diagonal=st.sampled_from([1, -1])))
def test_the_agreement_counts_what_the_decoupled_comparison_gets_right(neuron):
    # With ones on the diagonal the inverse is an integer matrix: forward substitution in Python integers is exact.
    matrix, threshold, tokens = neuron
    folded = []
    for t in range(len(matrix)):
        rest = threshold[t] - sum(matrix[t][u] * folded[u] for u in range(t))
        folded.append(rest * matrix[t][t])
    expected = [by_definition(matrix, threshold, token) for token in tokens]
    equal = [int(token[t] >= folded[t]) == spikes[t] for token, spikes in zip(tokens, expected, strict=True) for t in range(len(matrix))]
    assert decoupled_agreement(saccade(matrix, threshold), as_relevance(tokens)) == sum(equal) / len(equal)
