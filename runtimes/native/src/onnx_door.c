/* The library as ONNX Runtime sees it: SessionOptions.register_custom_ops_library calls RegisterCustomOps, which adds an
 * operator for every layer that has kernels. Files hold the same layers as functions; the operator of a name goes first. */
#include "onnx_door.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char DOMAIN[] = "ai.ds2ta";

/* A file names the second body of a function Name_2, the third Name_3 …: the same layer, unrolled differently. */
enum { BODIES = 16, MOST_THREADS = 256 };

#define WEIGHTED_TAIL {ORT_UINT8, ORT_INT32, ORT_INT32, ORT_INT32}, {-1, DS2TA_MEMBRANE, DS2TA_CURRENT, DS2TA_PRODUCT}, 1
#define NARROW 0, 4, 4, {ORT_UINT8, ORT_INT8, ORT_INT32, ORT_INT32}, WEIGHTED_TAIL
#define WIDE 1, 4, 4, {ORT_ANY, ORT_ANY, ORT_INT32, ORT_INT32}, WEIGHTED_TAIL

static const door_layer LAYERS[] = {
    {"SpikingLinear", DOOR_LINEAR, NARROW},
    {"TemporalSpikingLinear", DOOR_LINEAR, NARROW},
    {"EncodingLinear", DOOR_LINEAR, WIDE},
    {"SpikingConv2d", DOOR_CONV, NARROW},
    {"TemporalSpikingConv2d", DOOR_CONV, NARROW},
    {"EncodingConv2d", DOOR_CONV, WIDE},
    {"SpikingAttention", DOOR_ATTENTION, 0, 5, 6,
     {ORT_UINT8, ORT_UINT8, ORT_UINT8, ORT_INT16, ORT_INT32},
     {ORT_UINT8, ORT_INT32, ORT_INT32, ORT_INT32, ORT_INT16, ORT_INT32},
     {-1, DS2TA_MEMBRANE, DS2TA_CURRENT, DS2TA_PRODUCT, DS2TA_DENOISED, DS2TA_SCORES}, 3},
    {"SpikeMaxPool2d", DOOR_POOL, 0, 1, 1, {ORT_UINT8}, {ORT_UINT8}, {-1}, 1},
    {"Readout", DOOR_READOUT, 0, 3, 1, {ORT_UINT8, ORT_INT8, ORT_INT32}, {ORT_INT32}, {-1}, 3},
};

enum { LAYER_COUNT = sizeof LAYERS / sizeof *LAYERS };

/* The operators of one configuration. ONNX Runtime keeps pointers to them as long as any session lives, so they stay. */
typedef struct registration registration;
struct registration {
    registration *next;
    ort_api api;
    int threads;
    char isa[16];
    ort_domain *domain;
    door_op ops[LAYER_COUNT * BODIES];
};

static pthread_mutex_t registering = PTHREAD_MUTEX_INITIALIZER;
static registration *registrations;

ort_status *door_refuse(const door_kernel *kernel, const char *format, ...) {
    char text[320];
    int length = snprintf(text, sizeof text, "%s ", kernel->op->name);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + length, sizeof text - (size_t)length, format, arguments);
    va_end(arguments);
    return ort_create_status(kernel->api)(ORT_INVALID_ARGUMENT, text);
}

static const door_op *self(const ort_op *op) { return (const door_op *)op; }
static const char *name(const ort_op *op) { return self(op)->name; }
static const char *provider(const ort_op *op) { return (void)op, NULL; }
static size_t input_count(const ort_op *op) { return (size_t)self(op)->layer->input_count; }
static size_t output_count(const ort_op *op) { return (size_t)self(op)->layer->output_count; }
static int input_type(const ort_op *op, size_t index) { return self(op)->layer->inputs[index]; }
static int output_type(const ort_op *op, size_t index) { return self(op)->layer->outputs[index]; }
static int input_presence(const ort_op *op, size_t index) { return (void)op, (void)index, ORT_REQUIRED; }
static int output_presence(const ort_op *op, size_t index) { return (void)op, index ? ORT_OPTIONAL : ORT_REQUIRED; }
static int input_memory(const ort_op *op, size_t index) { return (void)op, (void)index, 0; }
static int variadic(const ort_op *op) { return (void)op, 0; }

/* An integer attribute; `otherwise` where there is none. */
static int64_t integer(const door_kernel *kernel, const ort_info *info, const char *attribute, int64_t otherwise) {
    int64_t value = otherwise;
    ort_status *status = ort_integer(kernel->api)(info, attribute, &value);
    if (!status) return value;
    ort_release_status(kernel->api)(status);
    return otherwise;
}

/* Integers of a list attribute; returns how many there are, of which at most `most` are read. */
static size_t integers(const door_kernel *kernel, const ort_info *info, const char *attribute, int64_t *values, size_t most) {
    size_t count = 0;
    ort_status *status = ort_integers(kernel->api)(info, attribute, NULL, &count);
    if (!status && count && count <= most) status = ort_integers(kernel->api)(info, attribute, values, &count);
    if (!status) return count;
    ort_release_status(kernel->api)(status);
    return 0;
}

/* Exponent of a power of two; -1 for any other number. */
static int exponent(int64_t power) {
    for (int bits = 0; bits < 32; bits++)
        if (power == (int64_t)1 << bits) return bits;
    return -1;
}

/* Reads guard bits and decay back from the taps' powers of two: tap m shifts left by g - tau m, or right by as much. */
static ort_status *read_window(door_kernel *kernel, const ort_info *info) {
    int64_t multipliers[DOOR_TAPS], divisors[DOOR_TAPS];
    size_t taps = integers(kernel, info, "multipliers", multipliers, DOOR_TAPS);
    size_t divided = integers(kernel, info, "divisors", divisors, DOOR_TAPS);
    kernel->taps = 1;
    if (!taps) return NULL;
    if (taps > DOOR_TAPS || (divided && divided != taps)) return door_refuse(kernel, "has a window of %zu taps", taps);
    int shift[DOOR_TAPS];
    for (size_t m = 0; m < taps; m++) {
        int left = exponent(multipliers[m]), right = divided ? exponent(divisors[m]) : 0;
        if (left < 0 || right < 0 || (left && right)) return door_refuse(kernel, "has a window that is not made of shifts");
        shift[m] = left - right;
    }
    kernel->taps = (int)taps, kernel->guard_bits = shift[0];
    kernel->decay = taps > 1 ? shift[0] - shift[1] : 0;
    for (size_t m = 0; m < taps; m++) {
        int expected = kernel->guard_bits - kernel->decay * (int)m;
        if (shift[m] != (expected < -30 ? -30 : expected)) return door_refuse(kernel, "has a window without one decay");
    }
    return NULL;
}

static ort_status *read_attributes(door_kernel *kernel, const ort_info *info) {
    enum door_kind kind = kernel->op->layer->kind;
    if (kind == DOOR_POOL || kind == DOOR_READOUT) return NULL;
    int64_t numerator = integer(kernel, info, "leak_numerator", 1), repeats[DOOR_RANK] = {0};
    kernel->leak_shift = exponent(integer(kernel, info, "leak_divisor", 0));
    if (kernel->leak_shift < 0 || kernel->leak_shift > 16 || numerator < 0 || numerator > (int64_t)1 << kernel->leak_shift)
        return door_refuse(kernel, "has no leak between 0 and 1");
    kernel->leak_numerator = (int)numerator;
    if (kind == DOOR_ATTENTION) {
        int64_t heads = integer(kernel, info, "heads", 0);
        kernel->guard_bits = exponent(integer(kernel, info, "guard_multiplier", 1));
        if (heads < 1 || heads > 1 << 16 || kernel->guard_bits < 0) return door_refuse(kernel, "has no heads or a guard that is no power of two");
        kernel->heads = (int)heads;
        return NULL;
    }
    size_t axes = integers(kernel, info, "repeats", repeats, DOOR_RANK);
    if (axes && (repeats[0] < 1 || repeats[0] > DS2TA_MAX_STEPS)) return door_refuse(kernel, "repeats %lld times", (long long)repeats[0]);
    kernel->repeats = axes ? (int)repeats[0] : 0;
    return read_window(kernel, info);
}

/* A plan packs them once: they may not be other ones at the next call. */
static ort_status *require_constants(const door_kernel *kernel, const ort_info *info) {
    for (int i = kernel->op->layer->first_constant; i < kernel->op->layer->input_count; i++) {
        int constant = 0;
        const ort_value *value = NULL;
        ort_status *status = ort_constant(kernel->api)(info, (size_t)i, &constant, &value);
        if (status) return status;
        if (!constant) return door_refuse(kernel, "has an input %d that is no constant of the file", i);
    }
    return NULL;
}

static void destroy(void *memory) {
    door_kernel *kernel = memory;
    door_forget_plan(kernel);
    pthread_mutex_destroy(&kernel->turn);
    free(kernel);
}

static ort_status *create_kernel(const ort_op *op, ort_api api, const ort_info *info, void **made) {
    door_kernel *kernel = calloc(1, sizeof *kernel);
    if (!kernel) return ort_create_status(api)(ORT_FAIL, "not enough memory");
    kernel->op = self(op);
    kernel->api = api;
    pthread_mutex_init(&kernel->turn, NULL);
    ort_status *status = read_attributes(kernel, info);
    if (!status) status = require_constants(kernel, info);
    if (status)
        destroy(kernel);
    else
        *made = kernel;
    return status;
}

/* A session may run in several threads at once; the kernel of a node then serves them in turn. */
static ort_status *compute_kernel(void *memory, ort_context *context) {
    door_kernel *kernel = memory;
    door_tensor inputs[DOOR_INPUTS];
    ort_status *status = door_read(kernel, context, inputs);
    if (status) return status;
    if (kernel->op->layer->kind == DOOR_POOL) return door_pool(kernel, context, inputs);
    if (kernel->op->layer->kind == DOOR_READOUT) return door_readout(kernel, context, inputs);
    pthread_mutex_lock(&kernel->turn);
    status = (kernel->op->layer->kind == DOOR_ATTENTION ? door_attention : door_weighted)(kernel, context, inputs);
    pthread_mutex_unlock(&kernel->turn);
    return status;
}

static const ort_op TEMPLATE = {.version = ORT_OP_VERSION,
                                .name = name,
                                .provider = provider,
                                .input_type = input_type,
                                .input_count = input_count,
                                .output_type = output_type,
                                .output_count = output_count,
                                .destroy = destroy,
                                .input_presence = input_presence,
                                .output_presence = output_presence,
                                .input_memory = input_memory,
                                .variadic_input_least = variadic,
                                .variadic_input_same = variadic,
                                .variadic_output_least = variadic,
                                .variadic_output_same = variadic,
                                .create_kernel = create_kernel,
                                .compute_kernel = compute_kernel};

static ort_status *fill(registration *made) {
    ort_status *status = ort_create_domain(made->api)(DOMAIN, &made->domain);
    for (int i = 0; i < LAYER_COUNT * BODIES && !status; i++) {
        door_op *op = made->ops + i;
        op->op = TEMPLATE;
        op->layer = LAYERS + i / BODIES;
        op->threads = made->threads;
        memcpy(op->isa, made->isa, sizeof op->isa);
        if (i % BODIES)
            snprintf(op->name, sizeof op->name, "%s_%d", op->layer->stem, i % BODIES + 1);
        else
            snprintf(op->name, sizeof op->name, "%s", op->layer->stem);
        status = ort_add_op(made->api)(made->domain, &op->op);
    }
    return status;
}

/* The operators of a configuration, made when they are first asked for. */
static ort_status *find(ort_api api, int threads, const char *isa, registration **found) {
    ort_status *status = NULL;
    pthread_mutex_lock(&registering);
    registration *each = registrations;
    while (each && (each->api != api || each->threads != threads || strcmp(each->isa, isa))) each = each->next;
    if (!each && !(each = calloc(1, sizeof *each))) status = ort_create_status(api)(ORT_FAIL, "not enough memory");
    if (!status && !each->domain) {
        each->api = api;
        each->threads = threads;
        snprintf(each->isa, sizeof each->isa, "%s", isa);
        status = fill(each);
        if (!status) each->next = registrations, registrations = each;
    }
    pthread_mutex_unlock(&registering);
    *found = each;
    return status;
}

/* A session's setting as text; empty where there is none. */
static ort_status *setting(ort_api api, const ort_options *options, const char *key, char *text, size_t size) {
    int there = 0;
    text[0] = 0;
    ort_status *status = ort_has_entry(api)(options, key, &there);
    return status || !there ? status : ort_entry(api)(options, key, text, &size);
}

DS2TA_API ort_status *RegisterCustomOps(ort_options *options, const ort_base *base);

ort_status *RegisterCustomOps(ort_options *options, const ort_base *base) {
    ort_api api = base->api(ORT_API_VERSION);
    if (!api) return ort_create_status(base->api(1))(ORT_FAIL, "the kernels of ai.ds2ta need ONNX Runtime 1.17 or later");
    char threads[16], isa[16], *end = threads;
    ort_status *status = setting(api, options, "ds2ta.threads", threads, sizeof threads);
    if (!status) status = setting(api, options, "ds2ta.isa", isa, sizeof isa);
    if (status) return status;
    long count = *threads ? strtol(threads, &end, 10) : 1;
    if (*end || count < 1 || count > MOST_THREADS) return ort_create_status(api)(ORT_INVALID_ARGUMENT, "ds2ta.threads is not 1 to 256");
    if (*isa && !ds2ta_supports(isa)) return ort_create_status(api)(ORT_INVALID_ARGUMENT, "ds2ta.isa does not work here");
    registration *found = NULL;
    status = find(api, (int)count, isa, &found);
    return status ? status : ort_add_domain(api)(options, found->domain);
}
