#include "networks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *need(size_t size) {
    void *memory = calloc(1, size ? size : 1);
    if (!memory) {
        fprintf(stderr, "the test has not enough memory\n");
        exit(2);
    }
    return memory;
}

/* splitmix64: the same numbers on every machine, as long as no two arguments of one call draw. */
int64_t draw(network *n, int64_t low, int64_t high) {
    uint64_t z = n->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return low + (int64_t)((z ^ z >> 31) % (uint64_t)(high - low + 1));
}

int pick(network *n, const int *from, int count) { return from[draw(n, 0, count - 1)]; }

/* Arrays of exactly the size that is needed, so that a sanitizer sees the first byte too many. */
static void *own(network *n, size_t size) { return n->arrays[n->array_count++] = need(size); }

int32_t *int32s(network *n, int count, int64_t low, int64_t high) {
    int32_t *array = own(n, (size_t)count * sizeof *array);
    for (int i = 0; i < count; i++) array[i] = (int32_t)draw(n, low, high);
    return array;
}

int16_t *int16s(network *n, size_t count, int64_t low, int64_t high) {
    int16_t *array = own(n, count * sizeof *array);
    for (size_t i = 0; i < count; i++) array[i] = (int16_t)draw(n, low, high);
    return array;
}

int8_t *weights(network *n, size_t count) {
    int8_t *array = own(n, count);
    int most = PICK(n, 1, 31, 32, 63, 64, 127, 128), ends = PICK(n, 0, 0, 1, 2);
    for (size_t i = 0; i < count; i++) {
        int64_t weight = ends == 0 ? draw(n, -most, most) : ends == 1 && draw(n, 0, 1) ? most : -most;
        array[i] = (int8_t)(weight > 127 ? 127 : weight);
    }
    return array;
}

static size_t patterns_size(const network *n, const ds2ta_value *v) {
    size_t padded = (size_t)(v->channels + DS2TA_TILE - 1) / DS2TA_TILE * DS2TA_TILE, groups = (size_t)(n->steps + DS2TA_GROUP - 1) / DS2TA_GROUP;
    if (!v->planes) return ((size_t)v->steps * (size_t)v->height * (size_t)v->width * (size_t)v->channels * 4 + 63) / 64 * 64;
    return (size_t)v->height * (size_t)v->width * padded * (size_t)v->planes * groups;
}

int add_value(network *n, int height, int width, int channels, int planes) {
    ds2ta_value *v = n->values + n->value_count;
    *v = (ds2ta_value){height, width, channels, planes, n->arena, n->steps};
    n->arena += (int64_t)patterns_size(n, v);
    return n->value_count++;
}

void set_steps(network *n, int steps) {
    ds2ta_value *v = n->values + n->value_count - 1;
    v->steps = steps;
    n->arena = v->offset + (int64_t)patterns_size(n, v);
}

ds2ta_op *add_op(network *n, int kind, int input, int output) {
    ds2ta_op *op = n->ops + n->op_count++;
    *op = (ds2ta_op){.kind = kind, .inputs = {input, -1, -1}, .output = output, .size = 1, .dilation = 1, .stride = 2};
    if (input >= 0) op->in_channels = n->values[input].channels;
    if (output >= 0) op->out_channels = n->values[output].channels;
    return op;
}

void add_neuron(network *n, ds2ta_op *op, int64_t scale) {
    static const int leaks[][2] = {{1, 1}, {0, 0}, {1, 0}, {3, 2}, {7, 3}};
    int leak = (int)draw(n, 0, 4);
    op->taps = (int32_t)draw(n, 1, 5), op->decay = (int32_t)draw(n, 0, 8), op->guard_bits = (int32_t)draw(n, 0, 3);
    if (!draw(n, 0, 3)) op->taps = 1, op->guard_bits = 0; /* they may fire in 16 bits */
    op->leak_numerator = leaks[leak][0], op->leak_shift = leaks[leak][1];
    op->bias = int32s(n, op->out_channels, -scale, scale);
    op->threshold = int32s(n, op->out_channels, 1, scale << op->guard_bits);
}

static int picture(network *n, int input, int channels) {
    return add_value(n, n->values[input].height, n->values[input].width, channels, 1);
}

static int linear(network *n, int input, int channels) {
    int out = picture(n, input, channels);
    ds2ta_op *op = add_op(n, DS2TA_LINEAR, input, out);
    op->weight = weights(n, (size_t)channels * (size_t)op->in_channels);
    add_neuron(n, op, 40 + 6 * op->in_channels);
    return out;
}

static int convolve(network *n, int input, int channels) {
    int out = picture(n, input, channels);
    ds2ta_op *op = add_op(n, DS2TA_CONV, input, out);
    op->size = PICK(n, 1, 3, 5), op->dilation = PICK(n, 1, 2, 3);
    op->weight = weights(n, (size_t)channels * (size_t)op->size * (size_t)op->size * (size_t)op->in_channels);
    add_neuron(n, op, 40 + 30 * op->in_channels);
    return out;
}

int encode(network *n) {
    int height = (int)draw(n, 1, 10), width = (int)draw(n, 1, 7), long_row = !draw(n, 0, 3), channels = PICK(n, 1, 3, 16, 20, 48, 64, 65, 260);
    if (long_row) height = 1, width += 24; /* which may be cut into strips */
    int out = add_value(n, height, width, channels, 1);
    ds2ta_op *op = add_op(n, DS2TA_ENCODE, -1, out);
    op->dilation = PICK(n, 1, 1, 2, 3);
    op->in_channels = (int32_t)draw(n, 1, 3), op->size = PICK(n, 1, 3, 5), op->still = (int32_t)draw(n, 0, 1);
    op->table = int16s(n, (size_t)op->in_channels * 256, -500, 500);
    op->wide = int16s(n, (size_t)op->out_channels * (size_t)op->size * (size_t)op->size * (size_t)op->in_channels, -500, 500);
    add_neuron(n, op, 200000);
    if (op->still) op->taps = 1;
    size_t pixels = (size_t)n->values[out].height * (size_t)n->values[out].width * (size_t)op->in_channels * BATCH;
    pixels *= op->still ? 1 : (size_t)n->steps;
    n->input = own(n, pixels);
    for (size_t i = 0; i < pixels; i++) n->input[i] = (uint8_t)draw(n, 0, 255);
    return out;
}

/* Counts of the caller: none, some, or the largest everywhere. */
static int give(network *n) {
    int planes = PICK(n, 1, 2, 3, 7, 8), most = (1 << planes) - 1, share = PICK(n, 0, 5, 30, 60, 100);
    int out = add_value(n, (int)draw(n, 1, 7), (int)draw(n, 1, 7), PICK(n, 1, 3, 16, 20, 48, 64, 65, 260), planes);
    const ds2ta_value *v = n->values + out;
    size_t count = (size_t)n->steps * BATCH * (size_t)v->height * (size_t)v->width * (size_t)v->channels;
    add_op(n, DS2TA_GIVEN, -1, out);
    n->given = out;
    n->counts = own(n, count);
    for (size_t i = 0; i < count; i++) n->counts[i] = (uint8_t)(draw(n, 0, 99) >= share ? 0 : share == 100 ? most : draw(n, 1, most));
    return out;
}

static int pool(network *n, int input) {
    const ds2ta_value *in = n->values + input;
    int out = add_value(n, (in->height + 1) / 2, (in->width + 1) / 2, in->channels, 1);
    add_op(n, DS2TA_POOL, input, out);
    return out;
}

int add(network *n, int left, int right) {
    const ds2ta_value *a = n->values + left, *b = n->values + right;
    int out = add_value(n, a->height, a->width, a->channels, (a->planes > b->planes ? a->planes : b->planes) + 1);
    add_op(n, DS2TA_ADD, left, out)->inputs[1] = right;
    return out;
}

static int attend(network *n, int query, int key, int value, int heads) {
    int out = picture(n, query, n->values[query].channels);
    ds2ta_op *op = add_op(n, DS2TA_ATTENTION, query, out);
    op->inputs[1] = key, op->inputs[2] = value;
    op->heads = heads, op->entries = op->out_channels / heads + 1;
    int most = PICK(n, 1, 9, 255, 256, 700, 30000), least = draw(n, 0, 1) ? 0 : -most; /* a byte's largest entry, and one more */
    op->table = int16s(n, (size_t)heads * (size_t)op->entries, least, most);
    add_neuron(n, op, most * 4);
    return out;
}

void add_readout(network *n, int value) {
    ds2ta_op *op = add_op(n, DS2TA_READOUT, value, -1);
    op->out_channels = CLASSES;
    op->weight = weights(n, (size_t)CLASSES * (size_t)op->in_channels);
    op->bias = int32s(n, CLASSES, -100, 100);
}

void network_make(network *n, uint64_t seed) {
    *n = (network){.random = seed, .classes = CLASSES, .given = -1};
    n->steps = PICK(n, 1, 2, 3, 4, 5, 7, 10, 16);
    int value = draw(n, 0, 2) ? encode(n) : give(n);
    if (n->given < 0 && draw(n, 0, 1)) value = pool(n, value);
    for (int64_t i = draw(n, 0, 2); i > 0 && n->given < 0; i--) value = add(n, value, value);
    value = convolve(n, value, PICK(n, 1, 8, 16, 63, 64, 80, 100));
    int heads = PICK(n, 1, 2, 3), width = heads * PICK(n, 1, 7, 8, 16, 33, 64, 65, 128, 250);
    value = linear(n, value, width);
    int query = linear(n, value, width), key = linear(n, value, width), other = linear(n, value, width);
    value = add(n, value, attend(n, query, key, other, heads));
    add_readout(n, value);
}

void network_free(network *n) {
    for (int i = 0; i < n->array_count; i++) free(n->arrays[i]);
}

ds2ta_plan *network_plan(const network *n, const char *isa, int threads, char *error, size_t size) {
    return ds2ta_plan_new(n->steps, n->values, n->value_count, n->ops, n->op_count, n->arena, threads, isa, error, size);
}

/* Bytes that the trace of something inside an operation takes; 0 where there is no such thing. */
static size_t inner_size(const network *n, const ds2ta_op *op, int what) {
    int fires = op->kind == DS2TA_ATTENTION || op->kind == DS2TA_NEURON;
    if (!fires && op->kind != DS2TA_ENCODE && op->kind != DS2TA_LINEAR && op->kind != DS2TA_CONV) return 0;
    size_t tokens = (size_t)n->values[op->output].height * (size_t)n->values[op->output].width, samples = (size_t)n->steps * BATCH;
    if (what == DS2TA_SCORES || what == DS2TA_DENOISED)
        return op->kind == DS2TA_ATTENTION ? samples * (size_t)op->heads * tokens * tokens * (what == DS2TA_SCORES ? 4 : 2) : 0;
    size_t seen = op->kind == DS2TA_ENCODE && op->still ? BATCH : samples;
    if (what == DS2TA_TABLED) return op->kind == DS2TA_ENCODE ? seen * tokens * (size_t)op->in_channels * 2 : 0;
    return (what == DS2TA_MEMBRANE ? samples : seen) * tokens * (size_t)op->out_channels * 4;
}

static void make_room(const network *n, int inside, results *r) {
    memset(r, 0, sizeof *r);
    for (int i = 0; i < n->value_count; i++) {
        const ds2ta_value *v = n->values + i;
        r->value_sizes[i] = (size_t)n->steps * BATCH * (size_t)v->height * (size_t)v->width * (size_t)v->channels * (v->planes ? 1 : 4);
        r->values[i] = need(r->value_sizes[i]);
    }
    for (int i = 0; i < n->op_count * DS2TA_INNER; i++) {
        r->inner_sizes[i] = inside ? inner_size(n, n->ops + i / DS2TA_INNER, i % DS2TA_INNER) : 0;
        r->inner[i] = r->inner_sizes[i] ? need(r->inner_sizes[i]) : NULL;
    }
    if (n->given >= 0) memcpy(r->values[n->given], n->counts, r->value_sizes[n->given]);
}

void network_run(const network *n, ds2ta_plan *plan, int inside, results *r) {
    make_room(n, inside, r);
    int64_t nanoseconds[MOST_OPS];
    ds2ta_run(plan, n->input, BATCH, r->logits, r->values, inside ? r->inner : NULL, nanoseconds);
}

void network_over(const network *n, int steps, network *over) {
    static const int32_t nothing[CLASSES];
    *over = *n;
    over->steps = steps, over->arena = 0;
    for (int i = 0; i < n->value_count; i++) {
        ds2ta_value *v = over->values + i;
        v->steps = v->steps * steps / n->steps;
        v->offset = over->arena;
        over->arena += (int64_t)patterns_size(over, v);
    }
    for (int i = 0; i < n->op_count; i++)
        if (n->ops[i].kind == DS2TA_READOUT) over->ops[i].bias = nothing;
}

int network_step(const network *n, const network *over, ds2ta_plan *plan, int taken, int32_t *state, results *r) {
    network now = *over;
    int still = n->ops[0].kind == DS2TA_ENCODE && n->ops[0].still;
    const ds2ta_value *first = n->values;
    size_t pixels = (size_t)first->height * (size_t)first->width * (size_t)n->ops[0].in_channels * BATCH;
    if (n->input && !still) now.input = n->input + (size_t)taken * pixels;
    if (n->given >= 0) now.counts = n->counts + (size_t)taken * BATCH * (size_t)first->height * (size_t)first->width * (size_t)first->channels;
    int inside = taken / over->steps % 2; /* what is traced goes other ways: both of them must remember the same */
    make_room(&now, inside, r);
    return ds2ta_step(plan, taken, state, now.input, BATCH, r->logits, r->values, inside ? r->inner : NULL, NULL);
}

void results_free(results *r) {
    for (int i = 0; i < MOST_VALUES; i++) free(r->values[i]);
    for (int i = 0; i < MOST_OPS * DS2TA_INNER; i++) free(r->inner[i]);
}

int results_equal(const results *a, const results *b) {
    int equal = !memcmp(a->logits, b->logits, sizeof a->logits);
    for (int i = 0; i < MOST_VALUES; i++) equal &= !a->values[i] || !memcmp(a->values[i], b->values[i], a->value_sizes[i]);
    for (int i = 0; i < MOST_OPS * DS2TA_INNER; i++) equal &= !a->inner[i] || !b->inner[i] || !memcmp(a->inner[i], b->inner[i], a->inner_sizes[i]);
    return equal;
}

int results_are_part(const network *n, const network *over, const results *whole, const results *part, int taken) {
    size_t blocks = (size_t)(n->steps / over->steps), block = (size_t)(taken / over->steps);
    int equal = 1;
    for (int i = 0; i < n->value_count; i++) {
        const ds2ta_value *v = over->values + i;
        size_t size = (size_t)(v->planes ? over->steps : v->steps) * BATCH * (size_t)v->height * (size_t)v->width * (size_t)v->channels;
        size *= v->planes ? 1 : sizeof(int32_t);
        equal &= !memcmp(whole->values[i] + block * size, part->values[i], size);
    }
    for (int i = 0; i < n->op_count * DS2TA_INNER; i++) {
        size_t size = part->inner_sizes[i], begin = size * blocks == whole->inner_sizes[i] ? block * size : 0; /* 0: of a still picture */
        equal &= !size || !memcmp((const char *)whole->inner[i] + begin, part->inner[i], size);
    }
    return equal;
}
