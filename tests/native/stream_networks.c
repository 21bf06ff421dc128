/* Random networks with membrane streams: every kind of operation on them, sizes on and beside the edges of registers. */
#include "networks.h"

/* A value of the same shape. */
static int like(network *n, int value, int channels, int planes) {
    return add_value(n, n->values[value].height, n->values[value].width, channels, planes);
}

static int tokens_of(const network *n, int value) { return n->values[value].height * n->values[value].width; }

static int fires(network *n, int stream) {
    int out = like(n, stream, n->values[stream].channels, 1);
    ds2ta_op *op = add_op(n, DS2TA_NEURON, stream, out);
    add_neuron(n, op, 2000);
    op->guard_bits = 0, op->taps = op->taps < 3 ? op->taps : 2; /* sums of a stream are large: they stay in 32 bits */
    return out;
}

/* A layer into a stream, its weights in two parts, the residual added by the second. */
static int synapses(network *n, int input, int channels, int residual) {
    int before = -1;
    for (int part = 0; part < 2; part++) {
        int out = like(n, input, channels, 0);
        ds2ta_op *op = add_op(n, draw(n, 0, 1) ? DS2TA_LINEAR : DS2TA_CONV, input, out);
        op->size = op->kind == DS2TA_CONV ? 3 : 1, op->dilation = PICK(n, 1, 2), op->shift = part ? 0 : 2;
        op->inputs[1] = before, op->inputs[2] = part ? residual : -1;
        op->weight = weights(n, (size_t)channels * (size_t)(op->size * op->size) * (size_t)op->in_channels);
        add_neuron(n, op, 900); /* of which the bias is looked at, and the rest is not */
        before = out;
    }
    return before;
}

static int reduce(network *n, int input, int axis, int heads) {
    int width = n->values[input].channels / heads, tokens = axis == DS2TA_OVER_TOKENS ? 1 : tokens_of(n, input);
    int out = add_value(n, 1, tokens, axis == DS2TA_OVER_TOKENS ? heads * width : axis == DS2TA_OVER_HEADS ? width : heads, 0);
    ds2ta_op *op = add_op(n, DS2TA_REDUCE, input, out);
    op->axis = axis, op->heads = heads;
    return out;
}

static int multiply(network *n, int left, int left_heads, int right, int right_heads, int shape, int heads, int planes) {
    int out = like(n, shape, n->values[shape].channels, planes);
    ds2ta_op *op = add_op(n, DS2TA_MULTIPLY, left, out);
    op->inputs[1] = right, op->left_heads = left_heads, op->right_heads = right_heads, op->heads = heads;
    return out;
}

static int maximum(network *n, int input, int axis, int heads, int stride) {
    const ds2ta_value *in = n->values + input;
    int height = (in->height + stride - 1) / stride, width = (in->width + stride - 1) / stride, channels = in->channels;
    if (axis == DS2TA_OVER_CHANNELS) {
        height = 1, width = (tokens_of(n, input) + stride - 1) / stride;
        channels = (channels / heads + stride - 1) / stride * heads;
    }
    int out = add_value(n, height, width, channels, in->planes);
    ds2ta_op *op = add_op(n, DS2TA_MAXIMUM, input, out);
    op->axis = axis, op->heads = heads, op->stride = stride;
    return out;
}

/* Turned sides are [terms][rows] and [columns][terms]. */
static int matmul(network *n, int left, int right, int heads, int turn_left, int turn_right, int chunks) {
    int per_chunk = n->steps / chunks, left_width = n->values[left].channels / heads, right_width = n->values[right].channels / heads;
    int left_rows = tokens_of(n, left) * (n->values[left].planes ? per_chunk : 1), right_rows = tokens_of(n, right) * (n->values[right].planes ? per_chunk : 1);
    int out = add_value(n, 1, turn_left ? left_width : left_rows, heads * (turn_right ? right_rows : right_width), 0);
    set_steps(n, chunks);
    ds2ta_op *op = add_op(n, DS2TA_MATMUL, left, out);
    op->inputs[1] = right, op->heads = heads, op->transpose_left = turn_left, op->transpose_right = turn_right;
    return out;
}

/* Scores, a table, their product by the values. */
static int look_up(network *n, int query, int key, int value, int heads) {
    int scores = matmul(n, query, key, heads, 0, 1, n->steps), out = like(n, scores, n->values[scores].channels, 0);
    ds2ta_op *op = add_op(n, DS2TA_LOOKUP, scores, out);
    op->heads = heads, op->entries = n->values[query].channels / heads + 1;
    op->table = int16s(n, (size_t)heads * (size_t)op->entries, -300, 300);
    return matmul(n, out, value, heads, 0, 0, n->steps);
}

/* Values of the tokens whose relevance, mixed over time, reaches a threshold. */
static int saccade(network *n, int query, int key, int value, int heads) {
    int sums = reduce(n, query, DS2TA_OVER_CHANNELS, heads), total = reduce(n, reduce(n, key, DS2TA_OVER_CHANNELS, heads), DS2TA_OVER_TOKENS, 1);
    int relevance = multiply(n, sums, heads, total, heads, sums, heads, 0);
    int mixed = like(n, relevance, heads, 0), mask = like(n, relevance, heads, 1);
    ds2ta_op *mix = add_op(n, DS2TA_TIME_MIX, relevance, mixed), *compare = add_op(n, DS2TA_COMPARE, mixed, mask);
    mix->entries = compare->entries = n->steps;
    mix->table = int16s(n, (size_t)n->steps * (size_t)n->steps, -9, 20);
    compare->threshold = int32s(n, n->steps, -50, 400);
    return multiply(n, value, heads, mask, heads, value, heads, 1);
}

/* Values where key and value, pooled in each head, have often met. */
static int masked(network *n, int query, int key, int value, int heads) {
    int both = maximum(n, multiply(n, key, heads, value, heads, key, heads, 1), DS2TA_OVER_CHANNELS, heads, 1);
    int gate = fires(n, reduce(n, both, DS2TA_OVER_TOKENS, 1));
    return multiply(n, query, 1, gate, 1, query, 1, 1);
}

static int key_value(network *n, int query, int key, int value, int heads) {
    int chunks = n->steps % 2 || draw(n, 0, 1) ? n->steps : n->steps / 2;
    int context = matmul(n, query, matmul(n, key, value, heads, 1, 0, chunks), heads, 0, 0, chunks);
    int out = add_value(n, n->values[query].height, n->values[query].width, n->values[query].channels, 1);
    add_neuron(n, add_op(n, DS2TA_NEURON, context, out), 900);
    return out;
}

void network_make_streams(network *n, uint64_t seed) {
    *n = (network){.random = seed, .classes = CLASSES, .given = -1};
    n->steps = PICK(n, 1, 2, 3, 4, 5, 8, 10);
    int value = encode(n), heads = PICK(n, 1, 2, 3), width = heads * PICK(n, 1, 7, 16, 33, 64, 65);
    int stream = maximum(n, synapses(n, value, width, -1), DS2TA_OVER_TOKENS, 1, PICK(n, 1, 2));
    int spikes = fires(n, stream), query = fires(n, synapses(n, spikes, width, -1)), key = fires(n, synapses(n, spikes, width, -1));
    int other = fires(n, synapses(n, spikes, width, -1)), made = query, kind = (int)draw(n, 0, 3);
    if (kind == 0) made = saccade(n, query, key, other, heads);
    if (kind == 1) made = masked(n, query, key, other, heads);
    if (kind == 2) made = key_value(n, query, key, other, heads);
    if (kind == 3) made = fires(n, look_up(n, query, key, other, heads));
    stream = synapses(n, add(n, made, query), width, kind == 3 ? -1 : stream);
    int window = like(n, stream, width, 0), sum = like(n, stream, width, 0);
    ds2ta_op *op = add_op(n, DS2TA_WINDOW, stream, window);
    add_neuron(n, op, 300);
    op->guard_bits = 1, op->taps = 2;
    add_op(n, DS2TA_SUM, window, sum)->inputs[1] = stream;
    add_readout(n, fires(n, reduce(n, sum, DS2TA_OVER_TOKENS, 1)));
}
