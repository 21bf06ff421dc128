/* Scores and mixtures of attention, in vectors; part of kernels_vector.h. */

#ifndef DS2TA_TABLE
#define DS2TA_TABLE table_of
/* map[j] = table[score[j]] */
static inline void table_of(const uint8_t *score, int tokens, const int16_t *table, int entries, int16_t *map) {
    (void)entries;
    for (int j = 0; j < tokens; j++) map[j] = table[score[j]];
}
#endif

static void spread(const uint8_t *restrict first, const uint8_t *restrict second, int width, int step, int16_t *restrict pairs) {
    uint32_t *both = (uint32_t *)(void *)pairs;
    if (second)
        for (int c = 0; c < width; c++) both[c] = (first[c] >> step & 1u) | (second[c] >> step & 1u) << 16;
    else
        for (int c = 0; c < width; c++) both[c] = first[c] >> step & 1u;
}

static void look_up(const uint64_t *query, const uint8_t *keys, int bytes, int tokens, const int16_t *table, int entries, int16_t *map) {
    uint8_t scores[DS2TA_TILE] __attribute__((aligned(64)));
    for (int first = 0; first < tokens; first += DS2TA_TILE) {
        for (int part = 0; part < DS2TA_TILE; part += WIDTH) {
            unsigned_bytes score = {0};
            for (int b = 0; b < bytes; b++) {
                unsigned_bytes seen = LOAD(unsigned_bytes, keys + (size_t)b * (size_t)tokens + (size_t)(first + part));
                score += ones_of(seen & (uint8_t)(query[b / 8] >> 8 * (b % 8)));
            }
            STORE(unsigned_bytes, scores + part, score);
        }
        DS2TA_TABLE(scores, DS2TA_TILE, table, entries, map + first);
    }
}

/* Two registers of channels and four queries at once: eight sums, between which nothing waits. */
static void mix(const int16_t *map, size_t stride, const int16_t *values, int pairs, int width, int32_t *context) {
    for (int c = 0; c < width; c += 2 * LONG_LANES) {
        longs sum[DS2TA_QUERIES][2];
        for (int q = 0; q < DS2TA_QUERIES; q++) sum[q][0] = sum[q][1] = (longs){0};
        const int16_t *value = values + 2 * c;
        for (int j = 0; j < pairs; j++, value += 2 * width) {
            words left = LOAD(words, value), right = LOAD(words, value + WORD_LANES);
            for (size_t q = 0; q < DS2TA_QUERIES; q++) {
                int32_t two;
                memcpy(&two, map + q * stride + 2 * (size_t)j, sizeof two);
                words both = (words)((longs){0} + two);
                sum[q][0] = add_products(sum[q][0], both, left);
                sum[q][1] = add_products(sum[q][1], both, right);
            }
        }
        for (int q = 0; q < DS2TA_QUERIES; q++) {
            STORE(longs, context + q * width + c, sum[q][0]);
            STORE(longs, context + q * width + c + LONG_LANES, sum[q][1]);
        }
    }
}
