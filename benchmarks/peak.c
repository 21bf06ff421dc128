/* How many 8-bit multiply-accumulates a second one core can do, at best.
 *
 * Independent chains of the machine's widest uint8 x int8 (or int8 x int8) dot product instruction, operands in registers:
 * no memory, no loop-carried wait. A dense integer kernel can reach this and nothing more.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdint.h>
#include <time.h>

#define CHAINS 12 /* latency x instructions a cycle is at most 10 on the cores known */

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Every kernel runs `rounds` rounds of CHAINS products. The empty asm makes sums and operands unknown to the compiler each
   time, so that nothing is merged or moved out of the loop; it costs no instruction. */
#define KERNEL(name, isa, vector, instruction)                                                                              \
    __attribute__((target(isa))) static void name(long rounds) {                                                            \
        vector sum[CHAINS] = {0}, left = {0}, right = {0};                                                                  \
        for (long round = 0; round < rounds; round++) {                                                                     \
            _Pragma("GCC unroll 12") for (int chain = 0; chain < CHAINS; chain++) {                                         \
                __asm__ volatile("" : "+" REGISTER(left), "+" REGISTER(right));                                                                 \
                sum[chain] = instruction;                                                                                   \
                __asm__ volatile("" : "+" REGISTER(sum[chain]));                                                            \
            }                                                                                                               \
        }                                                                                                                   \
    }

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#define REGISTER(value) "v"(value)
KERNEL(avx512_vnni, "avx512f,avx512bw,avx512vl,avx512vnni", __m512i, _mm512_dpbusd_epi32(sum[chain], left, right))
KERNEL(avx512_vnni_256, "avx512f,avx512bw,avx512vl,avx512vnni", __m256i, _mm256_dpbusd_epi32(sum[chain], left, right))
#undef REGISTER
#define REGISTER(value) "x"(value)
KERNEL(avx_vnni, "avx2,avxvnni", __m256i, _mm256_dpbusd_avx_epi32(sum[chain], left, right))
/* Without VNNI: pairs of int16 sums, then int32; exact for what one spike adds, as long as counts are at most 128. */
KERNEL(avx2, "avx2", __m256i, _mm256_add_epi32(sum[chain], _mm256_madd_epi16(_mm256_maddubs_epi16(left, right), right)))

static int has_avx_vnni(void) { /* no compiler's __builtin_cpu_supports knows it everywhere */
    unsigned eax = 0, ebx, ecx, edx;
    return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 4 & 1) && __builtin_cpu_supports("avx2");
}

double ds2ta_peak(long rounds, const char **name) {
    __builtin_cpu_init();
    struct { const char *name; int works; int products; void (*run)(long); } kernels[] = {
        {"AVX-512 VNNI", __builtin_cpu_supports("avx512vnni"), 64, avx512_vnni},
        {"AVX-512 VNNI, 256 bits", __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vl"), 32, avx512_vnni_256},
        {"AVX-VNNI", has_avx_vnni(), 32, avx_vnni},
        {"AVX2", __builtin_cpu_supports("avx2"), 32, avx2},
    };
#elif defined(__aarch64__)
#include <arm_neon.h>
#include <sys/auxv.h>
#define REGISTER(value) "w"(value)
KERNEL(neon_dot, "arch=armv8.2-a+dotprod", int32x4_t,
       vdotq_s32(sum[chain], vreinterpretq_s8_s32(left), vreinterpretq_s8_s32(right)))
KERNEL(neon, "arch=armv8-a", int32x4_t,
       vpadalq_s16(sum[chain], vmull_s8(vget_low_s8(vreinterpretq_s8_s32(left)), vget_low_s8(vreinterpretq_s8_s32(right)))))

double ds2ta_peak(long rounds, const char **name) {
    struct { const char *name; int works; int products; void (*run)(long); } kernels[] = {
        {"NEON dot product", (getauxval(AT_HWCAP) >> 20 & 1) != 0, 16, neon_dot},
        {"NEON", 1, 8, neon},
    };
#else
#error "there is no peak kernel for this machine"
#endif
    double best = 0;
    for (unsigned index = 0; index < sizeof kernels / sizeof *kernels; index++) {
        if (!kernels[index].works) continue;
        double began = seconds();
        kernels[index].run(rounds);
        double speed = (double)rounds * CHAINS * kernels[index].products / (seconds() - began);
        if (speed > best) {
            best = speed;
            *name = kernels[index].name;
        }
    }
    return best;
}
