/* The kernels; ds2ta_kernels.h says what each computes. Where a kernel exists for several types, a macro holds its one body. */
#include "ds2ta_kernels.h"

/* floor(value / 2^shift) without shifting a negative number, which C leaves to the compiler. */
static int32_t floor_shift(int32_t value, uint32_t shift)
{
    const uint32_t places = (shift > 31u) ? 31u : shift;
    int32_t result;
    if (value >= 0) {
        result = (int32_t)((uint32_t)value >> places);
    } else {
        result = -1 - (int32_t)((uint32_t)(-1 - value) >> places);
    }
    return result;
}

/* value * 2^shift without shifting a negative number. */
static int32_t shift_left(int32_t value, uint32_t shift)
{
    return value * (int32_t)((uint32_t)1u << shift);
}

static void clear(int32_t out[], uint32_t count)
{
    for (uint32_t i = 0u; i < count; i++) {
        out[i] = 0;
    }
}

void ds2ta_table(const uint8_t in[], uint32_t count, const int16_t table[], uint32_t channels, int16_t out[])
{
    uint32_t channel = 0u;
    for (uint32_t i = 0u; i < count; i++) {
        out[i] = table[(channel * 256u) + in[i]];
        channel = ((channel + 1u) == channels) ? 0u : (channel + 1u);
    }
}

/* sum[o] += weight[i][o] * in[i]: what Linear, Conv2d and Readout are made of. */
#define DEFINE_ACCUMULATE(types, in_type, weight_type)                                                                          \
    static void accumulate_##types(const in_type in[], uint32_t inputs, const weight_type weight[], uint32_t outputs,           \
                                   int32_t sum[])                                                                               \
    {                                                                                                                           \
        for (uint32_t i = 0u; i < inputs; i++) {                                                                                \
            const int32_t x = (int32_t)in[i];                                                                                   \
            if (x != 0) {                                                                                                       \
                const weight_type *const column = &weight[i * outputs];                                                         \
                for (uint32_t o = 0u; o < outputs; o++) {                                                                       \
                    sum[o] += x * (int32_t)column[o];                                                                           \
                }                                                                                                               \
            }                                                                                                                   \
        }                                                                                                                       \
    }

#define DEFINE_LINEAR(types, in_type, weight_type)                                                                              \
    void ds2ta_linear_##types(const in_type in[], uint32_t inputs, const weight_type weight[], uint32_t outputs,                \
                              int32_t product[])                                                                                \
    {                                                                                                                           \
        clear(product, outputs);                                                                                                \
        accumulate_##types(in, inputs, weight, outputs, product);                                                               \
    }

/* Tap (i, j) meets pixel (y + r i - margin, x + r j - margin); coordinates are kept plus margin, so that none is negative. */
#define DEFINE_CONV2D(types, in_type, weight_type)                                                                              \
    void ds2ta_conv2d_##types(const in_type in[], const ds2ta_conv2d_shape *shape, const weight_type weight[], uint32_t y,      \
                              int32_t product[])                                                                                \
    {                                                                                                                           \
        const uint32_t margin = (shape->size / 2u) * shape->dilation;                                                           \
        const uint32_t tap_weights = shape->inputs * shape->outputs;                                                            \
        clear(product, shape->width * shape->outputs);                                                                          \
        for (uint32_t i = 0u; i < shape->size; i++) {                                                                           \
            const uint32_t row = y + (i * shape->dilation);                                                                     \
            if ((row >= margin) && ((row - margin) < shape->height)) {                                                          \
                for (uint32_t j = 0u; j < shape->size; j++) {                                                                   \
                    const weight_type *const tap = &weight[((i * shape->size) + j) * tap_weights];                              \
                    for (uint32_t x = 0u; x < shape->width; x++) {                                                              \
                        const uint32_t column = x + (j * shape->dilation);                                                      \
                        if ((column >= margin) && ((column - margin) < shape->width)) {                                         \
                            const uint32_t pixel = ((row - margin) * shape->width) + (column - margin);                         \
                            accumulate_##types(&in[pixel * shape->inputs], shape->inputs, tap, shape->outputs,                  \
                                               &product[x * shape->outputs]);                                                   \
                        }                                                                                                       \
                    }                                                                                                           \
                }                                                                                                               \
            }                                                                                                                   \
        }                                                                                                                       \
    }

#define DEFINE_WEIGHTED(types, in_type, weight_type)                                                                            \
    DEFINE_ACCUMULATE(types, in_type, weight_type)                                                                              \
    DEFINE_LINEAR(types, in_type, weight_type)                                                                                  \
    DEFINE_CONV2D(types, in_type, weight_type)

DEFINE_WEIGHTED(u8_i8, uint8_t, int8_t)
DEFINE_WEIGHTED(u8_i16, uint8_t, int16_t)
DEFINE_WEIGHTED(i16_i8, int16_t, int8_t)
DEFINE_WEIGHTED(i16_i16, int16_t, int16_t)

void ds2ta_bias(const int32_t product[], uint32_t count, const int32_t bias[], uint32_t channels, uint32_t guard_bits, int32_t current[])
{
    uint32_t channel = 0u;
    for (uint32_t i = 0u; i < count; i++) {
        current[i] = shift_left(product[i], guard_bits) + shift_left(bias[channel], guard_bits);
        channel = ((channel + 1u) == channels) ? 0u : (channel + 1u);
    }
}

/* The history moves on while it is read: each product into the place of the one before it, the oldest is forgotten. */
#define DEFINE_WINDOW(type, history_type)                                                                                       \
    void ds2ta_window_##type(const int32_t product[], uint32_t count, const ds2ta_window_shape *shape, const int32_t bias[],    \
                             history_type history[], int32_t current[])                                                         \
    {                                                                                                                           \
        const uint32_t kept = shape->taps - 1u;                                                                                 \
        uint32_t channel = 0u;                                                                                                  \
        for (uint32_t i = 0u; i < count; i++) {                                                                                 \
            const int32_t present = product[i];                                                                                 \
            int32_t sum = shift_left(present, shape->guard_bits) + shift_left(bias[channel], shape->guard_bits);                \
            history_type *place = &history[i];                                                                                  \
            for (uint32_t lag = kept; lag > 1u; lag--) {                                                                        \
                sum += floor_shift(shift_left((int32_t)*place, shape->guard_bits), shape->decay * lag);                         \
                *place = place[shape->frame];                                                                                   \
                place = &place[shape->frame];                                                                                   \
            }                                                                                                                   \
            sum += floor_shift(shift_left((int32_t)*place, shape->guard_bits), shape->decay);                                   \
            *place = (history_type)present;                                                                                     \
            current[i] = sum;                                                                                                   \
            channel = ((channel + 1u) == shape->channels) ? 0u : (channel + 1u);                                                \
        }                                                                                                                       \
    }

DEFINE_WINDOW(i16, int16_t)
DEFINE_WINDOW(i32, int32_t)

#define DEFINE_LIF(type, carried_type)                                                                                          \
    void ds2ta_lif_##type(const int32_t current[], uint32_t count, const ds2ta_lif_shape *shape, const int32_t threshold[],     \
                          carried_type carried[], int32_t membrane[], uint8_t spikes[])                                         \
    {                                                                                                                           \
        uint32_t channel = 0u;                                                                                                  \
        for (uint32_t i = 0u; i < count; i++) {                                                                                 \
            const int32_t voltage = (int32_t)carried[i] + current[i];                                                           \
            if (voltage >= threshold[channel]) {                                                                                \
                spikes[i] = 1u;                                                                                                 \
                carried[i] = 0;                                                                                                 \
            } else {                                                                                                            \
                spikes[i] = 0u;                                                                                                 \
                carried[i] = (carried_type)floor_shift(voltage * shape->leak_numerator, shape->leak_shift);                     \
            }                                                                                                                   \
            membrane[i] = voltage;                                                                                              \
            channel = ((channel + 1u) == shape->channels) ? 0u : (channel + 1u);                                                \
        }                                                                                                                       \
    }

DEFINE_LIF(i16, int16_t)
DEFINE_LIF(i32, int32_t)

#define DEFINE_ELEMENTWISE(type, value_type)                                                                                    \
    void ds2ta_add_##type(const value_type left[], const value_type right[], uint32_t count, value_type out[])                  \
    {                                                                                                                           \
        for (uint32_t i = 0u; i < count; i++) {                                                                                 \
            out[i] = (value_type)(left[i] + right[i]);                                                                          \
        }                                                                                                                       \
    }                                                                                                                           \
                                                                                                                                \
    void ds2ta_mul_##type(const value_type left[], const value_type right[], const ds2ta_mul_shape *shape, value_type out[])    \
    {                                                                                                                           \
        uint32_t place = 0u;                                                                                                    \
        for (uint32_t a = 0u; a < shape->sizes[0]; a++) {                                                                       \
            for (uint32_t b = 0u; b < shape->sizes[1]; b++) {                                                                   \
                const value_type *const l = &left[(a * shape->left[0]) + (b * shape->left[1])];                                 \
                const value_type *const r = &right[(a * shape->right[0]) + (b * shape->right[1])];                              \
                for (uint32_t c = 0u; c < shape->sizes[2]; c++) {                                                               \
                    out[place] = (value_type)(l[c * shape->left[2]] * r[c * shape->right[2]]);                                  \
                    place++;                                                                                                    \
                }                                                                                                               \
            }                                                                                                                   \
        }                                                                                                                       \
    }                                                                                                                           \
                                                                                                                                \
    void ds2ta_sum_##type(const value_type in[], uint32_t outer, uint32_t size, uint32_t inner, int32_t out[])                  \
    {                                                                                                                           \
        for (uint32_t o = 0u; o < outer; o++) {                                                                                 \
            for (uint32_t i = 0u; i < inner; i++) {                                                                             \
                int32_t sum = 0;                                                                                                \
                for (uint32_t a = 0u; a < size; a++) {                                                                          \
                    sum += (int32_t)in[(((o * size) + a) * inner) + i];                                                         \
                }                                                                                                               \
                out[(o * inner) + i] = sum;                                                                                     \
            }                                                                                                                   \
        }                                                                                                                       \
    }                                                                                                                           \
                                                                                                                                \
    static value_type largest_near_##type(const value_type in[], const ds2ta_pool_shape *shape, uint32_t row, uint32_t column)  \
    {                                                                                                                           \
        value_type largest = in[(row * shape->in_step[0]) + (column * shape->in_step[1])];                                      \
        const uint32_t first_row = (row == 0u) ? 0u : (row - 1u);                                                               \
        const uint32_t first_column = (column == 0u) ? 0u : (column - 1u);                                                      \
        for (uint32_t y = first_row; (y <= (row + 1u)) && (y < shape->rows); y++) {                                             \
            for (uint32_t x = first_column; (x <= (column + 1u)) && (x < shape->columns); x++) {                                \
                const value_type seen = in[(y * shape->in_step[0]) + (x * shape->in_step[1])];                                  \
                largest = (seen > largest) ? seen : largest;                                                                    \
            }                                                                                                                   \
        }                                                                                                                       \
        return largest;                                                                                                         \
    }                                                                                                                           \
                                                                                                                                \
    void ds2ta_max_pool_##type(const value_type in[], const ds2ta_pool_shape *shape, value_type out[])                          \
    {                                                                                                                           \
        for (uint32_t y = 0u; (y * shape->stride) < shape->rows; y++) {                                                         \
            for (uint32_t x = 0u; (x * shape->stride) < shape->columns; x++) {                                                  \
                value_type *const made = &out[(y * shape->out_step[0]) + (x * shape->out_step[1])];                             \
                for (uint32_t other = 0u; other < shape->others; other++) {                                                     \
                    made[other * shape->out_step[2]] =                                                                          \
                        largest_near_##type(&in[other * shape->in_step[2]], shape, y * shape->stride, x * shape->stride);       \
                }                                                                                                               \
            }                                                                                                                   \
        }                                                                                                                       \
    }

DEFINE_ELEMENTWISE(u8, uint8_t)
DEFINE_ELEMENTWISE(i32, int32_t)

#define DEFINE_MATMUL(types, left_type, right_type)                                                                             \
    void ds2ta_matmul_##types(const left_type left[], const right_type right[], const ds2ta_matmul_shape *shape, int32_t out[]) \
    {                                                                                                                           \
        clear(out, shape->heads * shape->columns);                                                                              \
        for (uint32_t h = 0u; h < shape->heads; h++) {                                                                          \
            int32_t *const sum = &out[h * shape->columns];                                                                      \
            for (uint32_t k = 0u; k < shape->terms; k++) {                                                                      \
                const int32_t x = (int32_t)left[(h * shape->left_head) + (k * shape->left_term)];                               \
                if (x != 0) {                                                                                                   \
                    const right_type *const row = &right[(h * shape->right_head) + (k * shape->right_term)];                    \
                    for (uint32_t m = 0u; m < shape->columns; m++) {                                                            \
                        sum[m] += x * (int32_t)row[m * shape->right_column];                                                    \
                    }                                                                                                           \
                }                                                                                                               \
            }                                                                                                                   \
        }                                                                                                                       \
    }

DEFINE_MATMUL(u8_u8, uint8_t, uint8_t)
DEFINE_MATMUL(u8_i32, uint8_t, int32_t)
DEFINE_MATMUL(i16_u8, int16_t, uint8_t)
DEFINE_MATMUL(i16_i32, int16_t, int32_t)
DEFINE_MATMUL(i32_u8, int32_t, uint8_t)
DEFINE_MATMUL(i32_i32, int32_t, int32_t)

void ds2ta_lookup(const int32_t scores[], uint32_t heads, uint32_t keys, const int16_t table[], uint32_t entries, int16_t out[])
{
    for (uint32_t h = 0u; h < heads; h++) {
        for (uint32_t k = 0u; k < keys; k++) {
            out[(h * keys) + k] = table[(h * entries) + (uint32_t)scores[(h * keys) + k]];
        }
    }
}

void ds2ta_time_mix(const int32_t in[], uint32_t count, const int16_t matrix[], uint32_t steps, uint32_t t, int32_t past[],
                    uint32_t frame, int32_t out[])
{
    const int16_t *const weight = &matrix[t * steps];
    for (uint32_t i = 0u; i < count; i++) {
        const int32_t present = in[i];
        int32_t sum = (int32_t)weight[t] * present;
        for (uint32_t s = 0u; s < t; s++) {
            sum += (int32_t)weight[s] * past[(s * frame) + i];
        }
        if ((t + 1u) < steps) {
            past[(t * frame) + i] = present;
        }
        out[i] = sum;
    }
}

void ds2ta_threshold(const int32_t in[], uint32_t count, int32_t threshold, uint8_t spikes[])
{
    for (uint32_t i = 0u; i < count; i++) {
        spikes[i] = (in[i] >= threshold) ? 1u : 0u;
    }
}

void ds2ta_readout(const uint8_t in[], uint32_t tokens, uint32_t inputs, const int8_t weight[], uint32_t classes, int32_t total[])
{
    for (uint32_t n = 0u; n < tokens; n++) {
        accumulate_u8_i8(&in[n * inputs], inputs, weight, classes, total);
    }
}

/*
 * With bias = q * trained + r and steps = a * trained + b, r and b not negative, only q * steps may need more than 32 bits:
 * q * steps + r * a + floor(r * b / trained + 1/2).
 */
int32_t ds2ta_bias_over(int32_t bias, uint32_t steps, uint32_t trained)
{
    const int32_t of = (int32_t)trained;
    const int32_t left = bias % of;
    const int32_t q = (bias / of) - ((left < 0) ? 1 : 0);
    const uint32_t r = (uint32_t)((left < 0) ? (left + of) : left);
    const uint32_t whole = r * (steps / trained);
    const uint32_t part = ((2u * r * (steps % trained)) + trained) / (2u * trained);
    return (int32_t)(((int64_t)q * (int64_t)steps) + (int64_t)whole + (int64_t)part);
}
