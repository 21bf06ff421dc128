/* 256-bit registers. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,popcnt,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC target("avx2,popcnt,bmi,bmi2")
#endif
#include <immintrin.h>
#include <stdint.h>

#define WIDTH 32

typedef int8_t bytes __attribute__((vector_size(WIDTH)));
typedef int16_t words __attribute__((vector_size(WIDTH)));
typedef int32_t longs __attribute__((vector_size(WIDTH)));

static inline words widen(const int8_t *address) { return (words)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)address)); }

static inline void split_bytes(bytes value, words *low, words *high) {
    *low = (words)_mm256_cvtepi8_epi16(_mm256_castsi256_si128((__m256i)value));
    *high = (words)_mm256_cvtepi8_epi16(_mm256_extracti128_si256((__m256i)value, 1));
}

static inline void split_words(words value, longs *low, longs *high) {
    *low = (longs)_mm256_cvtepi16_epi32(_mm256_castsi256_si128((__m256i)value));
    *high = (longs)_mm256_cvtepi16_epi32(_mm256_extracti128_si256((__m256i)value, 1));
}

static inline void store_low_bytes(longs value, uint8_t *address) {
    __m128i packed = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)value), _mm256_extracti128_si256((__m256i)value, 1));
    _mm_storel_epi64((__m128i *)(void *)address, _mm_packus_epi16(packed, packed));
}

#define DS2TA_NAME "avx2"
#define DS2TA_KERNELS ds2ta_kernels_avx2
#include "kernels_vector.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int ds2ta_no_avx2; /* a translation unit may not be empty */
#endif
