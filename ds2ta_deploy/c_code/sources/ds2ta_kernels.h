/*
 * The kernels of an integer spiking network: one function an op, written to be read as the op's definition.
 *
 * C99, no library, no heap, no recursion, no state of their own. Values are dense arrays, the channel fastest; a picture is
 * [height][width][channels], tokens are [token][channels], heads are [token][head][channels]. "Row" is what one call of a
 * row kernel makes: a token, a row of a picture, or a token of every head.
 *
 * No sum here can overflow: every bound was proven for all inputs when the network was exported.
 */
#ifndef DS2TA_KERNELS_H
#define DS2TA_KERNELS_H

#include <stdint.h>

/* out[i] = table[channel of i][in[i]]: a pixel or an event count as the network's first layer wants it. */
void ds2ta_table(const uint8_t in[], uint32_t count, const int16_t table[], uint32_t channels, int16_t out[]);

/*
 * product[o] = sum over i of weight[i][o] * in[i], for one token. Inputs that are zero cost nothing.
 * In the names here and below: the type of the inputs, then that of the weights.
 */
void ds2ta_linear_u8_i8(const uint8_t in[], uint32_t inputs, const int8_t weight[], uint32_t outputs, int32_t product[]);
void ds2ta_linear_u8_i16(const uint8_t in[], uint32_t inputs, const int16_t weight[], uint32_t outputs, int32_t product[]);
void ds2ta_linear_i16_i8(const int16_t in[], uint32_t inputs, const int8_t weight[], uint32_t outputs, int32_t product[]);
void ds2ta_linear_i16_i16(const int16_t in[], uint32_t inputs, const int16_t weight[], uint32_t outputs, int32_t product[]);

/* Shape of a convolution of stride 1 whose zero padding keeps the picture's size. */
typedef struct {
    uint32_t height;   /* of the picture */
    uint32_t width;    /* of the picture */
    uint32_t inputs;   /* channels in */
    uint32_t outputs;  /* channels out */
    uint32_t size;     /* k, of the k x k kernel; odd */
    uint32_t dilation; /* distance of neighbouring taps in pixels */
} ds2ta_conv2d_shape;

/* One row of product[y][x][o] = sum over i, j, c of weight[i][j][c][o] * in[y + r (i - k/2)][x + r (j - k/2)][c]. */
void ds2ta_conv2d_u8_i8(const uint8_t in[], const ds2ta_conv2d_shape *shape, const int8_t weight[], uint32_t y, int32_t product[]);
void ds2ta_conv2d_u8_i16(const uint8_t in[], const ds2ta_conv2d_shape *shape, const int16_t weight[], uint32_t y, int32_t product[]);
void ds2ta_conv2d_i16_i8(const int16_t in[], const ds2ta_conv2d_shape *shape, const int8_t weight[], uint32_t y, int32_t product[]);
void ds2ta_conv2d_i16_i16(const int16_t in[], const ds2ta_conv2d_shape *shape, const int16_t weight[], uint32_t y, int32_t product[]);

/* current[i] = (product[i] + bias[channel of i]) * 2^guard_bits; current may be product. */
void ds2ta_bias(const int32_t product[], uint32_t count, const int32_t bias[], uint32_t channels, uint32_t guard_bits, int32_t current[]);

/* A temporal window (TASA). */
typedef struct {
    uint32_t channels;
    uint32_t taps;       /* steps it reaches over, the present one included */
    uint32_t decay;      /* a product of m steps ago is shifted right by decay * m, flooring */
    uint32_t guard_bits; /* everything is shifted left by so much first */
    uint32_t frame;      /* elements of the whole layer: from one step to the next in the history */
} ds2ta_window_shape;

/*
 * current[t][i] = sum over m < taps of floor(product[t - m][i] * 2^guard_bits / 2^(decay m)) + bias * 2^guard_bits.
 * `history` holds the last taps - 1 steps' products, the oldest first, zeros where there was no step yet, each `frame` elements
 * behind the one before; it moves on by a step. current may be product. In the name: the type of the history.
 */
void ds2ta_window_i16(const int32_t product[], uint32_t count, const ds2ta_window_shape *shape, const int32_t bias[],
                      int16_t history[], int32_t current[]);
void ds2ta_window_i32(const int32_t product[], uint32_t count, const ds2ta_window_shape *shape, const int32_t bias[],
                      int32_t history[], int32_t current[]);

/* A leaky integrate-and-fire neuron's leak: a membrane keeps leak_numerator / 2^leak_shift of itself, floored. */
typedef struct {
    uint32_t channels;
    int32_t leak_numerator;
    uint32_t leak_shift;
} ds2ta_lif_shape;

/*
 * membrane = carried + current; spike = membrane >= threshold; carried = leak(0 if it fired, else membrane).
 * `membrane` receives the membrane before the reset; it may be current. In the name: the type of what is carried.
 */
void ds2ta_lif_i16(const int32_t current[], uint32_t count, const ds2ta_lif_shape *shape, const int32_t threshold[], int16_t carried[],
                   int32_t membrane[], uint8_t spikes[]);
void ds2ta_lif_i32(const int32_t current[], uint32_t count, const ds2ta_lif_shape *shape, const int32_t threshold[], int32_t carried[],
                   int32_t membrane[], uint8_t spikes[]);

/* out[i] = left[i] + right[i]; out may be either. */
void ds2ta_add_u8(const uint8_t left[], const uint8_t right[], uint32_t count, uint8_t out[]);
void ds2ta_add_i32(const int32_t left[], const int32_t right[], uint32_t count, int32_t out[]);

/* A product of which each side may lack an axis: the distance of neighbours there is 0, and one element goes with all. */
typedef struct {
    uint32_t sizes[3];
    uint32_t left[3];
    uint32_t right[3];
} ds2ta_mul_shape;

/* out[a][b][c] = left[..] * right[..]; out may be a side that lacks no axis. */
void ds2ta_mul_u8(const uint8_t left[], const uint8_t right[], const ds2ta_mul_shape *shape, uint8_t out[]);
void ds2ta_mul_i32(const int32_t left[], const int32_t right[], const ds2ta_mul_shape *shape, int32_t out[]);

/* out[o][i] = sum over a of in[o][a][i]. */
void ds2ta_sum_u8(const uint8_t in[], uint32_t outer, uint32_t size, uint32_t inner, int32_t out[]);
void ds2ta_sum_i32(const int32_t in[], uint32_t outer, uint32_t size, uint32_t inner, int32_t out[]);

/* A maximum over 3 x 3 neighbours; sizes are those of the input, steps the distances of neighbours in memory. */
typedef struct {
    uint32_t stride;
    uint32_t rows;
    uint32_t columns;
    uint32_t others;
    uint32_t in_step[3];  /* from row to row, from column to column, along the other axis */
    uint32_t out_step[3];
} ds2ta_pool_shape;

/* out[y][x] = max over i, j in -1..1 of in[stride y + i][stride x + j], places outside left out; of spikes that is OR. */
void ds2ta_max_pool_u8(const uint8_t in[], const ds2ta_pool_shape *shape, uint8_t out[]);
void ds2ta_max_pool_i32(const int32_t in[], const ds2ta_pool_shape *shape, int32_t out[]);

/* One row of a product of two activations, for every head; steps are distances of neighbours in memory. */
typedef struct {
    uint32_t heads;
    uint32_t terms;
    uint32_t columns;
    uint32_t left_head;
    uint32_t left_term;
    uint32_t right_head;
    uint32_t right_term;
    uint32_t right_column;
} ds2ta_matmul_shape;

/* out[h][m] = sum over k of left[h][k] * right[h][k][m]. Zeros on the left cost nothing. */
void ds2ta_matmul_u8_u8(const uint8_t left[], const uint8_t right[], const ds2ta_matmul_shape *shape, int32_t out[]);
void ds2ta_matmul_u8_i32(const uint8_t left[], const int32_t right[], const ds2ta_matmul_shape *shape, int32_t out[]);
void ds2ta_matmul_i16_u8(const int16_t left[], const uint8_t right[], const ds2ta_matmul_shape *shape, int32_t out[]);
void ds2ta_matmul_i16_i32(const int16_t left[], const int32_t right[], const ds2ta_matmul_shape *shape, int32_t out[]);
void ds2ta_matmul_i32_u8(const int32_t left[], const uint8_t right[], const ds2ta_matmul_shape *shape, int32_t out[]);
void ds2ta_matmul_i32_i32(const int32_t left[], const int32_t right[], const ds2ta_matmul_shape *shape, int32_t out[]);

/* out[h][k] = table[h][scores[h][k]] for one token; that no score leaves the table was proven. */
void ds2ta_lookup(const int32_t scores[], uint32_t heads, uint32_t keys, const int16_t table[], uint32_t entries, int16_t out[]);

/*
 * out[t][i] = sum over s <= t of matrix[t][s] * in[s][i]; `past` holds all earlier steps, the first in front, `frame` elements
 * apart; out may be in.
 */
void ds2ta_time_mix(const int32_t in[], uint32_t count, const int16_t matrix[], uint32_t steps, uint32_t t, int32_t past[],
                    uint32_t frame, int32_t out[]);

/* spikes[i] = in[i] >= threshold. */
void ds2ta_threshold(const int32_t in[], uint32_t count, int32_t threshold, uint8_t spikes[]);

/* total[c] += sum over tokens n and inputs i of weight[i][c] * in[n][i]. */
void ds2ta_readout(const uint8_t in[], uint32_t tokens, uint32_t inputs, const int8_t weight[], uint32_t classes, int32_t total[]);

/*
 * A bias that was made for a sum over `trained` steps, at most 32768, for a sum over any number of them:
 * floor(bias * steps / trained + 1/2). That the result fits was proven.
 */
int32_t ds2ta_bias_over(int32_t bias, uint32_t steps, uint32_t trained);

#endif
