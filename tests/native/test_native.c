/* Tests of the library that need no Python, so that they run under sanitizers and under an emulator.
 *
 * usage: test_native [networks]     exits with 0 when everything holds; the last line says how much was compared. */
#include "abreast.h"
#include "narrow.h"
#include "sorts.h"
#include "subsets.h"
#include "networks.h"

#include "plan.h" /* for the way to products, which only a test chooses */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const SETS[] = {"scalar", "avx2", "avx512", "neon"};
enum { SET_COUNT = 4, WAY_COUNT = 4, CALLERS = 4, CALLS = 3 };
static const char *const WAYS[WAY_COUNT] = {"by density", "listed", "dense", "subsets"};

static int passed, failed, stepped, tabled, narrow, abreast, encoded;
static size_t sorted, convolved, spikes, places;

static void check(int good, const char *what, unsigned long seed) {
    passed += good;
    failed += !good;
    if (!good) fprintf(stderr, "FAILED: %s, network %lu\n", what, seed);
}

/* Layers whose sums were looked up, or whose neurons may fire in 16 bits; attentions whose queries went side by side. */
static void count_ways(const ds2ta_plan *plan) {
    for (int i = 0; i < plan->node_count; i++) {
        abreast += plan->nodes[i].op.kind == DS2TA_ATTENTION && ds2ta_may_go_abreast(plan, plan->nodes + i);
        narrow += plan->nodes[i].reach != NULL;
        tabled += (plan->nodes[i].op.kind == DS2TA_LINEAR || plan->nodes[i].op.kind == DS2TA_CONV) && ds2ta_may_use_subsets(plan, plan->nodes + i);
    }
}

/* Subsets, and neurons that fire in 16 bits where rows are listed, say nothing of what happens inside. */
static int says(int way, int inside) {
    if (way == DS2TA_LISTED) return 1;
    return inside == (way != DS2TA_SUBSETS_WHERE_POSSIBLE);
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
            for (int run = 0; run < 2 * WAY_COUNT; run++) {
                int way = run / 2, inside = run % 2;
                if ((threads > 1 && way != (int)(seed % WAY_COUNT)) || !says(way, inside)) continue;
                results found;
                snprintf(what, sizeof what, "%s, %s%s, in %d threads", SETS[s], WAYS[way], inside ? ", inside" : "", threads);
                plan->way = (enum ds2ta_way)way;
                network_run(n, plan, inside, &found);
                if (way == DS2TA_SUBSETS_WHERE_POSSIBLE) count_ways(plan);
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
        network_run(self->n, plan, self->index < 2, &found);
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

/* Time steps that a network can be run in at once: all that divide its steps, whole chunks of them. */
static int may_be_cut(const network *n, int steps) {
    int good = n->steps % steps == 0;
    for (int i = 0; i < n->value_count; i++) good &= n->values[i].steps * steps % n->steps == 0;
    return good;
}

/* A whole run, block of steps by block of steps: what the sequence gives, and the logits are its sum. */
static void step_through(const network *n, const network *over, ds2ta_plan *plan, const results *expected, const char *what, unsigned long seed) {
    size_t size = (size_t)ds2ta_state_size(plan) * BATCH;
    void *room = NULL;
    if (posix_memalign(&room, 64, (size + 1) * sizeof(int32_t))) exit(2);
    int32_t *state = memset(room, 0, size * sizeof(int32_t));
    uint32_t sums[BATCH * CLASSES];
    const int32_t *bias = n->ops[n->op_count - 1].bias;
    for (int i = 0; i < BATCH * CLASSES; i++) sums[i] = (uint32_t)bias[i % CLASSES];
    int equal = 1;
    for (int taken = 0; taken < n->steps; taken += over->steps) {
        results found;
        equal &= network_step(n, over, plan, taken, state, &found);
        equal &= results_are_part(n, over, expected, &found, taken);
        for (int i = 0; i < BATCH * CLASSES; i++) sums[i] += (uint32_t)found.logits[i];
        results_free(&found);
    }
    check(equal && !memcmp(sums, expected->logits, sizeof sums), what, seed);
    free(room);
}

/* Every instruction set and way to products, step by step, against the sequence. */
static void compare_steps(const network *n, const results *expected, unsigned long seed) {
    for (int steps = 1; steps < n->steps; steps++) {
        if (!may_be_cut(n, steps)) continue;
        network over;
        network_over(n, steps, &over);
        for (int s = 0; s < SET_COUNT; s++) {
            if (!ds2ta_supports(SETS[s])) continue;
            char error[200] = "", what[80];
            int threads = 1 + (int)(seed + (unsigned long)s) % 3;
            ds2ta_plan *plan = network_plan(&over, SETS[s], threads, error, sizeof error);
            check(plan != NULL, error, seed);
            for (int way = 0; plan && way < WAY_COUNT; way++) {
                if (threads > 1 && way != (int)(seed % WAY_COUNT)) continue;
                snprintf(what, sizeof what, "%d steps at once, %s, %s, in %d threads", steps, SETS[s], WAYS[way], threads);
                plan->way = (enum ds2ta_way)way;
                step_through(n, &over, plan, expected, what, seed);
            }
            ds2ta_plan_free(plan);
        }
        stepped++;
    }
}

/* States and numbers of steps with which nothing can be done. */
static void refuse_steps(const network *n, unsigned long seed) {
    char error[200];
    ds2ta_plan *plan = network_plan(n, NULL, 1, error, sizeof error);
    check(plan != NULL, error, seed);
    if (!plan) return;
    int64_t size = ds2ta_state_size(plan) * BATCH;
    void *room = NULL;
    if (posix_memalign(&room, 64, (size_t)(size + 16) * sizeof(int32_t))) exit(2);
    int32_t *state = memset(room, 0, (size_t)(size + 16) * sizeof(int32_t)), logits[BATCH * CLASSES];
    const int64_t wrong[] = {-1, -n->steps, INT64_MIN, n->steps > 1 ? 1 : -3, n->steps > 1 ? INT64_MAX : -7};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        check(!ds2ta_step(plan, wrong[i], state, n->input, BATCH, logits, NULL, NULL, NULL), "steps that cannot have been", seed);
    check(!ds2ta_step(plan, 0, NULL, n->input, BATCH, logits, NULL, NULL, NULL), "no state", seed);
    check(!ds2ta_step(plan, 0, state + 1, n->input, BATCH, logits, NULL, NULL, NULL), "a state on any address", seed);
    int weighed = 0;
    for (int i = 0; i < n->op_count; i++) weighed |= n->ops[i].kind == DS2TA_TIME_MIX;
    int goes_on = ds2ta_step(plan, n->steps, state, n->input, BATCH, logits, NULL, NULL, NULL);
    check(goes_on == !weighed, "steps that there are no numbers for", seed);
    check(ds2ta_state_place(plan, -1) == -1 && ds2ta_state_place(plan, n->op_count) == -1, "the state of no operation", seed);
    free(room);
    ds2ta_plan_free(plan);
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

/* Every instruction set's convolution against the scalar one. */
static void compare_convolutions(void) {
    for (int s = 0; s < SET_COUNT; s++)
        for (int pairs = 1; pairs <= 20 && ds2ta_supports(SETS[s]); pairs++)
            for (int channels = 1; channels <= DS2TA_TILE; channels += 9)
                check(convolutions_equal(SETS[s], pairs, channels, &convolved), SETS[s], (unsigned long)(100 * pairs + channels));
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

/* Everything about one network. */
static void test_network(network *n, unsigned long seed) {
    char error[200] = "";
    ds2ta_plan *plan = network_plan(n, "scalar", 1, error, sizeof error);
    check(plan != NULL, error, seed);
    if (!plan) return;
    results expected;
    network_run(n, plan, 1, &expected);
    for (int i = 0; i < n->value_count; i++)
        for (size_t k = 0; k < expected.value_sizes[i]; k++, places++) spikes += expected.values[i][k] != 0;
    encoded += n->ops[0].kind == DS2TA_ENCODE;
    check(encoder_is_right(n, &expected), "an encoder's products", seed);
    compare_sets(n, &expected, seed);
    compare_steps(n, &expected, seed);
    refuse_steps(n, seed);
    if (seed % 4 == 1) compare_callers(n, &expected, seed);
    results_free(&expected);
    ds2ta_plan_free(plan);
    try_lies(n, seed);
}

int main(int argc, char **argv) {
    unsigned long networks = argc > 1 ? strtoul(argv[1], NULL, 10) : 40;
    for (int corner = 0; corner < CORNERS; corner++) {
        network n;
        network_make_corner(&n, corner);
        test_network(&n, 0);
        network_free(&n);
    }
    for (unsigned long seed = 1; seed <= networks; seed++) {
        network n;
        (seed % 2 ? network_make : network_make_streams)(&n, seed);
        test_network(&n, seed);
        if (seed == 1) refuse_nothing(&n);
        network_free(&n);
    }
    compare_convolutions();
    check(convolved > 0 && encoded > 0, "convolutions and encoders", 0);
    for (int s = 0; s < SET_COUNT; s++) {
        if (!ds2ta_supports(SETS[s])) continue;
        check(compare_subsets(ds2ta_select_kernels(SETS[s])->subsets), SETS[s], 0);
        check(compare_abreast(ds2ta_select_kernels(SETS[s])->abreast), SETS[s], 0);
        check(choices_are_right(SETS[s]), SETS[s], 0);
        check(sorts_equal(SETS[s], &sorted), "sorts", (unsigned long)s);
        int edge, right = narrow_is_right(SETS[s], &edge);
        check(right, "neurons in 16 bits", (unsigned long)edge);
    }
    check(sorted > 0, "patterns that are sorted", 0);
    check(tabled > 0, "sums of subsets", 0);
    check(narrow > 0, "neurons that may fire in 16 bits", 0);
    check(abreast > 0, "queries side by side", 0);
    check(stepped > 0, "networks that can be cut into steps", 0);
    check(spikes > places / 20 && spikes < places - places / 20, "networks that fire", 0);
    for (int s = 0; s < SET_COUNT; s++) printf("%s: %s\n", SETS[s], ds2ta_supports(SETS[s]) ? "compared" : "does not work here");
    printf("%d layers summed subsets, %d may fire in 16 bits, %d attentions took queries side by side\n", tabled, narrow, abreast);
    printf("%lu of %lu places fire\n%d passed, %d failed\n", (unsigned long)spikes, (unsigned long)places, passed, failed);
    return failed != 0;
}
