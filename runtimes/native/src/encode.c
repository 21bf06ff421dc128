/* The encoder: values of 16 bits, a convolution of weights of 16 bits, neurons.
 *
 * What is seen is written, once, into a WINDOW: a strip of as many of the picture's rows as the kernel has, with zeros for what lies
 * outside. It moves down the picture, where a dilated kernel skips rows one turn after the other. The values under the kernel that lie side
 * by side in it are a RUN: a row of the kernel, or a place of a dilated one. A pixel at a time step is a COLUMN; only where its runs begin
 * tells it from others, and columns are convolved several at once. */
#include "plan.h"

#include <string.h>

/* Columns whose sums are made at once, unless a single pixel has more, and bytes of a window, unless a few pixels take more. */
enum { MOST_COLUMNS = 32, WINDOW_BYTES = 4 << 10 };

static int times_of(const ds2ta_plan *plan, const ds2ta_node *node) { return node->op.still ? 1 : plan->steps; }

static int columns_of(const ds2ta_plan *plan, const ds2ta_node *node) {
    return (node->at_once * times_of(plan, node) + DS2TA_COLUMNS - 1) / DS2TA_COLUMNS * DS2TA_COLUMNS;
}

/* The last of an odd run's pairs reads a value behind it, and multiplies it with 0. */
size_t ds2ta_window_size(const ds2ta_plan *plan, const ds2ta_node *node) {
    return (size_t)times_of(plan, node) * (size_t)node->op.size * (size_t)node->window_row + 1;
}

size_t ds2ta_encoded_size(const ds2ta_plan *plan, const ds2ta_node *node) { return (size_t)columns_of(plan, node) * DS2TA_TILE; }

static size_t tile_size(const ds2ta_node *node) { return (size_t)node->pair_count * DS2TA_TILE * 2; }

/* Cuts the picture's rows into strips of about the same width. */
static void set_strip(const ds2ta_plan *plan, ds2ta_node *node) {
    int times = times_of(plan, node), edges = (node->op.size - 1) * node->op.dilation, width = plan->values[node->op.output].width;
    node->at_once = times < MOST_COLUMNS ? MOST_COLUMNS / times : 1;
    int strip = WINDOW_BYTES / (times * node->op.size * node->channels * (int)sizeof(int16_t)) - edges;
    strip = strip < node->at_once ? node->at_once : strip;
    int strips = (width + strip - 1) / strip;
    node->strip = (width + strips - 1) / strips;
    node->window_row = (node->strip + edges) * node->channels;
}

int64_t ds2ta_pack_encoder(const ds2ta_plan *plan, ds2ta_node *node) {
    const ds2ta_op *op = &node->op;
    int64_t bytes = 0;
    int places = op->dilation == 1 ? op->size : 1, length = places * op->in_channels, half = (length + 1) / 2; /* of a run, in pairs */
    set_strip(plan, node);
    node->pair_count = op->size * op->size / places * half;
    node->pairs = ds2ta_take(&bytes, (size_t)node->pair_count, sizeof *node->pairs);
    node->wide = ds2ta_take(&bytes, tile_size(node) * (size_t)node->tiles, sizeof *node->wide);
    if (bytes < 0) return -1;
    for (int i = 0; i < node->pair_count; i++) {
        int place = i / half * places;
        node->pairs[i] = place / op->size * node->window_row + place % op->size * op->dilation * op->in_channels + i % half * 2;
    }
    for (int o = 0; o < op->out_channels; o++)
        for (int row = 0; row < node->rows; row++) {
            size_t pair = (size_t)(row / length * half + row % length / 2);
            int16_t *to = node->wide + tile_size(node) * (size_t)(o / DS2TA_TILE) + (pair * DS2TA_TILE + (size_t)(o % DS2TA_TILE)) * 2;
            to[row % length % 2] = op->wide[(size_t)o * (size_t)node->rows + (size_t)row];
        }
    return bytes;
}

/* What is looked at: a strip that begins at column `left` of the picture. */
typedef struct {
    const ds2ta_plan *plan;
    const ds2ta_node *node;
    ds2ta_scratch *scratch;
    ds2ta_look look;
    const void *source;
    int sample, left;
} view;

/* Writes row y of the picture to a row of the window, for every time step. */
static void see_row(const view *v, int y, int row) {
    const ds2ta_node *node = v->node;
    const ds2ta_value *out = v->plan->values + node->op.output;
    int begin = v->left - node->op.size / 2 * node->op.dilation, end = begin + node->window_row / node->channels;
    int first = begin < 0 ? 0 : begin, last = end < out->width ? end : out->width;
    size_t channels = (size_t)node->channels, size = (size_t)node->window_row, picture = (size_t)ds2ta_tokens(out);
    for (int t = 0; t < times_of(v->plan, node); t++) {
        int16_t *to = v->scratch->window + ((size_t)t * (size_t)node->op.size + (size_t)row) * size;
        memset(to, 0, size * sizeof *to);
        if (y < 0 || y >= out->height) continue;
        size_t pixel = ((size_t)t * (size_t)v->plan->batch + (size_t)v->sample) * picture + (size_t)y * (size_t)out->width + (size_t)first;
        v->look(v->source, pixel * channels, (size_t)(last - first) * channels, to + (size_t)(first - begin) * channels);
    }
}

/* Moves the window down to row y: all of it is seen anew, or its last row. */
static void move_to(const view *v, int y, int anew) {
    int size = v->node->op.size;
    size_t row = (size_t)v->node->window_row, rows = (size_t)size;
    for (size_t t = 0; t < (size_t)times_of(v->plan, v->node) && !anew; t++) {
        int16_t *to = v->scratch->window + t * rows * row;
        memmove(to, to + row, (rows - 1) * row * sizeof *to);
    }
    for (int i = anew ? 0 : size - 1; i < size; i++) see_row(v, y + (i - size / 2) * v->node->op.dilation, i);
}

/* Pixels [first, first + count) of the window's row, `pixel` being the first one's number. */
static void encode_pixels(const view *v, int first, int count, int pixel) {
    const ds2ta_node *node = v->node;
    const int16_t *columns[DS2TA_MAX_STEPS];
    int times = times_of(v->plan, node), column_count = 0, stride = node->op.still ? 0 : DS2TA_TILE;
    for (int p = 0; p < count; p++)
        for (int t = 0; t < times; t++)
            columns[column_count++] = v->scratch->window + (size_t)(t * node->op.size) * (size_t)node->window_row + (first + p) * node->channels;
    while (column_count % DS2TA_COLUMNS) columns[column_count++] = v->scratch->window;
    for (int tile = 0; tile < node->tiles; tile++) {
        int channels = node->op.out_channels - tile * DS2TA_TILE;
        for (int k = 0; k < column_count; k += DS2TA_COLUMNS)
            v->plan->kernels->convolve(node->wide + tile_size(node) * (size_t)tile, node->pairs, node->pair_count, columns + k,
                                       channels < DS2TA_TILE ? channels : DS2TA_TILE, v->scratch->encoded + k * DS2TA_TILE);
        for (int p = 0; p < count; p++)
            ds2ta_fire(v->plan, node, v->scratch->encoded + p * times * DS2TA_TILE, stride, v->sample, pixel + p, tile);
    }
}

/* Every `dilation`th row of a strip from row `first` on, of pixels [low, high). */
static void encode_rows(const view *v, int first, int low, int high) {
    const ds2ta_node *node = v->node;
    int width = v->plan->values[node->op.output].width, strip = width - v->left < node->strip ? width - v->left : node->strip;
    for (int y = first; y * width < high; y += node->op.dilation) {
        int begin = y * width + v->left, end = begin + strip;
        move_to(v, y, y == first);
        for (int pixel = begin < low ? low : begin, count; pixel < end && pixel < high; pixel += count) {
            count = (end < high ? end : high) - pixel;
            count = count < node->at_once ? count : node->at_once;
            encode_pixels(v, pixel - begin, count, pixel);
        }
    }
}

void ds2ta_encode_seen(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, ds2ta_look look, const void *source, int sample,
                       int low, int high) {
    int width = plan->values[node->op.output].width;
    for (int left = 0; left < width; left += node->strip) {
        view v = {plan, node, scratch, look, source, sample, left};
        for (int turn = 0; turn < node->op.dilation; turn++) encode_rows(&v, low / width + turn, low, high);
    }
}

/* The picture, and the table of its pixels. */
typedef struct {
    const uint8_t *picture;
    const int16_t *table;
    size_t channels;
} pixels;

static void ask_table(const void *source, size_t first, size_t count, int16_t *to) {
    const pixels *seen = source;
    for (size_t c = 0; c < seen->channels; c++)
        for (size_t i = c; i < count; i += seen->channels) to[i] = seen->table[c * 256 + seen->picture[first + i]];
}

void ds2ta_encode(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    pixels seen = {plan->input, node->table, (size_t)node->channels};
    int16_t *trace = ds2ta_inner_trace(plan, node, DS2TA_TABLED);
    int picture = ds2ta_tokens(plan->values + node->op.output);
    for (int t = 0; trace && low < high && t < times_of(plan, node); t++) {
        size_t first = ds2ta_place(plan, t, sample, low, picture, node->channels);
        ask_table(&seen, first, (size_t)(high - low) * seen.channels, trace + first);
    }
    ds2ta_encode_seen(plan, node, scratch, ask_table, &seen, sample, low, high);
}
