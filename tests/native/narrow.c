/* Neurons that fire in 16 bits, at the edge of them: currents and membranes that just fit, or do not. */
#include "narrow.h"

#include "networks.h"

#include "plan.h" /* for what it found to be narrow */

#include <string.h>

/* Two sorts of channels, so many of each with one weight, that fire at the steps of a mask; and silent ones behind them. */
typedef struct {
    int count, weight, steps;
} sort;

typedef struct {
    sort sorts[2];
    int silent, planes, fires; /* `fires` is the count of what fires */
    int bias, threshold, leak_shift;
    int narrow; /* whether currents fit */
    int spikes; /* what the neuron does, a bit a step */
} edge;

enum { TOKENS = 3, OUTPUTS = 70, ALL = DS2TA_PATTERNS - 1 };

static const edge EDGES[] = {
    /* Membranes far below 16 bits that come back, and such that were above them. */
    {{{236, -127, 3}, {250, 127, 12}}, 0, 1, 1, 0, 10000, 0, 1, 0},
    {{{236, 127, ALL}, {0, 0, 0}}, 0, 1, 1, 0, 32767, 0, 1, 10},
    {{{236, 127, ALL}, {0, 0, 0}}, 0, 1, 1, 0, 32767, 1, 1, 10},
    /* A threshold above them. */
    {{{236, 127, ALL}, {0, 0, 0}}, 0, 1, 1, 0, 70000, 0, 0, 4},
    /* The largest current, and one more by a bias; the smallest one but one, the smallest one, and one less. */
    {{{258, 127, ALL}, {1, 1, ALL}}, 0, 1, 1, 0, 32767, 1, 1, ALL},
    {{{258, 127, ALL}, {1, 1, ALL}}, 0, 1, 1, 1, 32767, 1, 0, ALL},
    {{{258, -127, ALL}, {1, -1, ALL}}, 0, 1, 1, 0, 1, 1, 1, 0},
    {{{258, -127, 1}, {258, 127, 14}}, 0, 1, 1, -2, 30000, 1, 1, 12},
    {{{258, -127, 1}, {258, 127, 14}}, 0, 1, 1, -3, 30000, 1, 0, 12},
    /* Currents that are too small only; such that are too large at later steps than the first. */
    {{{259, -127, 1}, {0, 0, 0}}, 0, 1, 1, 0, 30000, 1, 0, 0},
    {{{1, 127, 1}, {259, 127, 14}}, 0, 1, 1, 0, 30000, 1, 0, 14},
    /* Biases that do not fit. */
    {{{1, 127, 1}, {0, 0, 0}}, 0, 1, 1, 40000, 20000, 1, 0, ALL},
    {{{1, 127, 1}, {0, 0, 0}}, 0, 1, 1, -40000, 20000, 1, 0, 0},
    /* Several turns, whose rows fit together, or do not. */
    {{{250, 127, ALL}, {0, 0, 0}}, 50, 1, 1, 0, 31750, 1, 1, ALL},
    {{{130, 127, 0}, {200, 127, ALL}}, 0, 1, 1, 0, 25400, 1, 1, ALL},
    {{{130, 127, 0}, {300, 127, ALL}}, 0, 1, 1, 0, 32767, 1, 0, ALL},
    /* Counts in several planes: all of them, the higher one only, the lowest and the highest; too large ones. */
    {{{80, 127, ALL}, {6, -127, 5}}, 0, 2, 3, 0, 30480, 1, 1, 10},
    {{{100, 127, ALL}, {0, 0, 0}}, 0, 2, 2, 0, 25400, 1, 1, ALL},
    {{{80, 60, ALL}, {0, 0, 0}}, 0, 3, 5, 0, 24000, 1, 1, ALL},
    {{{20, 31, ALL}, {20, 30, 6}}, 0, 3, 5, 0, 6100, 1, 1, 6},
    {{{100, 127, ALL}, {0, 0, 0}}, 0, 2, 3, 0, 30000, 1, 0, ALL},
    {{{85, 127, ALL}, {0, 0, 0}}, 100, 2, 3, 400, 30000, 1, 0, ALL},
};
enum { EDGE_COUNT = sizeof EDGES / sizeof *EDGES };

static int channels_of(const edge *e) { return e->sorts[0].count + e->sorts[1].count + e->silent; }

static void make_edge(network *n, const edge *e) {
    *n = (network){.random = 1, .classes = CLASSES, .given = 0, .steps = DS2TA_GROUP};
    int channels = channels_of(e), in = add_value(n, 1, TOKENS, channels, e->planes);
    add_op(n, DS2TA_GIVEN, -1, in);
    n->counts = (uint8_t *)weights(n, (size_t)DS2TA_GROUP * BATCH * TOKENS * (size_t)channels);
    ds2ta_op *op = add_op(n, DS2TA_LINEAR, in, add_value(n, 1, TOKENS, OUTPUTS, 1));
    int8_t *weight = weights(n, (size_t)OUTPUTS * (size_t)channels);
    for (int c = 0; c < channels; c++) {
        const sort *own = c < e->sorts[0].count ? e->sorts : e->sorts + 1;
        int silent = c >= channels - e->silent;
        for (int out = 0; out < OUTPUTS; out++) weight[out * channels + c] = (int8_t)own->weight;
        for (int i = 0; i < DS2TA_GROUP * BATCH * TOKENS; i++)
            n->counts[i * channels + c] = (uint8_t)(!silent && own->steps >> i / (BATCH * TOKENS) & 1 ? e->fires : 0);
    }
    if (!e->sorts[1].count) /* silent ones have the weights of those that fire: they make the same turns */
        for (int i = 0; i < OUTPUTS * channels; i++) weight[i] = (int8_t)e->sorts[0].weight;
    for (int8_t *last = weight + (OUTPUTS - 1) * channels; last < weight + OUTPUTS * channels; last++) *last = *last < 0 ? -1 : 1;
    op->weight = weight, op->size = 1;
    op->taps = 1, op->leak_numerator = 1, op->leak_shift = e->leak_shift;
    op->bias = int32s(n, OUTPUTS, e->bias, e->bias);
    op->threshold = int32s(n, OUTPUTS, e->threshold, e->threshold);
    add_readout(n, n->value_count - 1);
}

/* Every neuron of the layer does what is expected; the weights of the last one are so small that its bias alone decides. */
static int fires_right(const results *found, const edge *e) {
    int right = 1;
    for (size_t i = 0; i < found->value_sizes[1]; i++) {
        size_t step = i / (found->value_sizes[1] / DS2TA_GROUP);
        int spikes = i % OUTPUTS < OUTPUTS - 1 ? e->spikes : e->bias < e->threshold ? 0 : ALL;
        right &= found->values[1][i] == (spikes >> step & 1);
    }
    return right && found->value_sizes[1] == DS2TA_GROUP * BATCH * TOKENS * OUTPUTS;
}

/* As it is, and with everything inside traced, which is not done in 16 bits. */
static int edge_is_right(const char *isa, const edge *e) {
    network n;
    make_edge(&n, e);
    ds2ta_plan *plan = network_plan(&n, isa, 1, NULL, 0);
    int right = plan != NULL;
    for (int inside = 0; right && inside < 2; inside++) {
        results found;
        plan->way = DS2TA_LISTED;
        network_run(&n, plan, inside, &found);
        right = fires_right(&found, e) && plan->scratch->narrow[0] == (!inside && e->narrow);
        results_free(&found);
    }
    ds2ta_plan_free(plan);
    network_free(&n);
    return right;
}

int narrow_is_right(const char *isa, int *which) {
    for (*which = 0; *which < EDGE_COUNT; ++*which)
        if (!edge_is_right(isa, EDGES + *which)) return 0;
    return 1;
}
