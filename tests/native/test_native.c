/* Tests of the library that need no Python, so that they run under sanitizers and under an emulator.
 *
 * usage: test_native [networks]     exits with 0 when everything holds; the last line says how much was compared. */
#include "networks.h"

#include "plan.h" /* for the way to products, which only a test chooses */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const SETS[] = {"scalar", "avx2", "avx512", "neon"};
enum { SET_COUNT = 4, WAY_COUNT = 3, CALLERS = 4, CALLS = 3 };
static const char *const WAYS[WAY_COUNT] = {"by density", "listed", "dense"};

static int passed, failed;

static void check(int good, const char *what, unsigned long seed) {
    passed += good;
    failed += !good;
    if (!good) fprintf(stderr, "FAILED: %s, network %lu\n", what, seed);
}

/* Every instruction set, way to products and number of threads against the scalar definition in one thread, with the same plan. */
static void compare_sets(const network *n, const results *expected, unsigned long seed) {
    for (int s = 0; s < SET_COUNT; s++)
        for (int threads = 1; threads <= 4; threads *= 2) {
            if (!ds2ta_supports(SETS[s])) continue;
            char error[200] = "", what[64];
            ds2ta_plan *plan = network_plan(n, SETS[s], threads, error, sizeof error);
            check(plan != NULL, error, seed);
            if (!plan) continue;
            check(!strcmp(ds2ta_plan_isa(plan), SETS[s]) && ds2ta_plan_bytes(plan) > n->arena, "what a plan says of itself", seed);
            for (int way = 0; way < WAY_COUNT; way++) {
                if (threads > 1 && way != (int)(seed % WAY_COUNT)) continue;
                results found;
                snprintf(what, sizeof what, "%s, %s, in %d threads", SETS[s], WAYS[way], threads);
                plan->way = (enum ds2ta_way)way;
                network_run(n, plan, &found);
                check(results_equal(expected, &found), what, seed);
                results_free(&found);
            }
            ds2ta_plan_free(plan);
        }
}

typedef struct {
    const network *n;
    const results *expected;
    int index, wrong;
} caller;

static void *call(void *argument) {
    caller *self = argument;
    for (int i = 0; i < CALLS; i++) {
        char error[200];
        ds2ta_plan *plan = network_plan(self->n, self->index % 2 ? NULL : "scalar", 1 + self->index, error, sizeof error);
        if (!plan) {
            self->wrong++;
            continue;
        }
        results found;
        network_run(self->n, plan, &found);
        self->wrong += !results_equal(self->expected, &found);
        results_free(&found);
        ds2ta_plan_free(plan);
    }
    return NULL;
}

/* Several plans in several threads at once. */
static void compare_callers(const network *n, const results *expected, unsigned long seed) {
    pthread_t threads[CALLERS];
    caller callers[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (caller){n, expected, i, 0};
        if (pthread_create(threads + i, NULL, call, callers + i)) exit(2);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        check(!callers[i].wrong, "plans at once", seed);
    }
}

/* Fields of an operation whose lie the library can see: those that say how long an array is, it has to believe. */
static int32_t *seen_field(network *n, ds2ta_op *op, int64_t which) {
    int32_t *const fields[] = {&op->kind, op->inputs, op->inputs + 1, op->inputs + 2, &op->output, &op->taps, &op->decay, &op->guard_bits, &op->leak_shift,
                               &op->stride, &op->axis, &op->left_heads, &op->right_heads, &op->transpose_left, &op->transpose_right, &op->shift, &op->dilation};
    (void)n;
    return fields[which % 17];
}

/* Plans with one lie each: refused with a reason, or they run. */
static void try_lies(network *n, unsigned long seed) {
    static const int64_t lies[] = {-1, 0, 1, 2, 3, 63, 64, 65, 1 << 16, 1 << 20, INT32_MAX, INT32_MIN, INT32_MIN + 64};
    for (int i = 0; i < 60; i++) {
        network lied = *n;
        int64_t lie = lies[draw(n, 0, 12)];
        ds2ta_value *v = lied.values + draw(n, 0, n->value_count - 1);
        ds2ta_op *op = lied.ops + draw(n, 0, n->op_count - 1);
        const char *isa = NULL;
        switch (draw(n, 0, 11)) {
        case 0: v->height = (int32_t)lie; break;
        case 1: v->width = (int32_t)lie; break;
        case 2: v->channels = (int32_t)lie; break;
        case 3: v->planes = (int32_t)lie; break;
        case 4: v->offset = lie * ((int64_t)1 << draw(n, 0, 31)); break;
        case 5: lied.arena = lie * ((int64_t)1 << draw(n, 0, 31)); break;
        case 6: isa = "sse2"; break;
        case 7: op->bias = NULL; break;
        case 8: v->steps = (int32_t)lie; break;
        default: *seen_field(&lied, op, draw(n, 0, 16)) = (int32_t)lie;
        }
        char error[200] = "";
        ds2ta_plan *plan = network_plan(&lied, isa, 2, error, sizeof error);
        check(plan || *error, "a refusal without a reason", seed);
        ds2ta_plan_free(plan);
    }
}

static void refuse_nothing(const network *n) {
    char error[200];
    check(!ds2ta_plan_new(0, n->values, n->value_count, n->ops, n->op_count, n->arena, 1, NULL, error, sizeof error), "no steps", 0);
    check(!ds2ta_plan_new(4, NULL, n->value_count, n->ops, n->op_count, n->arena, 1, NULL, error, sizeof error), "no values", 0);
    check(!ds2ta_plan_new(4, n->values, n->value_count, NULL, n->op_count, n->arena, 1, NULL, error, sizeof error), "no operations", 0);
    check(!ds2ta_plan_new(4, n->values, -1, n->ops, n->op_count, n->arena, 1, NULL, NULL, 0), "nowhere to tell the error", 0);
    check(!ds2ta_plan_new(4, n->values, n->value_count, n->ops, n->op_count, n->arena, 257, NULL, error, 3), "too many threads", 0);
    check(!ds2ta_supports("") && !ds2ta_supports(NULL), "instruction sets that there are not", 0);
    check(ds2ta_abi() == DS2TA_ABI, "the interface's number", 0);
    ds2ta_plan_free(NULL);
}

int main(int argc, char **argv) {
    unsigned long networks = argc > 1 ? strtoul(argv[1], NULL, 10) : 40;
    size_t spikes = 0, places = 0;
    for (unsigned long seed = 1; seed <= networks; seed++) {
        network n;
        (seed % 2 ? network_make : network_make_streams)(&n, seed);
        char error[200] = "";
        ds2ta_plan *plan = network_plan(&n, "scalar", 1, error, sizeof error);
        check(plan != NULL, error, seed);
        if (plan) {
            results expected;
            network_run(&n, plan, &expected);
            for (int i = 0; i < n.value_count; i++)
                for (size_t k = 0; k < expected.value_sizes[i]; k++, places++) spikes += expected.values[i][k] != 0;
            compare_sets(&n, &expected, seed);
            if (seed % 4 == 1) compare_callers(&n, &expected, seed);
            results_free(&expected);
            ds2ta_plan_free(plan);
            try_lies(&n, seed);
        }
        if (seed == 1) refuse_nothing(&n);
        network_free(&n);
    }
    check(spikes > places / 20 && spikes < places - places / 20, "networks that fire", 0);
    for (int s = 0; s < SET_COUNT; s++) printf("%s: %s\n", SETS[s], ds2ta_supports(SETS[s]) ? "compared" : "does not work here");
    printf("%lu of %lu places fire\n%d passed, %d failed\n", (unsigned long)spikes, (unsigned long)places, passed, failed);
    return failed != 0;
}
