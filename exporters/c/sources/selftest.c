/* The self-test; selftest.h says how to use it. No library, no heap, like the network itself. */
#include "selftest.h"
#include "model.h"
#include "selftest_data.h"

static ds2ta_state state;

static void write_number(int32_t number)
{
    char text[12];
    uint32_t place = 11u;
    uint32_t rest = (number < 0) ? (0u - (uint32_t)number) : (uint32_t)number;
    text[place] = '\0';
    do {
        place--;
        text[place] = (char)('0' + (char)(rest % 10u));
        rest /= 10u;
    } while (rest != 0u);
    if (number < 0) {
        place--;
        text[place] = '-';
    }
    selftest_write(&text[place]);
}

static void write_comparison(int32_t expected, int32_t found)
{
    selftest_write(": expected ");
    write_number(expected);
    selftest_write(", found ");
    write_number(found);
    selftest_write("\n");
}

#ifdef DS2TA_TRACE

/* What has been seen of a value in this sample. */
typedef struct {
    uint32_t count;
    uint32_t checksum;
    uint32_t different; /* elements that differ from the packed ones */
    uint32_t where;     /* the first of these */
    int32_t found;      /* what was there */
} progress;

static progress seen[DS2TA_TRACED_VALUES];
static uint32_t watching;

static void watch(void)
{
    for (uint32_t value = 0u; value < DS2TA_TRACED_VALUES; value++) {
        seen[value].count = 0u;
        seen[value].checksum = 0u;
        seen[value].different = 0u;
        seen[value].where = 0u;
        seen[value].found = 0;
    }
    watching = 1u;
}

/* The packed element at a place. */
static int32_t expected_at(const selftest_value *value, uint32_t place)
{
    uint32_t stored = 0u;
    if (value->bits < 8u) {
        const uint32_t in_byte = 8u / value->bits;
        const uint32_t byte = selftest_packed[value->packed + (place / in_byte)];
        stored = (byte >> ((place % in_byte) * value->bits)) & ((1u << value->bits) - 1u);
    } else {
        const uint32_t bytes = value->bits / 8u;
        for (uint32_t byte = 0u; byte < bytes; byte++) {
            stored |= (uint32_t)selftest_packed[value->packed + (place * bytes) + byte] << (8u * byte);
        }
    }
    return (int32_t)((int64_t)stored + value->least);
}

/* An odd number for each place: no element can change alone without its checksum. */
static uint32_t weight_of(uint32_t place)
{
    return ((place * 2654435761u) ^ (place >> 15u)) | 1u;
}

static void see(uint32_t number, int32_t element)
{
    const selftest_value *const value = &selftest_values[number];
    progress *const so_far = &seen[number];
    so_far->checksum += (uint32_t)element * weight_of(so_far->count);
    if ((value->bits != 0u) && (expected_at(value, so_far->count) != element)) {
        if (so_far->different == 0u) {
            so_far->where = so_far->count;
            so_far->found = element;
        }
        so_far->different++;
    }
    so_far->count++;
}

#define DEFINE_TRACE(suffix, type)                                                       \
    void ds2ta_trace_##suffix(uint32_t value, const type elements[], uint32_t count)     \
    {                                                                                    \
        for (uint32_t i = 0u; (watching != 0u) && (i < count); i++) {                    \
            see(value, (int32_t)elements[i]);                                            \
        }                                                                                \
    }

DEFINE_TRACE(u8, uint8_t)
DEFINE_TRACE(i16, int16_t)
DEFINE_TRACE(i32, int32_t)

/* Writes " step t [i, j, k]" for a place in memory order. */
static void write_place(const selftest_value *value, uint32_t place)
{
    uint32_t index[3] = {0u, 0u, 0u};
    uint32_t rest = place % value->elements;
    for (uint32_t axis = value->axes; axis > 0u; axis--) {
        index[value->axis[axis - 1u]] = rest % value->sizes[axis - 1u];
        rest /= value->sizes[axis - 1u];
    }
    selftest_write(" step ");
    write_number((int32_t)(place / value->elements));
    for (uint32_t axis = 0u; axis < value->axes; axis++) {
        selftest_write((axis == 0u) ? " [" : ", ");
        write_number((int32_t)index[axis]);
    }
    selftest_write("]");
}

/* Compares what was seen of the first sample with what is known; returns the number of values that differ. */
static uint32_t compare_values(void)
{
    uint32_t wrong = 0u;
    uint32_t placed = 0u;
    for (uint32_t number = 0u; number < DS2TA_TRACED_VALUES; number++) {
        const selftest_value *const value = &selftest_values[number];
        if ((value->elements != 0u) && (seen[number].checksum != value->checksum)) {
            if (wrong == 0u) {
                selftest_write("FAIL ");
                selftest_write(value->name);
                selftest_write((value->bits == 0u) ? ": differs (its checksum)\n" : "");
            }
            if ((value->bits != 0u) && (seen[number].different != 0u) && (placed == 0u)) {
                if (wrong != 0u) {
                    selftest_write("and so does ");
                    selftest_write(value->name);
                }
                write_place(value, seen[number].where);
                write_comparison(expected_at(value, seen[number].where), seen[number].found);
                placed = 1u;
            }
            wrong++;
        }
    }
    watching = 0u;
    return wrong;
}

#else

static void watch(void)
{
}

static uint32_t compare_values(void)
{
    return 0u;
}

#endif

int selftest(void)
{
    const uint32_t frames = (DS2TA_STILL != 0) ? 1u : DS2TA_TIME_STEPS;
    uint32_t wrong = 0u;
    for (uint32_t sample = 0u; (sample < SELFTEST_SAMPLES) && (wrong == 0u); sample++) {
        int32_t logits[DS2TA_CLASSES];
        if (sample == 0u) {
            watch();
        }
        ds2ta_run(&state, &selftest_inputs[sample * frames * DS2TA_FRAME_SIZE], logits);
        if (sample == 0u) {
            wrong += compare_values();
        }
        for (uint32_t c = 0u; c < DS2TA_CLASSES; c++) {
            const int32_t expected = selftest_logits[(sample * DS2TA_CLASSES) + c];
            if ((logits[c] != expected) && (wrong == 0u)) {
                selftest_write("FAIL " SELFTEST_OUTPUT " sample ");
                write_number((int32_t)sample);
                selftest_write(" [");
                write_number((int32_t)c);
                selftest_write("]");
                write_comparison(expected, logits[c]);
            }
            wrong += (logits[c] != expected) ? 1u : 0u;
        }
    }
    if (wrong == 0u) {
        selftest_write("PASS " SELFTEST_NAME "\n");
    }
    return (wrong == 0u) ? 0 : 1;
}
