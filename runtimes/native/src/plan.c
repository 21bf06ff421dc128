/* Makes, runs and frees plans. */
#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int fail(char *error, size_t size, const char *text) {
    if (error) snprintf(error, size, "%s", text);
    return 0;
}

static int build(ds2ta_plan *plan, const ds2ta_value *values, const ds2ta_op *ops, int64_t arena_bytes, char *error, size_t size) {
    plan->values = calloc((size_t)plan->value_count, sizeof *plan->values);
    plan->nodes = calloc((size_t)plan->node_count, sizeof *plan->nodes);
    plan->scratch = calloc((size_t)plan->threads, sizeof *plan->scratch);
    plan->arenas = calloc((size_t)plan->threads, sizeof *plan->arenas);
    if (!plan->values || !plan->nodes || !plan->scratch || !plan->arenas) return fail(error, size, "not enough memory");
    for (int i = 0; i < plan->threads; i++) {
        void *arena = NULL;
        if (posix_memalign(&arena, 64, (size_t)arena_bytes)) return fail(error, size, "not enough memory");
        plan->arenas[i] = memset(arena, 0, (size_t)arena_bytes);
        plan->bytes += arena_bytes;
    }
    plan->arena = plan->arenas[0];
    memcpy(plan->values, values, (size_t)plan->value_count * sizeof *values);
    for (int i = 0; i < plan->node_count; i++) {
        plan->nodes[i].op = ops[i];
        int64_t bytes = ds2ta_pack(plan, plan->nodes + i);
        if (bytes < 0) return fail(error, size, "not enough memory for the weights");
        plan->bytes += bytes;
    }
    ds2ta_share(plan);
    ds2ta_lay_out_state(plan);
    for (int i = 0; i < plan->threads; i++) {
        int64_t bytes = ds2ta_make_scratch(plan, plan->scratch + i);
        if (bytes < 0) return fail(error, size, "not enough memory to work in");
        plan->bytes += bytes;
    }
    if (plan->threads > 1 && !(plan->pool = ds2ta_threads_new(plan->threads))) return fail(error, size, "threads cannot be started");
    return 1;
}

ds2ta_plan *ds2ta_plan_new(int time_steps, const ds2ta_value *values, int value_count, const ds2ta_op *ops, int op_count,
                           int64_t arena_bytes, int threads, const char *isa, char *error, size_t error_size) {
    if (!ds2ta_check(time_steps, values, value_count, ops, op_count, arena_bytes, threads, error, error_size)) return NULL;
    const ds2ta_kernels *kernels = ds2ta_select_kernels(isa);
    if (!kernels) {
        fail(error, error_size, "this instruction set does not work here");
        return NULL;
    }
    ds2ta_plan *plan = calloc(1, sizeof *plan);
    if (!plan) {
        fail(error, error_size, "not enough memory");
        return NULL;
    }
    plan->steps = time_steps;
    plan->groups = (time_steps + DS2TA_GROUP - 1) / DS2TA_GROUP;
    plan->value_count = value_count;
    plan->node_count = op_count;
    plan->threads = threads;
    plan->kernels = kernels;
    plan->costs = kernels->costs();
    if (!build(plan, values, ops, arena_bytes, error, error_size)) {
        ds2ta_plan_free(plan);
        return NULL;
    }
    return plan;
}

void ds2ta_plan_free(ds2ta_plan *plan) {
    if (!plan) return;
    ds2ta_threads_free(plan->pool);
    for (int i = 0; plan->nodes && i < plan->node_count; i++) ds2ta_unpack(plan->nodes + i);
    for (int i = 0; plan->scratch && i < plan->threads; i++) ds2ta_free_scratch(plan->scratch + i);
    for (int i = 0; plan->arenas && i < plan->threads; i++) free(plan->arenas[i]);
    free(plan->values), free(plan->nodes), free(plan->scratch), free(plan->arenas), free(plan);
}

const char *ds2ta_plan_isa(const ds2ta_plan *plan) { return plan->kernels->name; }

int64_t ds2ta_plan_bytes(const ds2ta_plan *plan) { return plan->bytes; }

int64_t ds2ta_state_size(const ds2ta_plan *plan) { return plan->state_size; }

int64_t ds2ta_state_place(const ds2ta_plan *plan, int op) { return op < 0 || op >= plan->node_count ? -1 : plan->nodes[op].state; }

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

typedef void (*operation)(const ds2ta_plan *, const ds2ta_node *, ds2ta_scratch *, int, int, int);

static const operation OPERATIONS[] = {ds2ta_encode, ds2ta_weigh,  ds2ta_weigh,  ds2ta_attend,
                                       ds2ta_pool,   ds2ta_add,    ds2ta_readout,  ds2ta_given,
                                       ds2ta_neurons, ds2ta_window, ds2ta_sum,    ds2ta_maximum,
                                       ds2ta_multiply, ds2ta_reduce, ds2ta_matmul, ds2ta_look_up,
                                       ds2ta_mix_steps, ds2ta_compare};

/* Tokens of one sample's operation: all of them, or one thread's share, after which all threads meet. */
static void operate(ds2ta_plan *plan, int i, int sample, int index, int sharers) {
    const ds2ta_node *node = plan->nodes + i;
    int64_t began = index == 0 && plan->nanoseconds ? now() : 0;
    int tokens = node->op.output < 0 ? node->tokens : ds2ta_tokens(plan->values + node->op.output);
    int share = (tokens + sharers - 1) / sharers, low = sharers > 1 ? index * share : 0, high = low + share;
    low = low < tokens ? low : tokens;
    high = high < tokens ? high : tokens;
    OPERATIONS[node->op.kind](plan, node, plan->scratch + index, sample, low, high);
    if (node->op.output >= 0 && node->op.kind != DS2TA_GIVEN && plan->traced && plan->traced[node->op.output])
        ds2ta_trace_value(plan, node->op.output, sample, low, high);
    if (sharers > 1) ds2ta_threads_meet(plan->pool);
    if (index == 0 && plan->nanoseconds) plan->nanoseconds[i] += now() - began;
}

/* One thread's part of a run. As long as there is a sample for every thread, each takes one, in an arena of its own, and none waits for
 * another; the samples that are left over are shared, operation by operation. */
static void work(void *argument, int index) {
    ds2ta_plan *plan = argument, own = *plan;
    own.arena = plan->arenas[index];
    int alone = plan->batch / plan->threads * plan->threads;
    for (int sample = index; sample < alone; sample += plan->threads)
        for (int i = 0; i < plan->node_count; i++) operate(&own, i, sample, index, 1);
    if (alone < plan->batch) ds2ta_threads_meet(plan->pool);
    for (int sample = alone; sample < plan->batch; sample++)
        for (int i = 0; i < plan->node_count; i++) operate(plan, i, sample, index, plan->threads);
}

static void run(ds2ta_plan *plan, const uint8_t *input, int batch, int32_t *logits, uint8_t *const *values, void *const *inner,
                int64_t *nanoseconds) {
    plan->input = input;
    plan->batch = batch;
    plan->logits = logits;
    plan->traced = values;
    plan->inner = inner;
    plan->nanoseconds = nanoseconds;
    if (nanoseconds) memset(nanoseconds, 0, (size_t)plan->node_count * sizeof *nanoseconds);
    ds2ta_threads_run(plan->pool, work, plan);
}

void ds2ta_run(ds2ta_plan *plan, const uint8_t *input, int batch, int32_t *logits, uint8_t *const *values, void *const *inner,
               int64_t *nanoseconds) {
    plan->state = NULL;
    plan->taken = 0;
    run(plan, input, batch, logits, values, inner, nanoseconds);
}

int ds2ta_step(ds2ta_plan *plan, int64_t taken, int32_t *state, const uint8_t *input, int batch, int32_t *logits, uint8_t *const *values,
               void *const *inner, int64_t *nanoseconds) {
    if (!state || (uintptr_t)state % 64 || taken < 0 || taken % plan->steps || taken > plan->weighed - plan->steps) return 0;
    plan->state = state;
    plan->taken = taken;
    run(plan, input, batch, logits, values, inner, nanoseconds);
    return 1;
}
