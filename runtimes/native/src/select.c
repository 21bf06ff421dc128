/* Which kernels this machine can run, asked of the processor and the operating system. */
#include "kernels.h"

#include <string.h>

typedef struct {
    const ds2ta_kernels *kernels;
    int works;
} candidate;

#if defined(__x86_64__)
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt"); }

static int has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vnni") &&
           __builtin_cpu_supports("avx512bitalg") && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("gfni");
}
#endif

const ds2ta_kernels *ds2ta_select_kernels(const char *name) {
    const candidate candidates[] = {
#if defined(__x86_64__)
        {&ds2ta_kernels_avx512, has_avx512()},
        {&ds2ta_kernels_avx2, has_avx2()},
#elif defined(__aarch64__)
        {&ds2ta_kernels_neon, 1},
#endif
        {&ds2ta_kernels_scalar, 1},
    };
    for (size_t i = 0; i < sizeof candidates / sizeof candidates[0]; i++)
        if (candidates[i].works && (!name || !strcmp(name, candidates[i].kernels->name))) return candidates[i].kernels;
    return NULL;
}

int ds2ta_supports(const char *isa) { return isa && ds2ta_select_kernels(isa) != NULL; }

int ds2ta_abi(void) { return DS2TA_ABI; }
