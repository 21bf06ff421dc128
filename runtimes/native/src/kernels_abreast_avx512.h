/* Attention of queries side by side in 512-bit registers; part of kernels_avx512.c, behind kernels_subsets_avx512.h, whose transposition
 * it uses. A register holds one byte for each of 16 queries and four keys. */

/* 16 channels of four tokens, one quarter of the register each; zeros where there is no token or channel: neither is read. */
static inline __m512i quarters_of(const uint8_t *patterns, size_t stride, int tokens, int channels) {
    __m128i token[4];
    __mmask16 inside = (__mmask16)(channels >= 16 ? 0xffff : channels > 0 ? (1 << channels) - 1 : 0);
    for (int i = 0; i < 4; i++)
        token[i] = inside && i < tokens ? _mm_maskz_loadu_epi8(inside, patterns + (size_t)i * stride) : _mm_setzero_si128();
    __m512i all = _mm512_inserti32x4(_mm512_castsi128_si512(token[0]), token[1], 1);
    return _mm512_inserti32x4(_mm512_inserti32x4(all, token[2], 2), token[3], 3);
}

/* Bytes and bits of eight channels change places: see numbers_of in kernels_subsets_avx512.h. */
static inline __m512i steps_of(__m512i patterns) {
    return _mm512_gf2p8affine_epi64_epi8(_mm512_set1_epi64(0x0804020108040201), patterns, 0);
}

/* 64 tokens at once: a register of four tokens has a word for each step and byte, and a transposition brings the words of all together. */
static void planes_512(const uint8_t *patterns, size_t stride, int tokens, int width, uint8_t *planes) {
    size_t bytes = (size_t)ds2ta_abreast_bytes(width), padded = (size_t)ds2ta_abreast_tokens(tokens);
    uint8_t from[64];
    for (int i = 0; i < 64; i++) {
        int token = i % 4, byte = i / 4 % 4, step = i / 16;
        from[i] = (uint8_t)(byte / 2 * 64 + token * 16 + byte % 2 * 8 + step);
    }
    const __m512i order = _mm512_loadu_si512(from);
    for (size_t byte = 0; byte < bytes; byte += 4)
        for (int first = 0; first < tokens; first += 64) {
            int channels = width - (int)byte * 8;
            __m512i words[16];
            for (int i = 0; i < 16; i++) {
                int token = first + 4 * i;
                const uint8_t *four = patterns + (size_t)token * stride + byte * 8;
                words[i] = _mm512_setzero_si512();
                if (token < tokens)
                    words[i] = _mm512_permutex2var_epi8(steps_of(quarters_of(four, stride, tokens - token, channels)), order,
                                                        steps_of(quarters_of(four + 16, stride, tokens - token, channels - 16)));
            }
            swap_rows(words);
            for (size_t i = 0; i < 16; i++) _mm512_store_si512(planes + (i / 4 * bytes + byte + i % 4) * padded + (size_t)first, words[i]);
        }
}

static void quads_512(const uint8_t *patterns, size_t stride, int tokens, int width, uint8_t *quads) {
    size_t channels = (size_t)ds2ta_abreast_channels(width), size = (size_t)(tokens + 3) / 4 * channels * 4;
    const __m512i ones = _mm512_set1_epi8(1), beside = beside_512();
    for (int token = 0; token < tokens; token += 4, patterns += 4 * stride)
        for (size_t c = 0; c < channels; c += 16, quads += 64) {
            __m512i four = _mm512_permutexvar_epi8(beside, quarters_of(patterns + c, stride, tokens - token, width - (int)c));
            for (int t = 0; t < DS2TA_GROUP; t++)
                _mm512_store_si512(quads + (size_t)t * size, _mm512_and_si512(_mm512_srl_epi16(four, _mm_cvtsi32_si128(t)), ones));
        }
}

/* `bytes` is a number that the compiler knows, or DS2TA_ABREAST_BYTES at most. Fewer than 8 share at most 56 bits, whose entries lie in
 * one register, of two. */
static inline __attribute__((always_inline)) void look_up_bytes(const uint8_t *queries, size_t query_stride, const uint8_t *keys,
                                                                size_t key_stride, int bytes, int quads, const uint8_t *table, uint8_t *map) {
    const __m512i each = _mm512_set_epi32(0x0f0f0f0f, 0x0e0e0e0e, 0x0d0d0d0d, 0x0c0c0c0c, 0x0b0b0b0b, 0x0a0a0a0a, 0x09090909, 0x08080808,
                                          0x07070707, 0x06060606, 0x05050505, 0x04040404, 0x03030303, 0x02020202, 0x01010101, 0);
    const __m512i early = _mm512_loadu_si512(table), late = _mm512_loadu_si512(table + 64);
    __m512i query[DS2TA_ABREAST_BYTES];
    for (int b = 0; b < bytes; b++) {
        __m128i some = _mm_loadu_si128((const __m128i *)(const void *)(queries + (size_t)b * query_stride));
        query[b] = _mm512_permutexvar_epi8(each, _mm512_castsi128_si512(some));
    }
    for (int quad = 0; quad < quads; quad++, keys += 4, map += 64) {
        __m512i score = _mm512_setzero_si512();
        for (int b = 0; b < bytes; b++) {
            __m512i shared = _mm512_and_si512(query[b], _mm512_set1_epi32(four_counts(keys + (size_t)b * key_stride)));
            score = _mm512_add_epi8(score, _mm512_popcnt_epi8(shared));
        }
        _mm512_store_si512(map, bytes < 8 ? _mm512_permutexvar_epi8(score, early) : _mm512_permutex2var_epi8(early, score, late));
    }
}

static void look_up_512(const uint8_t *queries, size_t query_stride, const uint8_t *keys, size_t key_stride, int bytes, int quads,
                        const uint8_t *table, uint8_t *map) {
    if (bytes == 4)
        look_up_bytes(queries, query_stride, keys, key_stride, 4, quads, table, map);
    else if (bytes == 8)
        look_up_bytes(queries, query_stride, keys, key_stride, 8, quads, table, map);
    else
        look_up_bytes(queries, query_stride, keys, key_stride, bytes, quads, table, map);
}

/* Sixteen sums stay in registers. */
static void mix_512(const uint8_t *map, const uint8_t *quads, int count, int channels, int32_t *sums, size_t stride) {
#define EACH(DO) DO(0), DO(1), DO(2), DO(3), DO(4), DO(5), DO(6), DO(7), DO(8), DO(9), DO(10), DO(11), DO(12), DO(13), DO(14), DO(15)
#define EACH_ALONE(DO) DO(0); DO(1); DO(2); DO(3); DO(4); DO(5); DO(6); DO(7); DO(8); DO(9); DO(10); DO(11); DO(12); DO(13); DO(14); DO(15)
#define BEGIN(c) sum_##c = _mm512_setzero_si512()
#define ADD(c) DOT(sum_##c, maps, _mm512_set1_epi32(four_counts(value + (c) * 4)))
#define KEEP(c) _mm512_store_si512(sums + (size_t)(first + (c)) * stride, sum_##c)
    for (int first = 0; first < channels; first += 16) {
        __m512i EACH(BEGIN);
        const uint8_t *value = quads + (size_t)first * 4;
        for (int quad = 0; quad < count; quad++, value += (size_t)channels * 4) {
            __m512i maps = _mm512_load_si512(map + (size_t)quad * 64);
            EACH_ALONE(ADD);
        }
        EACH_ALONE(KEEP);
    }
#undef EACH
#undef EACH_ALONE
#undef BEGIN
#undef ADD
#undef KEEP
}

static void turn_part_512(const uint8_t *patterns, uint8_t *out, size_t stride, int tokens, int width) {
    for (int c = 0; c < width; c += 64) turn_some(patterns + c * DS2TA_SPAN, out + c, stride, tokens, width - c < 64 ? width - c : 64);
}

const ds2ta_abreast ds2ta_abreast_512 = {
    .planes = planes_512, .quads = quads_512, .look_up = look_up_512, .mix = mix_512, .turn = turn_part_512};
