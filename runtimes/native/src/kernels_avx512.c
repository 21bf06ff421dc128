/* 512-bit registers, and a sort that compares 32 channels at once with each pattern. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,popcnt,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,popcnt,bmi,bmi2")
#endif
#include <immintrin.h>

#include "kernels.h"

#define WIDTH 64

typedef int8_t bytes __attribute__((vector_size(WIDTH)));
typedef int16_t words __attribute__((vector_size(WIDTH)));
typedef int32_t longs __attribute__((vector_size(WIDTH)));

static inline words widen(const int8_t *address) { return (words)_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)address)); }

static inline void split_bytes(bytes value, words *low, words *high) {
    *low = (words)_mm512_cvtepi8_epi16(_mm512_castsi512_si256((__m512i)value));
    *high = (words)_mm512_cvtepi8_epi16(_mm512_extracti64x4_epi64((__m512i)value, 1));
}

static inline void split_words(words value, longs *low, longs *high) {
    *low = (longs)_mm512_cvtepi16_epi32(_mm512_castsi512_si256((__m512i)value));
    *high = (longs)_mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64((__m512i)value, 1));
}

static inline void store_low_bytes(longs value, uint8_t *address) {
    _mm_storeu_si128((__m128i *)(void *)address, _mm512_cvtepi32_epi8((__m512i)value));
}

static void sort_512(const uint8_t *patterns, int channels, int base, uint16_t *list, uint32_t start[DS2TA_PATTERNS + 1]) {
    const __m512i lanes = _mm512_set_epi16(31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5,
                                           4, 3, 2, 1, 0);
    uint32_t position = 0;
    for (int pattern = 1; pattern < DS2TA_PATTERNS; pattern++) {
        start[pattern] = position;
        const __m256i wanted = _mm256_set1_epi8((char)pattern);
        for (int c = 0; c < channels; c += 32) {
            __mmask32 inside = channels - c >= 32 ? 0xffffffffu : (1u << (channels - c)) - 1;
            __mmask32 found = _mm256_mask_cmpeq_epi8_mask(inside, _mm256_maskz_loadu_epi8(inside, patterns + c), wanted);
            __m512i index = _mm512_add_epi16(_mm512_set1_epi16((short)(base + c)), lanes);
            _mm512_storeu_si512(list + position, _mm512_maskz_compress_epi16(found, index));
            position += (uint32_t)__builtin_popcount(found);
        }
    }
    start[DS2TA_PATTERNS] = position;
}

#define DS2TA_SORT sort_512
#define DS2TA_NAME "avx512"
#define DS2TA_KERNELS ds2ta_kernels_avx512
#include "kernels_vector.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int ds2ta_no_avx512; /* a translation unit may not be empty */
#endif
