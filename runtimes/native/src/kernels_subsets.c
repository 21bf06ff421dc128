/* Sums of subsets as plain loops: what the faster ones must equal, up to the order of a number's bits, which is their own. */
#include "kernels.h"

static void index_rows(const uint8_t *const rows[DS2TA_SPAN], int sets, uint8_t *indices) {
    for (int i = 0; i < sets * DS2TA_SET_BYTES; i++) {
        int four = i % 4, token = i / 4 % DS2TA_SPAN, step = i / 4 / DS2TA_SPAN % DS2TA_GROUP, set = i / DS2TA_SET_BYTES;
        const uint8_t *patterns = rows[token] + set * DS2TA_SET + four * 4;
        int number = 0;
        for (int j = 0; j < 4; j++) number |= (patterns[j] >> step & 1) << j;
        indices[i] = (uint8_t)(four << 4 | number);
    }
}

static int part_of(int weight, enum ds2ta_limb limb) { return limb == DS2TA_LOW ? weight & 15 : limb == DS2TA_HIGH ? weight >> 4 : weight; }

static void tabulate(const int8_t *quads, int pairs, int channel, enum ds2ta_limb limb, uint8_t *tables, int32_t below[DS2TA_QUARTET]) {
    for (int output = 0; output < DS2TA_QUARTET; output++) below[output] = 0;
    for (int i = 0; i < pairs * DS2TA_QUARTET * DS2TA_PAIR * DS2TA_TABLE_BYTES; i++) {
        int subset = i % 16, four = i / 16 % 4, half = i / 64 % DS2TA_PAIR, output = i / 64 / DS2TA_PAIR % DS2TA_QUARTET;
        int quad = (i / 64 / DS2TA_PAIR / DS2TA_QUARTET * DS2TA_PAIR + half) * 4 + four, sum = 0;
        for (int j = 0; j < 4; j++) {
            int weight = part_of(quads[((size_t)quad * DS2TA_TILE + (size_t)(channel + output)) * 4 + (size_t)j], limb);
            sum += (subset >> j & 1 ? weight : 0) + (weight < 0 ? -weight : 0);
        }
        tables[i] = (uint8_t)sum;
        if (subset == 0) below[output] += sum;
    }
}

static int32_t look_up(const ds2ta_term *term, int output, int place) {
    int32_t sum = 0;
    for (int set = 0; set < term->pairs * DS2TA_PAIR; set++) {
        const uint8_t *table = term->tables + ((set / DS2TA_PAIR * DS2TA_QUARTET + output) * DS2TA_PAIR + set % DS2TA_PAIR) * DS2TA_TABLE_BYTES;
        for (int four = 0; four < 4; four++) sum += table[term->indices[set * DS2TA_SET_BYTES + place * 4 + four] % DS2TA_TABLE_BYTES];
    }
    return sum * term->multiplier;
}

static void add(const ds2ta_term *terms, int count, const int32_t *begin, int32_t *sums, size_t stride) {
    for (int output = 0; output < DS2TA_QUARTET; output++)
        for (int place = 0; place < DS2TA_GROUP * DS2TA_SPAN; place++) {
            int32_t *sum = sums + (size_t)output * stride + place;
            *sum = begin[output];
            for (int i = 0; i < count; i++) *sum += look_up(terms + i, output, place);
        }
}

static void fire(const ds2ta_neuron *neuron, const int32_t *sums, size_t stride, const int32_t *bias, const int32_t *threshold, uint8_t *out,
                 size_t group_stride) {
    int32_t current[DS2TA_MAX_STEPS], membrane[DS2TA_MAX_STEPS];
    uint8_t spikes[DS2TA_MAX_STEPS];
    for (int i = 0; i < DS2TA_QUARTET * DS2TA_SPAN; i++) {
        int output = i / DS2TA_SPAN, token = i % DS2TA_SPAN;
        ds2ta_fire_one(neuron, sums + (size_t)output * stride + token, DS2TA_SPAN, bias[output], threshold[output], NULL, current, membrane, spikes);
        for (int t = 0; t < neuron->steps; t++) {
            uint8_t *pattern = out + (size_t)(t / DS2TA_GROUP) * group_stride + i;
            *pattern = (uint8_t)((t % DS2TA_GROUP ? *pattern : 0) | spikes[t] << t % DS2TA_GROUP);
        }
    }
}

static void add_and_fire(const ds2ta_term *terms, int count, const int32_t *begin, const ds2ta_neuron *neuron, const int32_t *bias,
                         const int32_t *threshold, int spans, size_t span_bytes, uint8_t *out) {
    const size_t stride = DS2TA_GROUP * DS2TA_SPAN;
    for (size_t span = 0; span < (size_t)spans; span++) {
        int32_t sums[DS2TA_QUARTET * DS2TA_GROUP * DS2TA_SPAN];
        ds2ta_term here[DS2TA_MAX_PLANES];
        for (int i = 0; i < count; i++) here[i] = terms[i], here[i].indices += span * span_bytes;
        add(here, count, begin, sums, stride);
        fire(neuron, sums, stride, bias, threshold, out + span * DS2TA_TILE * DS2TA_SPAN, 0);
    }
}

static void turn(const uint8_t *patterns, uint8_t *out, size_t stride, int tokens) {
    for (int i = 0; i < tokens * DS2TA_TILE; i++)
        out[(size_t)(i / DS2TA_TILE) * stride + (size_t)(i % DS2TA_TILE)] = patterns[i % DS2TA_TILE * DS2TA_SPAN + i / DS2TA_TILE];
}

const ds2ta_subsets ds2ta_subsets_plain = {
    .index = index_rows, .tabulate = tabulate, .add = add, .fire = fire, .add_and_fire = add_and_fire, .turn = turn};
