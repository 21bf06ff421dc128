/* Whether the description of a plan makes sense: nothing here trusts a number. */
#include "plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    int steps, value_count, op_count;
    const ds2ta_value *values;
    int64_t arena_bytes;
    char *error;
    size_t error_size;
} context;

static int refuse(const context *c, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (c->error) vsnprintf(c->error, c->error_size, format, arguments);
    va_end(arguments);
    return 0;
}

static int between(int64_t value, int64_t low, int64_t high) { return value >= low && value <= high; }

/* Bytes of a value in the arena. */
static int64_t size_of(const context *c, const ds2ta_value *v) {
    int64_t groups = (c->steps + DS2TA_GROUP - 1) / DS2TA_GROUP;
    if (!v->planes) return (int64_t)v->steps * v->height * v->width * v->channels * (int64_t)sizeof(int32_t);
    return (int64_t)v->height * v->width * ds2ta_padded(v->channels) * v->planes * groups;
}

static int check_value(const context *c, int index) {
    const ds2ta_value *v = c->values + index;
    if (!between(v->height, 1, 1 << 14) || !between(v->width, 1, 1 << 20) || !between(v->channels, 1, 1 << 16))
        return refuse(c, "value %d has %d x %d tokens of %d channels", index, v->height, v->width, v->channels);
    if (!v->planes && !between(v->steps, 1, DS2TA_MAX_STEPS)) return refuse(c, "value %d has %d time steps", index, v->steps);
    if (!between(v->planes, 0, DS2TA_MAX_PLANES)) return refuse(c, "value %d has counts of %d bits", index, v->planes);
    int64_t tokens = (int64_t)v->height * v->width;
    if (tokens > 1 << 22) return refuse(c, "value %d has %lld tokens", index, (long long)tokens);
    if (v->offset < 0 || v->offset % DS2TA_TILE || v->offset > c->arena_bytes - size_of(c, v))
        return refuse(c, "value %d lies outside the arena of %lld bytes", index, (long long)c->arena_bytes);
    return 1;
}

/* Whether an index is a value's, of counts with so many planes at most. */
static const ds2ta_value *input(const context *c, int index, int value, int planes) {
    if (!between(value, 0, c->value_count - 1)) return refuse(c, "operation %d reads value %d", index, value), NULL;
    if (!c->values[value].planes) return refuse(c, "operation %d takes counts, value %d is a stream", index, value), NULL;
    if (c->values[value].planes > planes)
        return refuse(c, "operation %d takes counts of %d bits, value %d has %d", index, planes, value, c->values[value].planes), NULL;
    return c->values + value;
}

static int check_neuron(const context *c, int index, const ds2ta_op *op, const ds2ta_value *out) {
    if (!between(op->taps, 1, 64) || !between(op->decay, 0, 8) || !between(op->guard_bits, 0, 24) ||
        !between(op->leak_shift, 0, 16) || !between(op->leak_numerator, 0, 1 << op->leak_shift))
        return refuse(c, "operation %d has a window or a leak out of range", index);
    if (!op->bias || !op->threshold || op->out_channels != out->channels || out->planes != 1)
        return refuse(c, "operation %d does not make spikes of %d channels", index, out->channels);
    for (int i = 0; i < op->out_channels; i++)
        if (op->threshold[i] < 1) return refuse(c, "operation %d has a threshold of %d", index, op->threshold[i]);
    return 1;
}

static int same_picture(const ds2ta_value *a, const ds2ta_value *b) { return a->height == b->height && a->width == b->width; }

static int same_tokens(const ds2ta_value *a, const ds2ta_value *b) { return ds2ta_tokens(a) == ds2ta_tokens(b); }

/* A layer that adds into a stream. */
static int check_synapses(const context *c, int index, const ds2ta_op *op, const ds2ta_value *out) {
    int steps = op->kind == DS2TA_ENCODE && op->still ? 1 : c->steps;
    if (!op->bias || op->out_channels != out->channels || out->steps != steps || !between(op->shift, 0, 24))
        return refuse(c, "operation %d adds nothing into a stream of %d channels", index, out->channels);
    for (int side = 1; side < 3; side++) {
        if (op->inputs[side] < 0) continue;
        if (!between(op->inputs[side], 0, c->value_count - 1)) return refuse(c, "operation %d reads value %d", index, op->inputs[side]);
        const ds2ta_value *added = c->values + op->inputs[side];
        int64_t rows = (int64_t)added->steps * ds2ta_tokens(added);
        if (added->planes || added->channels != out->channels || rows != (int64_t)steps * ds2ta_tokens(out))
            return refuse(c, "operation %d adds a stream of another shape", index);
    }
    return 1;
}

static int check_weighted(const context *c, int index, const ds2ta_op *op, const ds2ta_value *in, const ds2ta_value *out) {
    int64_t places = (int64_t)op->size * op->size;
    if (!between(op->size, 1, 15) || op->size % 2 == 0 || !between(op->in_channels, 1, DS2TA_MAX_ROWS) ||
        places * op->in_channels > DS2TA_MAX_ROWS)
        return refuse(c, "operation %d has a kernel of %d and %d channels", index, op->size, op->in_channels);
    if (op->kind == DS2TA_CONV && op->size * ((op->size * op->in_channels + DS2TA_PART - 1) / DS2TA_PART) > DS2TA_MOST_PARTS)
        return refuse(c, "operation %d has too many channels under its kernel", index);
    if (!(op->kind == DS2TA_ENCODE ? op->wide && op->table : op->weight != NULL)) return refuse(c, "operation %d has no weights", index);
    if (op->kind != DS2TA_LINEAR && !between(op->dilation, 1, DS2TA_MAX_DILATION))
        return refuse(c, "operation %d has a dilation of %d", index, op->dilation);
    if (in && (in->channels != op->in_channels || !(op->kind == DS2TA_CONV ? same_picture : same_tokens)(in, out)))
        return refuse(c, "operation %d does not fit its input and output", index);
    if (!out->planes) return check_synapses(c, index, op, out);
    return check_neuron(c, index, op, out);
}

static int check_attention(const context *c, int index, const ds2ta_op *op, const ds2ta_value *out) {
    for (int side = 0; side < 3; side++) {
        const ds2ta_value *in = input(c, index, op->inputs[side], 1);
        if (!in) return 0;
        if (!same_tokens(in, out) || in->channels != out->channels)
            return refuse(c, "operation %d has a query, key or value of another shape", index);
    }
    if (!between(op->heads, 1, out->channels) || out->channels % op->heads || out->channels / op->heads > DS2TA_MAX_HEAD)
        return refuse(c, "operation %d has %d heads for %d channels", index, op->heads, out->channels);
    if (!op->table || op->entries <= out->channels / op->heads || op->entries > 4096)
        return refuse(c, "operation %d has a table of %d entries", index, op->entries);
    return check_neuron(c, index, op, out);
}

static int check_stream(const context *c, int index, const ds2ta_op *op, const ds2ta_value *out) {
    int two = op->kind == DS2TA_SUM || op->kind == DS2TA_MULTIPLY || op->kind == DS2TA_MATMUL;
    for (int side = 0; side <= two; side++)
        if (!between(op->inputs[side], 0, c->value_count - 1)) return refuse(c, "operation %d reads value %d", index, op->inputs[side]);
    const char *wrong = ds2ta_check_stream(c->steps, c->values, op);
    if (wrong) return refuse(c, "operation %d %s", index, wrong);
    return op->kind == DS2TA_NEURON ? check_neuron(c, index, op, out) : 1;
}

static int check_op(const context *c, int index, const ds2ta_op *op) {
    if (op->kind == DS2TA_READOUT) {
        const ds2ta_value *in = input(c, index, op->inputs[0], DS2TA_MAX_PLANES);
        if (!in) return 0;
        if (!op->weight || !op->bias || op->in_channels != in->channels || !between(op->out_channels, 1, 1 << 16) || op->output != -1)
            return refuse(c, "operation %d is no readout of %d channels", index, in->channels);
        if ((int64_t)ds2ta_tokens(in) * c->steps << in->planes > INT32_MAX) return refuse(c, "operation %d sums over too many tokens", index);
        return 1;
    }
    if (!between(op->output, 0, c->value_count - 1)) return refuse(c, "operation %d makes value %d", index, op->output);
    const ds2ta_value *out = c->values + op->output;
    if (!between(op->kind, 0, DS2TA_KINDS - 1)) return refuse(c, "operation %d is of kind %d", index, op->kind);
    if (op->kind >= DS2TA_NEURON) return check_stream(c, index, op, out);
    if (!out->planes && op->kind != DS2TA_ENCODE && op->kind != DS2TA_LINEAR && op->kind != DS2TA_CONV)
        return refuse(c, "operation %d makes counts, value %d is a stream", index, op->output);
    if (op->kind == DS2TA_GIVEN) return 1;
    if (op->kind == DS2TA_ENCODE) return check_weighted(c, index, op, NULL, out);
    if (op->kind == DS2TA_ATTENTION) return check_attention(c, index, op, out);
    const ds2ta_value *in = input(c, index, op->inputs[0], op->kind == DS2TA_POOL ? 1 : DS2TA_MAX_PLANES);
    if (!in) return 0;
    if (op->kind == DS2TA_LINEAR && op->size != 1) return refuse(c, "operation %d has a kernel of %d", index, op->size);
    if (op->kind == DS2TA_LINEAR || op->kind == DS2TA_CONV) return check_weighted(c, index, op, in, out);
    if (op->kind == DS2TA_POOL) {
        int stride = op->stride;
        if (stride != 1 && stride != 2) return refuse(c, "operation %d has a stride of %d", index, stride);
        int fits = (in->height + stride - 1) / stride == out->height && (in->width + stride - 1) / stride == out->width;
        if (out->planes != 1 || in->channels != out->channels || !fits) return refuse(c, "operation %d does not pool its picture", index);
        return 1;
    }
    const ds2ta_value *other = input(c, index, op->inputs[1], DS2TA_MAX_PLANES);
    if (!other) return 0;
    if (in->channels != out->channels || other->channels != out->channels || !same_tokens(in, out) || !same_tokens(other, out))
        return refuse(c, "operation %d adds values of different shapes", index);
    if (out->planes < in->planes || out->planes < other->planes) return refuse(c, "operation %d has too few bits for its sum", index);
    return 1;
}

/* Whether an operation reads its input `side`. */
static int reads(const context *c, const ds2ta_op *op, int side) {
    switch (op->kind) {
    case DS2TA_GIVEN: return 0;
    case DS2TA_ENCODE:
    case DS2TA_LINEAR:
    case DS2TA_CONV: return side == 0 ? op->kind != DS2TA_ENCODE : !c->values[op->output].planes && op->inputs[side] >= 0;
    case DS2TA_ADD:
    case DS2TA_SUM:
    case DS2TA_MULTIPLY:
    case DS2TA_MATMUL: return side < 2;
    case DS2TA_ATTENTION: return 1;
    default: return side == 0;
    }
}

/* The operations that make a value and that read it last. */
typedef struct {
    int made, read;
} lifetime;

/* Whether every value is made once and before it is read, and the logits once. */
static int check_order(const context *c, const ds2ta_op *ops, lifetime *lives) {
    int readouts = 0;
    for (int i = 0; i < c->value_count; i++) lives[i] = (lifetime){-1, -1};
    for (int i = 0; i < c->op_count; i++) {
        for (int side = 0; side < 3; side++) {
            if (!reads(c, ops + i, side)) continue;
            lifetime *life = lives + ops[i].inputs[side];
            if (life->made < 0) return refuse(c, "operation %d reads value %d before it is made", i, ops[i].inputs[side]);
            life->read = i;
        }
        if (ops[i].output < 0) {
            if (readouts++) return refuse(c, "operation %d makes the logits again", i);
        } else if (lives[ops[i].output].made >= 0) {
            return refuse(c, "operation %d makes value %d again", i, ops[i].output);
        } else {
            lives[ops[i].output] = (lifetime){i, i};
        }
    }
    return 1;
}

/* Whether no value is written over while it is needed. */
static int check_places(const context *c, const lifetime *lives) {
    for (int a = 0; a < c->value_count; a++)
        for (int b = 0; b < a; b++) {
            const ds2ta_value *one = c->values + a, *other = c->values + b;
            int meet = lives[a].made <= lives[b].read && lives[b].made <= lives[a].read && lives[a].made >= 0 && lives[b].made >= 0;
            if (meet && one->offset < other->offset + size_of(c, other) && other->offset < one->offset + size_of(c, one))
                return refuse(c, "values %d and %d lie in the same place", b, a);
        }
    return 1;
}

static int check_lifetimes(const context *c, const ds2ta_op *ops) {
    lifetime *lives = malloc((size_t)c->value_count * sizeof *lives);
    if (!lives) return refuse(c, "not enough memory");
    int good = check_order(c, ops, lives) && check_places(c, lives);
    free(lives);
    return good;
}

int ds2ta_check(int steps, const ds2ta_value *values, int value_count, const ds2ta_op *ops, int op_count, int64_t arena_bytes, int threads,
                char *error, size_t error_size) {
    context c = {steps, value_count, op_count, values, arena_bytes, error, error_size};
    if (!between(steps, 1, DS2TA_MAX_STEPS)) return refuse(&c, "%d time steps", steps);
    if (!between(value_count, 1, DS2TA_MAX_COUNT) || !between(op_count, 1, DS2TA_MAX_COUNT) || !values || !ops)
        return refuse(&c, "%d values and %d operations", value_count, op_count);
    if (!between(arena_bytes, 1, (int64_t)1 << 40) || !between(threads, 1, DS2TA_MAX_THREADS))
        return refuse(&c, "%lld bytes for %d threads", (long long)arena_bytes, threads);
    int64_t needed = 0;
    for (int i = 0; i < value_count; i++) {
        if (!check_value(&c, i)) return 0;
        needed += (size_of(&c, values + i) + DS2TA_TILE - 1) / DS2TA_TILE * DS2TA_TILE;
    }
    if (arena_bytes > needed) return refuse(&c, "an arena of %lld bytes for values of %lld", (long long)arena_bytes, (long long)needed);
    for (int i = 0; i < op_count; i++)
        if (!check_op(&c, i, ops + i)) return 0;
    return check_lifetimes(&c, ops);
}
