/* Runs samples, or steps of them, and keeps every value: the model, compiled with DS2TA_TRACE, as a library that a program can load. */
#include "model.h"

/* Runs samples that lie one behind the other; `rooms` has a pointer for each value, to memory for all samples, or NULL. */
void ds2ta_host_run(const uint8_t samples[], uint32_t count, void *const rooms[], int32_t logits[]);

/*
 * Takes the steps of samples that have a state each, and lets each sum of logits begin with them. The frames of a sample lie one
 * behind the other. Returns how many steps were refused.
 */
uint32_t ds2ta_host_step(ds2ta_state states[], const uint8_t frames[], uint32_t count, uint32_t steps, void *const rooms[]);

static ds2ta_state state;
static void *const *kept;                /* where each value's elements go; NULL: nowhere */
static uint64_t told[DS2TA_TRACED_VALUES]; /* elements so far */

#define DEFINE_TRACE(suffix, type)                                                            \
    void ds2ta_trace_##suffix(uint32_t value, const type elements[], uint32_t count)          \
    {                                                                                         \
        type *const room = (type *)kept[value];                                               \
        if (room != 0) {                                                                      \
            for (uint32_t i = 0u; i < count; i++) {                                           \
                room[told[value] + i] = elements[i];                                          \
            }                                                                                 \
            told[value] += count;                                                             \
        }                                                                                     \
    }

DEFINE_TRACE(u8, uint8_t)
DEFINE_TRACE(i16, int16_t)
DEFINE_TRACE(i32, int32_t)

static void keep(void *const rooms[])
{
    kept = rooms;
    for (uint32_t value = 0u; value < DS2TA_TRACED_VALUES; value++) {
        told[value] = 0u;
    }
}

void ds2ta_host_run(const uint8_t samples[], uint32_t count, void *const rooms[], int32_t logits[])
{
    const uint32_t frames = (DS2TA_STILL != 0) ? 1u : DS2TA_TIME_STEPS;
    keep(rooms);
    for (uint32_t sample = 0u; sample < count; sample++) {
        ds2ta_run(&state, &samples[(uint64_t)sample * frames * DS2TA_FRAME_SIZE], &logits[sample * DS2TA_CLASSES]);
    }
}

uint32_t ds2ta_host_step(ds2ta_state states[], const uint8_t frames[], uint32_t count, uint32_t steps, void *const rooms[])
{
    uint32_t refused = 0u;
    keep(rooms);
    for (uint32_t sample = 0u; sample < count; sample++) {
        ds2ta_begin_sum(&states[sample]);
        for (uint32_t step = 0u; step < steps; step++) {
            const uint64_t frame = ((uint64_t)sample * steps) + step;
            refused += (ds2ta_step(&states[sample], &frames[frame * DS2TA_FRAME_SIZE]) == DS2TA_OK) ? 0u : 1u;
        }
    }
    return refused;
}
