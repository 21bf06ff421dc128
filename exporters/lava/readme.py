"""The README.md that every Lava export carries: how to run it, and what its files hold."""

#: Formatted with ``name``, ``input`` and ``latency``.
README = """\
# {name}: a spiking transformer as a process graph

Three lines run it. They need Python 3.10 or later and this directory, nothing else:

```
pip install numpy scipy networkx asteval
pip install --ignore-requires-python --no-deps lava-nc==0.10.0
python -m ds2ta_lava inputs.npz trace.npz
```

`inputs.npz` holds uint8 `{input}`; `trace.npz` receives the spikes, counts and logits of every population by name, time
first. `--engine stepper` computes the same integers with NumPy alone. `python -m ds2ta_lava --help` lists the rest.
(lava-nc 0.10.0 is the last release and declares Python 3.10 only; the package mends the one line that later versions
reject while it is being imported, hence the second line's options.)

Time may be as long as one likes: with `--keep LEFT.npz` the inputs are frames `[T, B, H, W, C]` of any T (for a still picture's
network, too), and what is remembered behind the last one is written to that file; `--begin LEFT.npz` goes on from it. The logits
are then the sums of the run's own frames so far, in every time step, without the bias (`ds2ta_lava/remembering.py`).

Lava's simulator checks what the processes compute. Nothing here was run on a chip.

## Files

`graph.json`, schema `ds2ta-lava/1`:

| key | meaning |
|---|---|
| `time_steps` | T: steps of one sample; state (membranes, window histories, running sums) is cleared before each sample |
| `state_bits` | two's-complement bits of every sum, current and membrane; more raises an error, nothing wraps |
| `time_step_contract` | when a process receives and sends |
| `latency` | Lava steps that a run of any number of samples takes beyond its model steps; {latency} here |
| `input` | name, shape of one sample, and whether it is one `still` picture that is shown at every step |
| `output` | name of the logits; real logits are `scale` times the integers |
| `populations` | names of the values that pass between populations |
| `hierarchy` | network, its blocks, their processes |
| `processes` | name, `kind`, `block`, `lowering`, what it receives (port `in_0`, `in_1` …) and sends (`s_out`), its `delay` and `steps` |
| `connections` | out-port to in-port, and the value on the wire |
| `values` | every value: shape of one sample in one step, storage type, and how often a sample has it: T times, once a chunk, once \
for a still picture; 0: at the end |

The kind `Encoder` is the first layer with its table of pixels; it runs outside the cores. `SpikingConv2d`, `SpikingLinear`:
weights, temporal window, neuron, and what needs no weights around them: pooling, residual sums, reshaping, masks, a neuron on a
stream. `Synapses`: weights and bias that add into a stream of currents. `SpikingAttention`: products of query, key and value,
neuron. `SpikingNeuron`: a neuron that several others hear. `Readout`: the sum over tokens and time. Behind the encoder a weight
has at most 15 bits; one of more than 8 is two synapses, `(upper << 7) + lower`.

`lowering` says what runs a process on Lava: `custom`, a process of this package; `stock`, Lava's own `Sparse` and `LIFReset`,
which compute the same spikes from other numbers (below). `why_not` is the reason for which a population with neurons is not
`stock` although that was asked for, otherwise null.

A step of a process is one op: its name, the values it reads and makes, its `integers`, and its `tensors` by their names in
`tensors.npz` (`once`: it runs in a sample's first time step only and its value stays). `>>` floors:

| op | meaning |
|---|---|
| InputTable | `out[y, x, c] = table[c, in[y, x, c]]` |
| Conv2d | zero padding, weight `[out, k, k, in]`, dilation r: `out[y, x] = sum_ij W[:, i, j] in[y + r (i - k//2), x + r (j - k//2)]` |
| Linear | `out[n] = W in[n]` |
| Repeat | the still value at every step |
| TemporalWindow | `out[t] = sum_(m < taps, m <= t) ((in[t-m] << guard_bits) >> (decay m)) + (bias << guard_bits)` |
| TimeMix | `out[t] = sum_(s <= t) matrix[t, s] in[s]` |
| Threshold | `s[t] = in[t] >= threshold[t]`, without memory |
| Lif | `V[t] = (V[t-1] (1 - s[t-1]) leak_numerator >> leak_shift) + in[t]`; `s[t] = V[t] >= threshold`; outputs `s`, `V` |
| MaxPool2d | 3x3 maximum of what lies inside, of spikes OR; `axis` 2: rows and columns, 3: tokens and a head's channels |
| Add | residual sum: of spikes a small count, of currents a current |
| Mul | product, element by element; an axis of size 1 goes with every position of the other side |
| ReduceSum | sum over one axis, which stays with size 1; `axis` counts time and batch before those of a sample |
| Tokens, Pixels | `[H, W, C] -> [H W, C]` and back, with H `height` |
| Chunk, Unchunk | `[N, d]` of each of `steps` neighbouring time steps `<-> [steps N, d]` of a chunk, the first step first |
| SplitHeads, MergeHeads | `[N, D] <-> [heads, N, D / heads]` |
| MatMul | `left right` per head, a side transposed first when its `transpose_left` or `transpose_right` is 1 |
| Lookup | `out[h, i, j] = table[h, in[h, i, j]]` |
| Readout | `logits = sum_t sum_n W in[t, n] + bias` |

With g = T - 1 guard bits, a `stock` process of weights W, biases b and one threshold is:

| process | parameters |
|---|---|
| `Sparse` | weights `2 W`, a copy for each token; `weight_exp` g - 1; mixed signs; 8-bit messages |
| `LIFReset` | `du` 4095, `dv` 2048, `vth` `(threshold << g) - 1`, `bias_mant << bias_exp` = `b << (g + 6)`, `reset_interval` T |

Its product, current and membrane cannot be watched on Lava; the stepper computes them as written above.

## Late processes

What is computed of a chunk of n time steps needs all of them. Its process keeps what arrives, computes at the chunk's last step,
and sends one time step in every Lava step: n - 1 later than it receives, its `delay` (several chunks: their least common multiple,
less one). `Sparse` sends one step late. What is behind a late process begins as much later, and what goes around it waits on the
in-port where both meet (`ds2ta_lava/schedule.py`). A chunk lies inside one sample, and values keep their names and time steps.

`ds2ta_lava/arithmetic.py` is these rules as code, `cell.py` chains those of a process; `stepper.py` runs processes without Lava,
`processes/` with it.
"""
