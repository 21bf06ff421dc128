/* Networks made so that sums come close to what 16 bits hold, or would leave them. */
#include "networks.h"

#include "plan.h" /* for the way that it takes */

#include <string.h>

/* Channels that a kernel of 3 x 3 may have at most: so many lists are joined. */
enum { WIDEST = 1785 };

/* A layer whose neurons may fire or not, with weights that are 0. */
static int8_t *layer(network *n, int kind, int size, int input, int channels) {
    const ds2ta_value *in = n->values + input;
    ds2ta_op *op = add_op(n, kind, input, add_value(n, in->height, in->width, channels, 1));
    size_t count = (size_t)channels * (size_t)size * (size_t)size * (size_t)op->in_channels;
    int8_t *own = memset(weights(n, count), 0, count);
    op->size = size;
    op->weight = own;
    add_neuron(n, op, 10000);
    return own;
}

/* Counts of the caller, 0 or `count`: of the first `firing` channels, or of as many anywhere. */
static int give(network *n, int width, int channels, int planes, int count, int firing, int anywhere) {
    int out = add_value(n, 1, width, channels, planes);
    size_t size = (size_t)n->steps * BATCH * (size_t)width * (size_t)channels;
    add_op(n, DS2TA_GIVEN, -1, out);
    n->given = out;
    n->counts = (uint8_t *)weights(n, size);
    for (size_t i = 0; i < size; i++) {
        int fires = anywhere ? draw(n, 1, channels) <= firing : i % (size_t)channels < (size_t)firing;
        n->counts[i] = (uint8_t)(fires ? count : 0);
    }
    return out;
}

/* 300 neighbouring rows of a column of the kernel cannot be added at once: as many small parts as there can be, nearly all in one turn. */
static int make_wide(network *n) {
    int8_t *weight = layer(n, DS2TA_CONV, 3, give(n, 3, WIDEST, 1, 1, WIDEST / 3, 1), 2);
    memset(weight + 5 * WIDEST, 127, 300);
    return n->value_count - 1;
}

/* Counts of 31 in five planes, of which four may become one list: 15 times each row. */
static int make_deep(network *n) {
    int in = give(n, 3, 800, 5, 31, 17, 0);
    memset(layer(n, DS2TA_LINEAR, 1, in, 2), 127, 17);
    return n->value_count - 1;
}

/* As many tokens as are listed at once, in which everything fires: 16 bits would hold one list, but there is no room for it. */
static int make_full(network *n) {
    int in = give(n, 64, 340, 2, 3, 340, 0);
    memset(layer(n, DS2TA_LINEAR, 1, in, 2), 31, 340);
    return n->value_count - 1;
}

/* The same counts of 3 for two layers: one may add its rows three times, the other, whose sums are four times as large, may not. */
static int make_heavy(network *n) {
    int in = give(n, 3, 800, 2, 3, 100, 0);
    memset(layer(n, DS2TA_LINEAR, 1, in, 2), 31, 100);
    int light = n->value_count - 1;
    memset(layer(n, DS2TA_LINEAR, 1, in, 2), 127, 100);
    return add(n, light, n->value_count - 1);
}

/* Width and tokens of a layer as there are many. */
enum { USUAL = 768, TOKENS = 64 };

static void make_layer(network *n, int most) {
    *n = (network){.random = 7, .classes = CLASSES, .given = -1, .steps = 4};
    int8_t *weight = layer(n, DS2TA_LINEAR, 1, give(n, TOKENS, USUAL, 1, 1, 0, 0), USUAL);
    for (int i = 0; i < USUAL * USUAL; i++) weight[i] = (int8_t)draw(n, -most, most);
    add_readout(n, n->value_count - 1);
}

/* One spike is listed. Where everything fires at every step, a list has every row once for four steps: sums of subsets of small weights
 * are faster still, those of large weights, which need two tables, are not. */
static int chooses_well(ds2ta_plan *plan, int most) {
    uint8_t *patterns = memset(ds2ta_patterns(plan, 0, 0, 0), 0, TOKENS * USUAL);
    patterns[5] = 1;
    int right = ds2ta_choose_way(plan, plan->nodes + 1, 0, TOKENS) == DS2TA_LISTED;
    memset(patterns, DS2TA_PATTERNS - 1, TOKENS * USUAL);
    int looks_up = plan->costs->lookup && most < 32;
    return right && ds2ta_choose_way(plan, plan->nodes + 1, 0, TOKENS) == (looks_up ? DS2TA_SUBSETS_WHERE_POSSIBLE : DS2TA_LISTED);
}

/* With the costs that were found here, and where there are two kinds of processors, with those of either. */
static int chooses(const char *isa, int most) {
    network n;
    make_layer(&n, most);
    ds2ta_plan *plan = network_plan(&n, isa, 1, NULL, 0);
    int right = plan && chooses_well(plan, most);
    if (right && plan->costs->lookup) {
        right = plan->costs == ds2ta_costs_512(0) || plan->costs == ds2ta_costs_512(1);
        for (int halves = 0; halves < 2; halves++) {
            plan->costs = ds2ta_costs_512(halves);
            right &= chooses_well(plan, most);
        }
    }
    ds2ta_plan_free(plan);
    network_free(&n);
    return right;
}

int choices_are_right(const char *isa) { return chooses(isa, 31) && chooses(isa, 127); }

void network_make_corner(network *n, int corner) {
    *n = (network){.random = (uint64_t)corner + 1, .classes = CLASSES, .given = -1, .steps = 4};
    int (*const make[])(network *) = {make_wide, make_heavy, make_deep, make_full};
    add_readout(n, make[corner](n));
}
