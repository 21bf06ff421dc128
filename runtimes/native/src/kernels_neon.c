/* 128-bit registers, which every 64-bit Arm has. */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernels.h"

#include <string.h>

#define WIDTH 16

typedef uint8_t unsigned_bytes __attribute__((vector_size(WIDTH)));
typedef int16_t words __attribute__((vector_size(WIDTH)));
typedef int32_t longs __attribute__((vector_size(WIDTH)));

static inline void split_words(words value, longs *low, longs *high) {
    *low = (longs)vmovl_s16(vget_low_s16((int16x8_t)value));
    *high = (longs)vmovl_s16(vget_high_s16((int16x8_t)value));
}

static inline void store_low_bytes(longs value, uint8_t *address) {
    int16x4_t words4 = vmovn_s32((int32x4_t)value);
    uint8x8_t low = vreinterpret_u8_s8(vmovn_s16(vcombine_s16(words4, words4)));
    uint32_t four = vget_lane_u32(vreinterpret_u32_u8(low), 0);
    memcpy(address, &four, sizeof four);
}

static inline void store_bytes_of_words(words value, uint8_t *address) { vst1_u8(address, vmovn_u16((uint16x8_t)value)); }

static inline words add_saturated(words one, words other) { return (words)vqaddq_s16((int16x8_t)one, (int16x8_t)other); }

static inline words smaller_words(words one, words other) { return (words)vminq_s16((int16x8_t)one, (int16x8_t)other); }

static inline int has_lowest_word(words value) { return vminvq_s16((int16x8_t)value) == INT16_MIN; }

static inline unsigned_bytes ones_of(unsigned_bytes value) { return (unsigned_bytes)vcntq_u8((uint8x16_t)value); }

static inline longs add_products(longs sum, words left, words right) {
    int32x4_t low = vmull_s16(vget_low_s16((int16x8_t)left), vget_low_s16((int16x8_t)right));
    return sum + (longs)vpaddq_s32(low, vmull_high_s16((int16x8_t)left, (int16x8_t)right));
}

#define DS2TA_LOADED(value) __asm__("" : "+w"(value))
#define DS2TA_DENSE_PLANES DS2TA_MAX_PLANES
#define DS2TA_COSTS ds2ta_costs_neon
#define DS2TA_UNPACK ds2ta_unpack_plain
#define DS2TA_DENSE ds2ta_dense_plain
#define DS2TA_GATHER ds2ta_gather_plain
#define DS2TA_NAME "neon"
#define DS2TA_KERNELS ds2ta_kernels_neon
#include "kernels_vector.h"
#else
typedef int ds2ta_no_neon; /* a translation unit may not be empty */
#endif
