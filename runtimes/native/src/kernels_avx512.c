/* 512-bit registers, and a sort that compares 64 channels at once with each pattern, dot products, sums of subsets, and attention of
 * queries side by side. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,avx512vnni,avx512bitalg,avx512vbmi,gfni,popcnt,bmi,bmi2"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,avx512vnni,avx512bitalg,avx512vbmi,gfni,popcnt,bmi,bmi2")
#endif
#include <immintrin.h>

#include "kernels.h"

#include <string.h>
#include <time.h>

#define WIDTH 64

typedef uint8_t unsigned_bytes __attribute__((vector_size(WIDTH)));
typedef int16_t words __attribute__((vector_size(WIDTH)));
typedef int32_t longs __attribute__((vector_size(WIDTH)));

static inline void split_words(words value, longs *low, longs *high) {
    *low = (longs)_mm512_cvtepi16_epi32(_mm512_castsi512_si256((__m512i)value));
    *high = (longs)_mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64((__m512i)value, 1));
}

static inline void store_low_bytes(longs value, uint8_t *address) {
    _mm_storeu_si128((__m128i *)(void *)address, _mm512_cvtepi32_epi8((__m512i)value));
}

static inline void store_bytes_of_words(words value, uint8_t *address) {
    _mm256_storeu_si256((__m256i *)(void *)address, _mm512_cvtepi16_epi8((__m512i)value));
}

static inline words add_saturated(words one, words other) { return (words)_mm512_adds_epi16((__m512i)one, (__m512i)other); }

static inline words smaller_words(words one, words other) { return (words)_mm512_min_epi16((__m512i)one, (__m512i)other); }

static inline int has_lowest_word(words value) { return _mm512_cmpeq_epi16_mask((__m512i)value, _mm512_set1_epi16(INT16_MIN)) != 0; }

static inline unsigned_bytes ones_of(unsigned_bytes value) { return (unsigned_bytes)_mm512_popcnt_epi8((__m512i)value); }

static inline longs add_products(longs sum, words left, words right) {
    return (longs)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)left, (__m512i)right);
}

static void gather_512(const uint8_t *patterns, int width, int step, uint64_t *bits) {
    const __m512i bit = _mm512_set1_epi8((char)(1 << step));
    for (int c = 0; c < width; c += 64) {
        __mmask64 inside = width - c >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (width - c)) - 1;
        bits[c / 64] = _mm512_test_epi8_mask(_mm512_maskz_loadu_epi8(inside, patterns + c), bit);
    }
}

/* A table of 65 entries at most, as heads of up to 64 channels have, lies in two registers; its last entry is put in afterwards. */
static inline void table_512(const uint8_t *score, int tokens, const int16_t *table, int entries, int16_t *map) {
    if (entries > 65) {
        for (int j = 0; j < tokens; j++) map[j] = table[score[j]];
        return;
    }
    __mmask64 inside = entries >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << entries) - 1;
    __m512i early = _mm512_maskz_loadu_epi16((__mmask32)inside, table), late = _mm512_maskz_loadu_epi16((__mmask32)(inside >> 32), table + 32);
    for (int j = 0; j < tokens; j += 32) {
        __m512i index = _mm512_cvtepu8_epi16(_mm256_load_si256((const __m256i *)(const void *)(score + j)));
        __m512i found = _mm512_permutex2var_epi16(early, index, late);
        if (entries == 65) found = _mm512_mask_set1_epi16(found, _mm512_cmpeq_epi16_mask(index, _mm512_set1_epi16(64)), table[64]);
        _mm512_storeu_si512(map + j, found);
    }
}

#include "kernels_sort_avx512.h"

/* Four rows become four registers of four weights a channel: a byte of each row, in turn. Channel c is byte 2c of a row, channel c + 32
 * byte 2c + 1. */
static void unpack(const ds2ta_panel *panel, int tile, int quad_count, int8_t *quads) {
    const __m512i bias = _mm512_set1_epi16((short)ds2ta_bias(panel));
    const __mmask64 early = 0x3333333333333333, late = ~early; /* rows 0 and 1, rows 2 and 3 */
    __m512i from[4];
    for (int m = 0; m < 4; m++) {
        uint8_t places[64];
        for (int i = 0; i < 64; i++) {
            int channel = 16 * m + i / 4;
            places[i] = (uint8_t)(channel % 32 * 2 + channel / 32 + i % 2 * 64);
        }
        from[m] = _mm512_loadu_si512(places);
    }
    for (int quad = 0; quad < quad_count; quad++, quads += 4 * DS2TA_TILE) {
        __m512i row[4];
        for (int i = 0; i < 4; i++) {
            size_t at = ((size_t)quad * 4 + (size_t)i) * (size_t)panel->width + (size_t)tile;
            row[i] = _mm512_sub_epi8(_mm512_loadu_si512(panel->rows + at * DS2TA_TILE), bias);
        }
        for (int m = 0; m < 4; m++)
            _mm512_store_si512(quads + 64 * m, _mm512_or_si512(_mm512_maskz_permutex2var_epi8(early, row[0], from[m], row[1]),
                                                              _mm512_maskz_permutex2var_epi8(late, row[2], from[m], row[3])));
    }
}

static inline int32_t four_counts(const uint8_t *address) {
    int32_t four;
    memcpy(&four, address, sizeof four);
    return four;
}

/* sum += four products a number. Written out, and on single variables, because compilers copy sums that are used in any other way. */
#define DOT(sum, counts, weights) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(counts), "v"(weights))

/* Sixteen sums stay in registers; every weight that is loaded serves four steps. */
static void dense(const int8_t *quads, int quad_count, const uint8_t *counts, size_t stride, int32_t *sums) {
    const __m512i zero = _mm512_setzero_si512();
#define SUMS(t) __m512i t##_0 = zero, t##_1 = zero, t##_2 = zero, t##_3 = zero
    SUMS(first);
    SUMS(second);
    SUMS(third);
    SUMS(fourth);
#undef SUMS
    for (int quad = 0; quad < quad_count; quad++, quads += 4 * DS2TA_TILE, counts += 4) {
        __m512i weight_0 = _mm512_load_si512(quads), weight_1 = _mm512_load_si512(quads + 64);
        __m512i weight_2 = _mm512_load_si512(quads + 128), weight_3 = _mm512_load_si512(quads + 192), seen;
#define ADD(t, step)                                                \
    seen = _mm512_set1_epi32(four_counts(counts + (step) * stride)); \
    DOT(t##_0, seen, weight_0);                                     \
    DOT(t##_1, seen, weight_1);                                     \
    DOT(t##_2, seen, weight_2);                                     \
    DOT(t##_3, seen, weight_3)
        ADD(first, 0);
        ADD(second, 1);
        ADD(third, 2);
        ADD(fourth, 3);
#undef ADD
    }
#define KEEP(t, step)                                     \
    _mm512_store_si512(sums + (step) * DS2TA_TILE, t##_0);      \
    _mm512_store_si512(sums + (step) * DS2TA_TILE + 16, t##_1); \
    _mm512_store_si512(sums + (step) * DS2TA_TILE + 32, t##_2); \
    _mm512_store_si512(sums + (step) * DS2TA_TILE + 48, t##_3)
    KEEP(first, 0);
    KEEP(second, 1);
    KEEP(third, 2);
    KEEP(fourth, 3);
#undef KEEP
}

/* Zen 4 takes a register in two halves, which makes whatever is bound by arithmetic half as fast, and nothing else. That is seen best in
 * permutations: those of 256 bits take as long as those of 512 on other processors, and half as long there; not quite half when another
 * thread works on the same core. */
enum { PERMUTATIONS = 2048, TRIES = 15 };

#define PERMUTATION(register, to) "vpermb %%" register "0, %%" register "1, %%" register #to "\n\t"
#define PERMUTE(register)                                                                                                           \
    for (int i = 0; i < PERMUTATIONS; i += 8)                                                                                       \
        __asm__ volatile(PERMUTATION(register, 2) PERMUTATION(register, 3) PERMUTATION(register, 4) PERMUTATION(register, 5)        \
                         PERMUTATION(register, 2) PERMUTATION(register, 3) PERMUTATION(register, 4) PERMUTATION(register, 5)        \
                         : : : "xmm2", "xmm3", "xmm4", "xmm5")

static int64_t time_permutations(int whole) {
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    if (whole)
        PERMUTE("zmm");
    else
        PERMUTE("ymm");
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (int64_t)(end.tv_sec - begin.tv_sec) * 1000000000 + end.tv_nsec - begin.tv_nsec;
}

static const ds2ta_costs *costs_512(void) {
    int64_t best[2] = {INT64_MAX, INT64_MAX};
    for (int i = 0; i < 2 * TRIES; i++) {
        int64_t time = time_permutations(i % 2);
        best[i % 2] = time < best[i % 2] ? time : best[i % 2];
    }
    return ds2ta_costs_512(4 * best[1] > 5 * best[0]);
}

/* An addition of words, written out for the reason that DOT is. */
#define DS2TA_ADD_WORDS(sum, value) __asm__("vpaddw %1, %0, %0" : "+v"(sum) : "v"(value))
static inline __attribute__((always_inline)) longs reset_512(longs membrane, longs limit, int bit, longs *silence) {
    __mmask16 silent = _mm512_cmplt_epi32_mask((__m512i)membrane, (__m512i)limit);
    *silence = (longs)_mm512_mask_or_epi32((__m512i)*silence, silent, (__m512i)*silence, _mm512_set1_epi32(bit));
    return (longs)_mm512_maskz_mov_epi32(silent, (__m512i)membrane);
}

static inline __attribute__((always_inline)) words reset_words_512(words membrane, words limit, int bit, words *silence) {
    __mmask32 silent = _mm512_cmplt_epi16_mask((__m512i)membrane, (__m512i)limit);
    *silence = (words)_mm512_mask_add_epi16((__m512i)*silence, silent, (__m512i)*silence, _mm512_set1_epi16((short)bit));
    return (words)_mm512_maskz_mov_epi16(silent, (__m512i)membrane);
}

#define DS2TA_RESET reset_512
#define DS2TA_RESET_WORDS reset_words_512
#define DS2TA_LOADED(value) __asm__("" : "+v"(value))
#define DS2TA_DENSE_PLANES DS2TA_MAX_PLANES
#define DS2TA_COSTS costs_512
#define DS2TA_UNPACK unpack
#define DS2TA_DENSE dense
#define DS2TA_SORT sort_512
#define DS2TA_TABLE table_512
#define DS2TA_GATHER gather_512
#define DS2TA_NAME "avx512"
#define DS2TA_KERNELS ds2ta_kernels_avx512
#define DS2TA_SUBSETS &ds2ta_subsets_512
#define DS2TA_ABREAST &ds2ta_abreast_512
#include "kernels_vector.h"
#include "kernels_subsets_avx512.h"
#include "kernels_abreast_avx512.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int ds2ta_no_avx512; /* a translation unit may not be empty */
#endif
