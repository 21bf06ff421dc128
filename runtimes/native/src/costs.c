/* Which way to a layer's sums takes least time, by what fires: lists, dot products, or sums of subsets. All of them give the same sums. */
#include "plan.h"

/* Fitted to what layers of many sizes and rates took when each way was forced. Registers of 512 bits that are taken whole were measured on
 * Zen 5, halves on Zen 4. Other instruction sets have Zen 5's lists, and a dense product of their own. */
#define LISTS .row = {{16, 12}, {20, 18}}, .list = 704, .sort = 3840, .sorted_row = 16, .join = 2880, .stacks = 6720
static const ds2ta_costs WHOLE = {LISTS, .dense = 26, .lookup = 6, .table = 352, .token = 640};
static const ds2ta_costs HALVES = {.row = {{16, 13}, {19, 19}}, .list = 1088, .sort = 1600, .sorted_row = 4, .join = 2900, .stacks = 5600,
                                   .dense = 34, .lookup = 9, .table = 256, .token = 1584};
static const ds2ta_costs AVX2 = {LISTS, .dense = 36};
static const ds2ta_costs NEON = {LISTS, .dense = 48};
static const ds2ta_costs SCALAR = {LISTS, .dense = 24};
#undef LISTS

const ds2ta_costs *ds2ta_costs_512(int halves) { return halves ? &HALVES : &WHOLE; }
const ds2ta_costs *ds2ta_costs_avx2(void) { return &AVX2; }
const ds2ta_costs *ds2ta_costs_neon(void) { return &NEON; }
const ds2ta_costs *ds2ta_costs_scalar(void) { return &SCALAR; }

/* So many rows lie in the first-level cache. */
enum { NEAR_ROWS = 512 };

/* What fires in a block of tokens: patterns that are not silent, plane by plane; rows that are listed for them, about how many lists that
 * are not empty, and about how many that are joined. */
typedef struct {
    int64_t spikes[DS2TA_MAX_PLANES], listed, lists, joined;
} firing;

/* Layers that share a list share the work of joining it. A list has room for as many channels as there are rows. A test that asks for lists
 * wants to see all that fit. */
int ds2ta_joins(const ds2ta_plan *plan, const ds2ta_node *node, int64_t channels, int behind) {
    const ds2ta_costs *costs = plan->costs;
    int64_t more = channels * ((1 << behind) - 1) * costs->row[0][0] + costs->join / (node->tiles * node->sharers);
    int fits = behind < DS2TA_MOST_JOINED && channels << behind <= node->rows;
    return fits && (more <= costs->list || plan->way == DS2TA_LISTED);
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static firing count_firing(const ds2ta_plan *plan, const ds2ta_node *node, int first, int count) {
    firing found = {{0}, 0, 0, 0};
    int64_t lists = (int64_t)count * plan->groups;
    for (int plane = 0, behind = 0; plane < node->planes; plane++) {
        for (int group = 0; group < plan->groups; group++) {
            const uint8_t *patterns = ds2ta_patterns(plan, node->op.inputs[0], plane, group) + (size_t)first * (size_t)node->stride_in;
            found.spikes[plane] += (int64_t)plan->kernels->listed(patterns, (size_t)count * (size_t)node->stride_in);
        }
        behind = plane && node->most_listed && ds2ta_joins(plan, node, found.spikes[plane] / lists, behind + 1) ? behind + 1 : 0;
        found.listed += found.spikes[plane] << behind;
        *(behind ? &found.joined : &found.lists) += smaller(found.spikes[plane], lists);
    }
    return found;
}

static int64_t cost_of_lists(const ds2ta_plan *plan, const ds2ta_node *node, const firing *found) {
    const ds2ta_costs *costs = plan->costs;
    int64_t row = costs->row[node->rows > NEAR_ROWS][node->together[0] > 1];
    int64_t rows = found->listed * node->op.size * node->op.size * node->tiles * row + found->lists * costs->list * node->chunk_count * node->tiles;
    if (node->op.kind == DS2TA_CONV) return rows + found->lists * costs->stacks;
    return rows + (found->lists * (costs->sort + costs->sorted_row * node->rows) + found->joined * costs->join) / node->sharers;
}

static int64_t cost_of_dense(const ds2ta_plan *plan, const ds2ta_node *node, int count) {
    if (node->planes > plan->kernels->dense_planes) return INT64_MAX;
    return (int64_t)count * plan->groups * node->rows * node->tiles * plan->costs->dense / ds2ta_fold(plan);
}

/* A linear layer's plane has no more rows than patterns that are not silent. */
static int64_t cost_of_subsets(const ds2ta_plan *plan, const ds2ta_node *node, int count, const firing *found) {
    const ds2ta_costs *costs = plan->costs;
    if (!costs->lookup || !ds2ta_may_use_subsets(plan, node)) return INT64_MAX;
    int64_t rows = (int64_t)node->set_pairs * DS2TA_PAIR * DS2TA_SET, looked_up = 0;
    int64_t tokens = (count + DS2TA_SPAN - 1) / DS2TA_SPAN * DS2TA_SPAN * plan->groups, limbs = node->together[0] > 1 ? 1 : 2;
    for (int plane = 0; plane < node->planes; plane++)
        looked_up += node->op.kind == DS2TA_LINEAR && found->spikes[plane] < rows ? found->spikes[plane] : rows;
    return (rows * limbs * costs->table + tokens * (looked_up * limbs * costs->lookup + costs->token)) * node->op.out_channels / DS2TA_TILE;
}

enum ds2ta_way ds2ta_choose_way(const ds2ta_plan *plan, const ds2ta_node *node, int first, int count) {
    if (plan->way == DS2TA_SUBSETS_WHERE_POSSIBLE && ds2ta_may_use_subsets(plan, node)) return plan->way;
    if (plan->way == DS2TA_DENSE_WHERE_POSSIBLE && node->planes <= plan->kernels->dense_planes) return plan->way;
    if (plan->way != DS2TA_BY_DENSITY) return DS2TA_LISTED;
    firing found = count_firing(plan, node, first, count);
    int64_t lists = cost_of_lists(plan, node, &found), dense = cost_of_dense(plan, node, count), subsets = cost_of_subsets(plan, node, count, &found);
    if (subsets < lists && subsets < dense) return DS2TA_SUBSETS_WHERE_POSSIBLE;
    return dense < lists ? DS2TA_DENSE_WHERE_POSSIBLE : DS2TA_LISTED;
}
