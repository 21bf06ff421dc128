/* Sums of subsets in 512-bit registers; part of kernels_avx512.c, behind kernels_vector.h, whose neuron it uses.
 *
 * A register holds the tables of four times four rows, 16 bytes each, and a permutation of bytes looks 64 numbers up at once: those of 16
 * tokens, four of each. Two registers are added in bytes, and a dot product widens and adds up the four of each token. The bits of a
 * number are those of its four rows in reverse. */

/* Bits of 8 bytes change places with bytes: byte t has bit t of each, that of the first one highest. Numbers of four rows are taken out of
 * it, and made to stand in the step's word. */
static inline __m512i numbers_of(__m512i patterns) {
    const __m512i bits = _mm512_set1_epi64(0x0804020108040201), from = _mm512_set1_epi64(0x181008001c140c04);
    const __m512i words = _mm512_set4_epi32(0x0f0b0703, 0x0e0a0602, 0x0d090501, 0x0c080400);
    __m512i turned = _mm512_gf2p8affine_epi64_epi8(bits, patterns, 0);
    __m512i numbers = _mm512_and_si512(_mm512_multishift_epi64_epi8(from, turned), _mm512_set1_epi8(15));
    return _mm512_or_si512(_mm512_shuffle_epi8(numbers, words), _mm512_set1_epi32(0x30201000));
}

static inline __m512i four_tokens(const uint8_t *const *rows, size_t at) {
    __m512i all = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)(rows[0] + at)));
    all = _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i *)(const void *)(rows[4] + at)), 1);
    all = _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i *)(const void *)(rows[8] + at)), 2);
    return _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i *)(const void *)(rows[12] + at)), 3);
}

static void index_512(const uint8_t *const rows[DS2TA_SPAN], int sets, uint8_t *indices) {
    for (int set = 0; set < sets; set++, indices += DS2TA_SET_BYTES) {
        __m512i token[4];
        for (int i = 0; i < 4; i++) token[i] = numbers_of(four_tokens(rows + i, (size_t)set * DS2TA_SET));
        __m512i early = _mm512_unpacklo_epi32(token[0], token[1]), late = _mm512_unpackhi_epi32(token[0], token[1]);
        __m512i other_early = _mm512_unpacklo_epi32(token[2], token[3]), other_late = _mm512_unpackhi_epi32(token[2], token[3]);
        _mm512_storeu_si512(indices, _mm512_unpacklo_epi64(early, other_early));
        _mm512_storeu_si512(indices + 64, _mm512_unpackhi_epi64(early, other_early));
        _mm512_storeu_si512(indices + 128, _mm512_unpacklo_epi64(late, other_late));
        _mm512_storeu_si512(indices + 192, _mm512_unpackhi_epi64(late, other_late));
    }
}

/* Weights of four output channels and one set: quarter q of the register has rows 4q to 4q + 3, a word of four bytes for each channel. */
static inline __m512i weights_of(const int8_t *quads, enum ds2ta_limb limb) {
    __m512i all = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)quads));
    all = _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i *)(const void *)(quads + 4 * DS2TA_TILE)), 1);
    all = _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i *)(const void *)(quads + 8 * DS2TA_TILE)), 2);
    all = _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i *)(const void *)(quads + 12 * DS2TA_TILE)), 3);
    const __m512i low = _mm512_set1_epi8(15), sign = _mm512_set1_epi8(8);
    if (limb == DS2TA_LOW) return _mm512_and_si512(all, low);
    if (limb == DS2TA_HIGH) return _mm512_sub_epi8(_mm512_xor_si512(_mm512_and_si512(_mm512_srli_epi16(all, 4), low), sign), sign);
    return all;
}

/* A subset of four is one of two and one of two: their sums are made first, 4 bytes for each channel, then joined. Returns the smallest
 * sums, which are not above 0, as weights_of has its words. */
static inline __attribute__((always_inline)) __m512i tables_of(const int8_t *quads, enum ds2ta_limb limb, uint8_t *tables) {
    const __m512i zero = _mm512_setzero_si512();
#define WORDS(first) _mm512_set4_epi32((first) + 0x0c0c0c0c, (first) + 0x08080808, (first) + 0x04040404, (first))
    __m512i weights = weights_of(quads, limb);
    /* bytes 0 to 3 of a channel's word: nothing, the second, the first, both of its two rows */
    const __mmask64 some = 0xeeeeeeeeeeeeeeee, both = 0x8888888888888888;
    __m512i left = _mm512_add_epi8(_mm512_maskz_shuffle_epi8(some, weights, WORDS(0x00000100)),
                                   _mm512_maskz_shuffle_epi8(both, weights, WORDS(0x01000000)));
    __m512i right = _mm512_add_epi8(_mm512_maskz_shuffle_epi8(some, weights, WORDS(0x02020302)),
                                    _mm512_maskz_shuffle_epi8(both, weights, WORDS(0x03020202)));
    __m512i smallest = zero;
    if (limb != DS2TA_LOW) {
        smallest = _mm512_dpbusd_epi32(zero, _mm512_set1_epi8(1), _mm512_min_epi8(weights, zero));
        left = _mm512_sub_epi8(left, _mm512_shuffle_epi8(smallest, WORDS(0)));
    }
    const __m512i high = _mm512_set4_epi32(0x03030303, 0x02020202, 0x01010101, 0), low = _mm512_set1_epi32(0x03020100);
#undef WORDS
    for (int output = 0; output < DS2TA_QUARTET; output++) {
        __m512i at = _mm512_set1_epi8((char)(4 * output));
        __m512i table = _mm512_add_epi8(_mm512_shuffle_epi8(left, _mm512_add_epi8(high, at)), _mm512_shuffle_epi8(right, _mm512_add_epi8(low, at)));
        _mm512_store_si512(tables + output * DS2TA_PAIR * DS2TA_TABLE_BYTES, table);
    }
    return smallest;
}

#define TABULATE(limb)                                                                                                        \
    for (int set = 0; set < pairs * DS2TA_PAIR; set++)                                                                        \
        sum = _mm512_sub_epi32(sum, tables_of(quads + ((size_t)set * 4 * DS2TA_TILE + (size_t)channel) * 4, limb,             \
                                              tables + ((size_t)(set / DS2TA_PAIR) * DS2TA_QUARTET * DS2TA_PAIR +             \
                                                        (size_t)(set % DS2TA_PAIR)) * DS2TA_TABLE_BYTES))

static void tabulate_512(const int8_t *quads, int pairs, int channel, enum ds2ta_limb limb, uint8_t *tables, int32_t below[DS2TA_QUARTET]) {
    __m512i sum = _mm512_setzero_si512();
    if (limb == DS2TA_WHOLE)
        TABULATE(DS2TA_WHOLE);
    else if (limb == DS2TA_LOW)
        TABULATE(DS2TA_LOW);
    else
        TABULATE(DS2TA_HIGH);
    __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
    __m128i all = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    _mm_storeu_si128((__m128i *)(void *)below, all);
}
#undef TABULATE

/* Sixteen sums of 16 tokens stay in registers; every table that is loaded serves four steps, every number four channels. */
static inline __attribute__((always_inline)) void add_terms(const ds2ta_term *terms, int count, size_t offset, const int32_t *begin,
                                                            longs sums[DS2TA_QUARTET][DS2TA_GROUP]) {
#define SUMS(o, output)                                          \
    __m512i o##_0 = _mm512_set1_epi32(begin[output]), o##_1 = o##_0, o##_2 = o##_0, o##_3 = o##_0
    SUMS(first, 0);
    SUMS(second, 1);
    SUMS(third, 2);
    SUMS(fourth, 3);
#undef SUMS
    for (; count > 0; count--, terms++) {
        const __m512i by = _mm512_set1_epi8((char)terms->multiplier);
        const uint8_t *tables = terms->tables, *indices = terms->indices + offset;
        for (int pair = terms->pairs; pair > 0; pair--, tables += DS2TA_QUARTET * DS2TA_PAIR * DS2TA_TABLE_BYTES, indices += DS2TA_PAIR * DS2TA_SET_BYTES) {
            __m512i one_0 = _mm512_load_si512(indices), one_1 = _mm512_load_si512(indices + 64);
            __m512i one_2 = _mm512_load_si512(indices + 128), one_3 = _mm512_load_si512(indices + 192);
            __m512i other_0 = _mm512_load_si512(indices + 256), other_1 = _mm512_load_si512(indices + 320);
            __m512i other_2 = _mm512_load_si512(indices + 384), other_3 = _mm512_load_si512(indices + 448), table, next, found;
#define STEP(o, step)                                                                                                      \
    found = _mm512_add_epi8(_mm512_permutexvar_epi8(one_##step, table), _mm512_permutexvar_epi8(other_##step, next));      \
    DOT(o##_##step, found, by)
#define ADD(o, output)                                           \
    table = _mm512_load_si512(tables + (output) * 128);          \
    next = _mm512_load_si512(tables + (output) * 128 + 64);      \
    STEP(o, 0);                                                  \
    STEP(o, 1);                                                  \
    STEP(o, 2);                                                  \
    STEP(o, 3)
            ADD(first, 0);
            ADD(second, 1);
            ADD(third, 2);
            ADD(fourth, 3);
#undef ADD
#undef STEP
        }
    }
#define KEEP(o, output) \
    sums[output][0] = (longs)o##_0, sums[output][1] = (longs)o##_1, sums[output][2] = (longs)o##_2, sums[output][3] = (longs)o##_3
    KEEP(first, 0);
    KEEP(second, 1);
    KEEP(third, 2);
    KEEP(fourth, 3);
#undef KEEP
}

static void add_512(const ds2ta_term *terms, int count, const int32_t *begin, int32_t *sums, size_t stride) {
    longs held[DS2TA_QUARTET][DS2TA_GROUP];
    add_terms(terms, count, 0, begin, held);
    for (size_t output = 0; output < DS2TA_QUARTET; output++)
        for (size_t step = 0; step < DS2TA_GROUP; step++) STORE(longs, sums + output * stride + step * DS2TA_SPAN, held[output][step]);
}

static inline __attribute__((always_inline)) void add_and_fire_of(const ds2ta_term *terms, int count, const int32_t *begin,
                                                                  const ds2ta_neuron *neuron, const int32_t *bias, const int32_t *threshold,
                                                                  int spans, size_t span_bytes, uint8_t *out, int steps, int taps, int guard) {
    const longs zero = {0};
    for (size_t span = 0; span < (size_t)spans; span++, out += DS2TA_TILE * DS2TA_SPAN) {
        longs held[DS2TA_QUARTET][DS2TA_GROUP];
        add_terms(terms, count, span * span_bytes, begin, held);
        for (int output = 0; output < DS2TA_QUARTET; output++)
            fire_register(neuron, NULL, 0, held[output], zero + bias[output], zero + threshold[output], NULL, out + output * DS2TA_SPAN, 0, steps,
                          taps, guard);
    }
}

#define ALL(steps, taps, guard) add_and_fire_of(terms, count, begin, &own, bias, threshold, spans, span_bytes, out, steps, taps, guard)

static void add_and_fire_512(const ds2ta_term *terms, int count, const int32_t *begin, const ds2ta_neuron *neuron, const int32_t *bias,
                             const int32_t *threshold, int spans, size_t span_bytes, uint8_t *out) {
    const ds2ta_neuron own = *neuron;
    DS2TA_SPECIALIZE(own, ALL);
}

#undef ALL

/* One of four rounds, after which a square of 16 times 16 words has changed rows for columns. */
static inline void swap_words(__m512i *words, int apart, __m512i early, __m512i late) {
    for (int i = 0; i < 16; i++) {
        if (i & apart) continue;
        __m512i one = words[i], other = words[i + apart];
        words[i] = _mm512_permutex2var_epi32(one, early, other);
        words[i + apart] = _mm512_permutex2var_epi32(one, late, other);
    }
}

/* A square of 16 times 16 words. */
static inline void swap_rows(__m512i *words) {
    swap_words(words, 8, _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
               _mm512_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
    swap_words(words, 4, _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
               _mm512_setr_epi32(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31));
    swap_words(words, 2, _mm512_setr_epi32(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
               _mm512_setr_epi32(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31));
    swap_words(words, 1, _mm512_setr_epi32(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
               _mm512_setr_epi32(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31));
}

/* Byte 4 n + j of what this puts in order: channel j of four, token n; or the other way round. */
static inline __m512i beside_512(void) {
    return _mm512_set_epi32(0x3f2f1f0f, 0x3e2e1e0e, 0x3d2d1d0d, 0x3c2c1c0c, 0x3b2b1b0b, 0x3a2a1a0a, 0x39291909, 0x38281808, 0x37271707,
                            0x36261606, 0x35251505, 0x34241404, 0x33231303, 0x32221202, 0x31211101, 0x30201000);
}

/* The first `width` of 64 channels. */
static inline __attribute__((always_inline)) void turn_some(const uint8_t *patterns, uint8_t *out, size_t stride, int tokens, int width) {
    const __mmask64 inside = width >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << width) - 1;
    __m512i words[16];
    for (int i = 0; i < 16; i++)
        words[i] = 4 * i < width ? _mm512_permutexvar_epi8(beside_512(), _mm512_load_si512(patterns + 64 * i)) : _mm512_setzero_si512();
    swap_rows(words);
    for (int n = 0; n < tokens; n++) _mm512_mask_storeu_epi8(out + (size_t)n * stride, inside, words[n]);
}

static void turn_512(const uint8_t *patterns, uint8_t *out, size_t stride, int tokens) { turn_some(patterns, out, stride, tokens, DS2TA_TILE); }

const ds2ta_subsets ds2ta_subsets_512 = {
    .index = index_512, .tabulate = tabulate_512, .add = add_512, .fire = fire_across, .add_and_fire = add_and_fire_512, .turn = turn_512};
