/* Layers with weights, and attention: every node has a plan of its own, its inputs given, and runs on ONNX Runtime's threads. */
#include "onnx_door.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* What a call works on. */
typedef struct {
    door_kernel *kernel;
    const door_tensor *inputs;
    door_tensor outputs[DOOR_OUTPUTS];
    uint8_t *values[DOOR_INPUTS]; /* of the plan: its inputs, then its spikes */
    void *inner[DOOR_INPUTS * DS2TA_INNER];
    int sample;
} door_call;

/* The arrays of an operation in the order that a plan takes them. */
typedef struct {
    int8_t *weight;
    int16_t *wide, *table;
    int32_t *bias;
} door_arrays;

void door_forget_plan(door_kernel *kernel) {
    for (int i = 0; kernel->more && kernel->plan && i < kernel->op->threads - 1; i++) ds2ta_free_scratch(kernel->more + i);
    free(kernel->more);
    ds2ta_plan_free(kernel->plan);
    kernel->more = NULL;
    kernel->plan = NULL;
}

/* A plan whose values are all given but the last, which the operation makes. */
static ort_status *make_plan(door_kernel *kernel, const ds2ta_op *operation, const ds2ta_value *values, int count) {
    char error[200] = "";
    ds2ta_op ops[DOOR_INPUTS] = {{0}};
    int64_t groups = (kernel->steps + DS2TA_GROUP - 1) / DS2TA_GROUP, arena = 0;
    ds2ta_value placed[DOOR_INPUTS];
    for (int i = 0; i < count; i++) {
        placed[i] = values[i];
        placed[i].offset = arena;
        arena += (int64_t)ds2ta_tokens(values + i) * ds2ta_padded(values[i].channels) * values[i].planes * groups;
        ops[i] = (ds2ta_op){.kind = DS2TA_GIVEN, .inputs = {-1, -1, -1}, .output = i};
    }
    ops[count - 1] = *operation;
    const char *isa = *kernel->op->isa ? kernel->op->isa : NULL;
    kernel->plan = ds2ta_plan_new(kernel->steps, placed, count, ops, count, arena, 1, isa, error, sizeof error);
    if (!kernel->plan) return door_refuse(kernel, "no plan for it: %s", error);
    kernel->more = calloc((size_t)kernel->op->threads, sizeof *kernel->more);
    for (int i = 0; i < kernel->op->threads - 1; i++)
        if (!kernel->more || ds2ta_make_scratch(kernel->plan, kernel->more + i) < 0) {
            door_forget_plan(kernel);
            return door_refuse(kernel, "not enough memory for %d threads", kernel->op->threads);
        }
    return NULL;
}

/* Transposes [rows][out] to [out][rows] of 8 or 16 bits, whichever array is there. */
static void transpose(const door_tensor *weight, door_arrays *arrays) {
    size_t rows = (size_t)weight->size[0], outputs = (size_t)weight->size[1];
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < outputs; o++) {
            size_t from = r * outputs + o, to = o * rows + r;
            if (arrays->weight) arrays->weight[to] = ((const int8_t *)weight->data)[from];
            if (arrays->wide)
                arrays->wide[to] = weight->type == ORT_INT16 ? ((const int16_t *)weight->data)[from] : ((const int8_t *)weight->data)[from];
        }
}

/* A layer whose inputs or weights may have 16 bits, or that shows one picture at every step, multiplies value by value. */
static int multiplies(const door_kernel *kernel) { return kernel->op->layer->wide || kernel->repeats; }

static ort_status *plan_weighted(door_kernel *kernel, const door_tensor *inputs, int size, int channels) {
    const door_tensor *weight = inputs + 1;
    size_t elements = (size_t)door_elements(weight);
    int outputs = (int)weight->size[1], wide = multiplies(kernel);
    ds2ta_value in = {kernel->height, kernel->width, channels, kernel->planes, 0, 0}, out = {kernel->height, kernel->width, outputs, 1, 0, 0};
    /* A plan's encoder has a table for its pixels. Here the file's InputTable has been asked before, and this one is not. */
    door_arrays arrays = {wide ? NULL : malloc(elements), wide ? malloc(elements * sizeof(int16_t)) : NULL,
                          wide ? calloc((size_t)channels * 256, sizeof(int16_t)) : NULL, NULL};
    ort_status *status = NULL;
    if ((wide && (!arrays.wide || !arrays.table)) || (!wide && !arrays.weight)) {
        status = door_refuse(kernel, "not enough memory for its weights");
    } else {
        transpose(weight, &arrays);
        ds2ta_op operation = {wide ? DS2TA_ENCODE : kernel->op->layer->kind == DOOR_CONV ? DS2TA_CONV : DS2TA_LINEAR,
                              {wide ? -1 : 0, -1, -1},
                              wide ? 0 : 1,
                              size,
                              kernel->repeats > 0,
                              0,
                              0,
                              kernel->taps,
                              kernel->decay,
                              kernel->guard_bits,
                              kernel->leak_numerator,
                              kernel->leak_shift,
                              channels,
                              outputs,
                              arrays.table,
                              arrays.weight,
                              arrays.wide,
                              inputs[2].data,
                              inputs[3].data,
                              .dilation = 1};
        ds2ta_value values[2] = {in, out};
        status = make_plan(kernel, &operation, wide ? values + 1 : values, wide ? 1 : 2);
    }
    free(arrays.weight), free(arrays.wide), free(arrays.table);
    return status;
}

static ort_status *plan_attention(door_kernel *kernel, const door_tensor *inputs) {
    int channels = (int)inputs->size[3];
    ds2ta_value value = {kernel->height, kernel->width, channels, 1, 0, 0}, values[4] = {value, value, value, value};
    int32_t *bias = calloc((size_t)channels + 1, sizeof *bias); /* attention has none */
    if (!bias) return door_refuse(kernel, "not enough memory");
    ds2ta_op operation = {DS2TA_ATTENTION,
                          {0, 1, 2},
                          3,
                          1,
                          0,
                          kernel->heads,
                          (int)inputs[3].size[1],
                          1,
                          0,
                          kernel->guard_bits,
                          kernel->leak_numerator,
                          kernel->leak_shift,
                          channels,
                          channels,
                          inputs[3].data,
                          NULL,
                          NULL,
                          bias,
                          inputs[4].data,
                          .dilation = 1};
    ort_status *status = make_plan(kernel, &operation, values, 4);
    free(bias);
    return status;
}

/* Whether there is a plan for this shape and these counts; if not, notes them for the one that has to be made. */
static int is_planned(door_kernel *kernel, int64_t steps, int64_t height, int64_t width, int planes) {
    int same = kernel->steps == steps && kernel->height == height && kernel->width == width && kernel->planes >= planes;
    if (kernel->plan && same) return 1;
    door_forget_plan(kernel);
    kernel->steps = (int)steps, kernel->height = (int)height, kernel->width = (int)width, kernel->planes = planes;
    return 0;
}

/* Tokens [low, high) of one thread. */
static int share(const door_call *call, size_t index, int *low, int *high) {
    const door_kernel *kernel = call->kernel;
    int tokens = kernel->height * kernel->width, size = (tokens + kernel->op->threads - 1) / kernel->op->threads;
    *low = (int)index * size < tokens ? (int)index * size : tokens;
    *high = *low + size < tokens ? *low + size : tokens;
    return *low < *high;
}

static const ds2ta_node *operation_of(const ds2ta_plan *plan) { return plan->nodes + plan->node_count - 1; }

static void pack_share(void *argument, size_t index) {
    const door_call *call = argument;
    const ds2ta_plan *plan = call->kernel->plan;
    int low, high;
    if (!share(call, index, &low, &high)) return;
    for (int i = 0; i < plan->node_count - 1; i++) ds2ta_given(plan, plan->nodes + i, NULL, call->sample, low, high);
}

/* Value of an input of 8 or 16 bits. */
static int16_t value_at(const door_tensor *tensor, size_t at) {
    return tensor->type == ORT_INT16 ? ((const int16_t *)tensor->data)[at] : ((const uint8_t *)tensor->data)[at];
}

/* What an encoder sees of an input. */
static void look(const void *source, size_t first, size_t count, int16_t *to) {
    for (size_t i = 0; i < count; i++) to[i] = value_at(source, first + i);
}

static void run_share(void *argument, size_t index) {
    const door_call *call = argument;
    const ds2ta_plan *plan = call->kernel->plan;
    const ds2ta_node *node = operation_of(plan);
    ds2ta_scratch *scratch = index ? call->kernel->more + index - 1 : plan->scratch;
    int low, high;
    if (!share(call, index, &low, &high)) return;
    if (node->op.kind == DS2TA_ENCODE) ds2ta_encode_seen(plan, node, scratch, look, call->inputs, call->sample, low, high);
    if (node->op.kind == DS2TA_LINEAR || node->op.kind == DS2TA_CONV) ds2ta_weigh(plan, node, scratch, call->sample, low, high);
    if (node->op.kind == DS2TA_ATTENTION) ds2ta_attend(plan, node, scratch, call->sample, low, high);
    if (call->outputs->data) ds2ta_trace_value(plan, node->op.output, call->sample, low, high);
}

/* Runs all shares at once; returns when all are done. */
static ort_status *share_out(const door_call *call, ort_context *context, void (*work)(void *, size_t)) {
    size_t threads = (size_t)call->kernel->op->threads;
    if (threads > 1) return ort_parallel(call->kernel->api)(context, work, threads, threads, (void *)call);
    work((void *)call, 0);
    return NULL;
}

/* Fetches the outputs that are asked for, then runs sample after sample. */
static ort_status *run(door_call *call, ort_context *context, int batch) {
    const door_kernel *kernel = call->kernel;
    ds2ta_plan *plan = kernel->plan;
    ort_status *status = NULL;
    void **inner = call->inner + (plan->node_count - 1) * DS2TA_INNER;
    int given = plan->node_count - 1, traced = 0;
    for (int i = 0; i < given; i++) call->values[i] = call->inputs[i].data;
    for (int i = 0; i < kernel->op->layer->output_count && !status; i++) {
        status = door_write(kernel, context, (size_t)i, call->outputs + i);
        if (i && call->outputs[i].data) inner[kernel->op->layer->inner[i]] = call->outputs[i].data, traced = 1;
    }
    plan->batch = batch;
    call->values[given] = call->outputs->data;
    plan->traced = call->values;
    plan->inner = traced ? call->inner : NULL;
    for (call->sample = 0; call->sample < batch && !status; call->sample++) {
        if (given) status = share_out(call, context, pack_share);
        if (!status) status = share_out(call, context, run_share);
    }
    plan->traced = NULL;
    plan->inner = NULL;
    return status;
}

/* Sizes that a plan can count with. */
static int fits_int(const door_tensor *tensor) {
    for (size_t i = 0; i < tensor->rank; i++)
        if (tensor->size[i] < 0 || tensor->size[i] > INT_MAX / 64) return 0;
    return 1;
}

/* Side of the square kernel that has so many weight rows for so many channels; 0 when there is none. */
static int kernel_size(int64_t rows, int64_t channels) {
    for (int size = 1; channels > 0 && size <= 15; size += 2)
        if (rows == size * size * channels) return size;
    return 0;
}

ort_status *door_weighted(door_kernel *kernel, ort_context *context, const door_tensor *inputs) {
    const door_tensor *in = inputs, *weight = inputs + 1;
    int conv = kernel->op->layer->kind == DOOR_CONV;
    size_t rank = conv ? 5 : 4;
    if (in->rank != rank || weight->rank != 2) return door_refuse(kernel, "has inputs of %zu axes and weights of %zu", in->rank, weight->rank);
    if ((in->type != ORT_UINT8 && in->type != ORT_INT16) || (weight->type != ORT_INT8 && weight->type != ORT_INT16))
        return door_refuse(kernel, "has inputs of element type %d and weights of element type %d", in->type, weight->type);
    if (!fits_int(in) || !fits_int(weight)) return door_refuse(kernel, "has sizes beyond all bounds");
    int64_t channels = in->size[rank - 1], outputs = weight->size[1];
    int size = kernel_size(weight->size[0], channels);
    if (!size || (!conv && size != 1)) return door_refuse(kernel, "has %lld weight rows for %lld channels", (long long)weight->size[0], (long long)channels);
    for (int i = 2; i < 4; i++)
        if (inputs[i].rank != 1 || inputs[i].size[0] != outputs) return door_refuse(kernel, "has no bias and threshold for every output");
    if (kernel->repeats && in->size[0] != 1) return door_refuse(kernel, "repeats a picture that is not still");
    int64_t steps = kernel->repeats ? kernel->repeats : in->size[0], height = conv ? in->size[2] : 1, width = in->size[rank - 2];
    int planes = multiplies(kernel) ? 1 : door_bits(in->data, door_elements(in));
    if (!is_planned(kernel, steps, height, width, planes)) {
        ort_status *status = plan_weighted(kernel, inputs, size, (int)channels);
        if (status) return status;
    }
    door_call call = {.kernel = kernel, .inputs = inputs};
    for (int i = 0; i < kernel->op->layer->output_count; i++) {
        call.outputs[i] = *in;
        call.outputs[i].size[rank - 1] = outputs;
        int inner = kernel->op->layer->inner[i];
        if (i == 0 || inner == DS2TA_MEMBRANE) call.outputs[i].size[0] = steps;
    }
    return run(&call, context, (int)in->size[1]);
}

ort_status *door_attention(door_kernel *kernel, ort_context *context, const door_tensor *inputs) {
    const door_tensor *query = inputs, *table = inputs + 3, *threshold = inputs + 4;
    for (int i = 0; i < 3; i++) {
        if (inputs[i].rank != 4 || memcmp(inputs[i].size, query->size, 4 * sizeof *query->size) || !fits_int(inputs + i))
            return door_refuse(kernel, "has a query, key or value that is not [T, batch, N, D]");
        if (door_bits(inputs[i].data, door_elements(inputs + i)) > 1)
            return door_refuse(kernel, "has counts above 1 as query, key or value; the file runs without this library");
    }
    int64_t steps = query->size[0], batch = query->size[1], tokens = query->size[2], channels = query->size[3];
    if (table->rank != 2 || table->size[0] != kernel->heads || !fits_int(table) || threshold->rank != 1 || threshold->size[0] != channels)
        return door_refuse(kernel, "has no table for every head or no threshold for every channel");
    if (!is_planned(kernel, steps, 1, tokens, 1)) {
        ort_status *status = plan_attention(kernel, inputs);
        if (status) return status;
    }
    door_call call = {.kernel = kernel, .inputs = inputs};
    for (int i = 0; i < kernel->op->layer->output_count; i++) {
        int inner = kernel->op->layer->inner[i], map = i && (inner == DS2TA_SCORES || inner == DS2TA_DENOISED);
        call.outputs[i] = *query;
        if (map) call.outputs[i] = (door_tensor){0, 5, {steps, batch, kernel->heads, tokens, tokens}, NULL};
    }
    return run(&call, context, (int)batch);
}
