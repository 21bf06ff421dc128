/* 256-bit registers. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,popcnt,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC target("avx2,popcnt,bmi,bmi2")
#endif
#include <immintrin.h>

#include "kernels.h"

#include <string.h>

#define WIDTH 32

typedef uint8_t unsigned_bytes __attribute__((vector_size(WIDTH)));
typedef int16_t words __attribute__((vector_size(WIDTH)));
typedef int32_t longs __attribute__((vector_size(WIDTH)));

static inline void split_words(words value, longs *low, longs *high) {
    *low = (longs)_mm256_cvtepi16_epi32(_mm256_castsi256_si128((__m256i)value));
    *high = (longs)_mm256_cvtepi16_epi32(_mm256_extracti128_si256((__m256i)value, 1));
}

static inline void store_low_bytes(longs value, uint8_t *address) {
    __m128i packed = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)value), _mm256_extracti128_si256((__m256i)value, 1));
    _mm_storel_epi64((__m128i *)(void *)address, _mm_packus_epi16(packed, packed));
}

static inline void store_bytes_of_words(words value, uint8_t *address) {
    __m256i packed = _mm256_packus_epi16((__m256i)value, (__m256i)value);
    _mm_storeu_si128((__m128i *)(void *)address, _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08)));
}

static inline words add_saturated(words one, words other) { return (words)_mm256_adds_epi16((__m256i)one, (__m256i)other); }

static inline words smaller_words(words one, words other) { return (words)_mm256_min_epi16((__m256i)one, (__m256i)other); }

static inline int has_lowest_word(words value) {
    return _mm256_movemask_epi8(_mm256_cmpeq_epi16((__m256i)value, _mm256_set1_epi16(INT16_MIN))) != 0;
}

/* A table of the bits of half a byte, asked twice. */
static inline unsigned_bytes ones_of(unsigned_bytes value) {
    const __m256i ones = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i half = _mm256_set1_epi8(15);
    __m256i low = _mm256_and_si256((__m256i)value, half), high = _mm256_and_si256(_mm256_srli_epi16((__m256i)value, 4), half);
    return (unsigned_bytes)_mm256_add_epi8(_mm256_shuffle_epi8(ones, low), _mm256_shuffle_epi8(ones, high));
}

static inline longs add_products(longs sum, words left, words right) {
    return (longs)_mm256_add_epi32((__m256i)sum, _mm256_madd_epi16((__m256i)left, (__m256i)right));
}

/* Four rows become registers of four weights a channel, as the 512-bit kernels do it, one half of the rows' registers after the other. */
static void unpack(const ds2ta_panel *panel, int tile, int quad_count, int8_t *quads) {
    const __m256i bias = _mm256_set1_epi16((short)ds2ta_bias(panel));
    for (int i = 0; i < quad_count * 2; i++) {
        size_t half = (size_t)i % 2, first = (size_t)(i / 2) * 4;
        __m256i row[4], mixed[4];
        for (size_t r = 0; r < 4; r++) {
            const uint8_t *at = panel->rows + ((first + r) * (size_t)panel->width + (size_t)tile) * DS2TA_TILE + half * 32;
            row[r] = _mm256_sub_epi8(_mm256_load_si256((const __m256i *)(const void *)at), bias);
        }
        __m256i one = _mm256_unpacklo_epi8(row[0], row[1]), other = _mm256_unpacklo_epi8(row[2], row[3]);
        mixed[0] = _mm256_unpacklo_epi16(one, other), mixed[1] = _mm256_unpackhi_epi16(one, other);
        one = _mm256_unpackhi_epi8(row[0], row[1]), other = _mm256_unpackhi_epi8(row[2], row[3]);
        mixed[2] = _mm256_unpacklo_epi16(one, other), mixed[3] = _mm256_unpackhi_epi16(one, other);
        for (size_t high = 0; high < 2; high++) {
            __m256 part[2];
            for (int k = 0; k < 2; k++) {
                __m256 left = _mm256_castsi256_ps(mixed[2 * k]), right = _mm256_castsi256_ps(mixed[2 * k + 1]);
                part[k] = high ? _mm256_shuffle_ps(left, right, 0xdd) : _mm256_shuffle_ps(left, right, 0x88);
            }
            __m256i *to = (__m256i *)(void *)(quads + first * DS2TA_TILE + (high * 32 + half * 16) * 4);
            _mm256_store_si256(to, _mm256_castps_si256(_mm256_permute2f128_ps(part[0], part[1], 0x20)));
            _mm256_store_si256(to + 1, _mm256_castps_si256(_mm256_permute2f128_ps(part[0], part[1], 0x31)));
        }
    }
}

/* Pairs of products are added in 16 bits: 2 * 127 * 128 fits, and 2 * 255 * 128 would not. */
static void dense(const int8_t *quads, int quad_count, const uint8_t *counts, size_t stride, int32_t *sums) {
    const __m256i ones = _mm256_set1_epi16(1);
    for (int c = 0; c < DS2TA_TILE; c += 16) {
        __m256i sum[DS2TA_GROUP][2];
        for (int i = 0; i < DS2TA_GROUP * 2; i++) sum[i / 2][i % 2] = _mm256_setzero_si256();
        for (size_t quad = 0; quad < (size_t)quad_count; quad++) {
            __m256i weight[2];
            for (int i = 0; i < 2; i++)
                weight[i] = _mm256_load_si256((const __m256i *)(const void *)(quads + (quad * DS2TA_TILE + (size_t)(c + 8 * i)) * 4));
            for (size_t t = 0; t < DS2TA_GROUP; t++) {
                int32_t four;
                memcpy(&four, counts + t * stride + 4 * quad, sizeof four);
                __m256i seen = _mm256_set1_epi32(four);
                for (int i = 0; i < 2; i++)
                    sum[t][i] = _mm256_add_epi32(sum[t][i], _mm256_madd_epi16(_mm256_maddubs_epi16(seen, weight[i]), ones));
            }
        }
        for (int i = 0; i < DS2TA_GROUP * 2; i++)
            _mm256_store_si256((__m256i *)(void *)(sums + i / 2 * DS2TA_TILE + c + i % 2 * 8), sum[i / 2][i % 2]);
    }
}

#define DS2TA_LOADED(value) __asm__("" : "+x"(value))
#define DS2TA_DENSE_PLANES 7
#define DS2TA_COSTS ds2ta_costs_avx2
#define DS2TA_UNPACK unpack
#define DS2TA_DENSE dense
#define DS2TA_GATHER ds2ta_gather_plain
#define DS2TA_NAME "avx2"
#define DS2TA_KERNELS ds2ta_kernels_avx2
#include "kernels_vector.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int ds2ta_no_avx2; /* a translation unit may not be empty */
#endif
