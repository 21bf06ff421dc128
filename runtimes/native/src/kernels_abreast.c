/* Attention of queries side by side as plain loops: what the faster ones must equal. */
#include "kernels.h"

static void planes(const uint8_t *patterns, size_t stride, int tokens, int width, uint8_t *planes) {
    size_t bytes = (size_t)ds2ta_abreast_bytes(width), padded = (size_t)ds2ta_abreast_tokens(tokens);
    for (size_t i = 0; i < DS2TA_GROUP * bytes * padded; i++) {
        size_t token = i % padded, first = i / padded % bytes * 8, step = i / padded / bytes;
        planes[i] = 0;
        for (size_t c = first; token < (size_t)tokens && c < first + 8 && c < (size_t)width; c++)
            planes[i] |= (uint8_t)((patterns[token * stride + c] >> step & 1) << (7 - c % 8));
    }
}

static void quads(const uint8_t *patterns, size_t stride, int tokens, int width, uint8_t *quads) {
    size_t channels = (size_t)ds2ta_abreast_channels(width), count = (size_t)(tokens + 3) / 4;
    for (size_t i = 0; i < DS2TA_GROUP * count * channels * 4; i++) {
        size_t channel = i / 4 % channels, token = i / 4 / channels % count * 4 + i % 4, step = i / 4 / channels / count;
        int inside = channel < (size_t)width && token < (size_t)tokens;
        quads[i] = (uint8_t)(inside ? patterns[token * stride + channel] >> step & 1 : 0);
    }
}

static void look_up(const uint8_t *queries, size_t query_stride, const uint8_t *keys, size_t key_stride, int bytes, int quads, const uint8_t *table,
                    uint8_t *map) {
    for (size_t i = 0; i < (size_t)quads * DS2TA_SPAN * 4; i++) {
        size_t query = i / 4 % DS2TA_SPAN, key = i / 4 / DS2TA_SPAN * 4 + i % 4;
        int score = 0;
        for (size_t b = 0; b < (size_t)bytes; b++) score += __builtin_popcount(queries[b * query_stride + query] & keys[b * key_stride + key]);
        map[i] = table[score];
    }
}

static void mix(const uint8_t *map, const uint8_t *quads, int count, int channels, int32_t *sums, size_t stride) {
    for (size_t c = 0; c < (size_t)channels; c++)
        for (size_t query = 0; query < DS2TA_SPAN; query++) {
            int32_t sum = 0;
            for (size_t key = 0; key < (size_t)count * 4; key++)
                sum += map[(key / 4 * DS2TA_SPAN + query) * 4 + key % 4] * quads[(key / 4 * (size_t)channels + c) * 4 + key % 4];
            sums[c * stride + query] = sum;
        }
}

static void turn(const uint8_t *patterns, uint8_t *out, size_t stride, int tokens, int width) {
    for (size_t token = 0; token < (size_t)tokens; token++)
        for (size_t c = 0; c < (size_t)width; c++) out[token * stride + c] = patterns[c * DS2TA_SPAN + token];
}

const ds2ta_abreast ds2ta_abreast_plain = {.planes = planes, .quads = quads, .look_up = look_up, .mix = mix, .turn = turn};
