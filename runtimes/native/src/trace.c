/* What a run tells: the counts of its values, and what happens inside a neuron. The latter is slow and plain, and on no
 * run's way that does not ask for it. */
#include "plan.h"

/* Bytes are compared with nothing but bytes: that keeps the compiler's vectors full. */
static void unpack(const uint8_t *restrict patterns, int channels, uint8_t mask, uint8_t *restrict counts) {
    for (int c = 0; c < channels; c++) counts[c] = patterns[c] & mask ? 1 : 0;
}

static void add_plane(const uint8_t *restrict patterns, int channels, uint8_t mask, uint8_t bit, uint8_t *restrict counts) {
    for (int c = 0; c < channels; c++) counts[c] |= patterns[c] & mask ? bit : 0;
}

void ds2ta_trace_value(const ds2ta_plan *plan, int value, int sample, int low, int high) {
    const ds2ta_value *v = plan->values + value;
    if (!v->planes) {
        ds2ta_trace_stream(plan, value, sample, low, high);
        return;
    }
    int tokens = ds2ta_tokens(v), channels = v->channels;
    size_t stride = (size_t)ds2ta_padded(channels);
    for (int plane = 0; plane < v->planes; plane++)
        for (int step = 0; step < plan->steps; step++) {
            uint8_t mask = (uint8_t)(1 << step % DS2TA_GROUP);
            const uint8_t *from = ds2ta_patterns(plan, value, plane, step / DS2TA_GROUP) + (size_t)low * stride;
            uint8_t *to = plan->traced[value] + ds2ta_place(plan, step, sample, low, tokens, channels);
            for (int token = low; token < high; token++, to += channels, from += stride)
                if (plane == 0)
                    unpack(from, channels, mask, to);
                else
                    add_plane(from, channels, mask, (uint8_t)(1 << plane), to);
        }
}

void ds2ta_trace_fire(const ds2ta_plan *plan, const ds2ta_node *node, const ds2ta_neuron *neuron, const int32_t *product, int stride,
                      const int32_t *state, int sample, int token, int tile) {
    int32_t *traces[3] = {ds2ta_inner_trace(plan, node, DS2TA_PRODUCT), ds2ta_inner_trace(plan, node, DS2TA_CURRENT),
                          ds2ta_inner_trace(plan, node, DS2TA_MEMBRANE)};
    int tokens = ds2ta_tokens(plan->values + node->op.output), channels = node->op.out_channels, first = tile * DS2TA_TILE;
    int still = node->op.still;
    for (int c = 0; c < DS2TA_TILE && first + c < channels; c++) {
        int32_t current[DS2TA_MAX_STEPS], membrane[DS2TA_MAX_STEPS];
        uint8_t spikes[DS2TA_MAX_STEPS];
        ds2ta_fire_one(neuron, product + c, stride, node->bias[first + c], node->threshold[first + c], state ? state + c : NULL, current,
                       membrane, spikes);
        for (int step = 0; step < neuron->steps; step++) {
            size_t place = ds2ta_place(plan, step, sample, token, tokens, channels) + (size_t)(first + c);
            if (traces[0] && (!still || step == 0)) traces[0][place] = product[(size_t)step * (size_t)stride + (size_t)c];
            if (traces[1] && (!still || step == 0)) traces[1][place] = current[step];
            if (traces[2]) traces[2][place] = membrane[step];
        }
    }
}
