/* Encoder, linear layer and convolution: lists of what fires, rows of weights, neurons. */
#include "plan.h"

#include <string.h>

enum { START = DS2TA_PATTERNS + 1 };

ds2ta_neuron ds2ta_neuron_of(const ds2ta_plan *plan, const ds2ta_node *node) {
    const ds2ta_op *op = &node->op;
    return (ds2ta_neuron){plan->steps, op->taps, op->decay, op->guard_bits, op->leak_numerator, op->leak_shift};
}

void ds2ta_fire(const ds2ta_plan *plan, const ds2ta_node *node, const int32_t *product, int stride, int sample, int token, int tile) {
    ds2ta_neuron neuron = ds2ta_neuron_of(plan, node);
    size_t column = (size_t)tile * DS2TA_TILE;
    const ds2ta_value *value = plan->values + node->op.output;
    if (!value->planes) {
        ds2ta_store(plan, node, product, stride, sample, token, tile);
        return;
    }
    size_t group_stride = (size_t)ds2ta_tokens(value) * (size_t)node->stride_out;
    uint8_t *out = ds2ta_patterns(plan, node->op.output, 0, 0) + (size_t)token * (size_t)node->stride_out + column;
    plan->kernels->fire(&neuron, product, stride, node->bias + column, node->threshold + column, out, group_stride);
    if (ds2ta_fires_traced(plan, node)) ds2ta_trace_fire(plan, node, &neuron, product, stride, sample, token, tile);
}

/* Adds the rows of one token's lists, tile by tile, and fires. `turns` lists a token: groups, planes, chunks. */
static void add_rows(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int first, int count) {
    int turns = plan->groups * node->planes * node->chunk_count;
    for (int tile = 0; tile < node->tiles; tile++) {
        const int8_t *weight = node->packed + (size_t)tile * (size_t)node->rows * DS2TA_TILE;
        for (int n = 0; n < count; n++) {
            memset(scratch->product, 0, (size_t)plan->groups * DS2TA_GROUP * DS2TA_TILE * sizeof(int32_t));
            for (int turn = 0; turn < turns; turn++) {
                int plane = turn / node->chunk_count % node->planes, group = turn / node->chunk_count / node->planes;
                size_t list = (size_t)n * (size_t)turns + (size_t)turn;
                plan->kernels->rows(weight, node->together[tile], scratch->list + scratch->at[list], scratch->start + list * START, plane,
                                    scratch->product + (size_t)group * DS2TA_GROUP * DS2TA_TILE);
            }
            ds2ta_fire(plan, node, scratch->product, DS2TA_TILE, sample, first + n, tile);
        }
    }
}

void ds2ta_linear(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    for (int first = low; first < high; first += node->block) {
        int count = high - first < node->block ? high - first : node->block;
        uint32_t position = 0;
        size_t list = 0;
        for (int n = 0; n < count; n++)
            for (int group = 0; group < plan->groups; group++)
                for (int plane = 0; plane < node->planes; plane++) {
                    const uint8_t *patterns =
                        ds2ta_patterns(plan, node->op.inputs[0], plane, group) + (size_t)(first + n) * (size_t)node->stride_in;
                    for (int chunk = 0; chunk < node->chunk_count; chunk++, list++) {
                        int from = node->chunks[chunk], to = node->chunks[chunk + 1];
                        scratch->at[list] = position;
                        plan->kernels->sort(patterns + from, to - from, from, scratch->list + position, scratch->start + list * START);
                        position += scratch->start[list * START + DS2TA_PATTERNS];
                    }
                }
        add_rows(plan, node, scratch, sample, first, count);
    }
}

/* Sorts every pixel of picture rows [top, bottom): groups, planes and parts of channels each. */
static void sort_pixels(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int top, int bottom) {
    int width = plan->values[node->op.inputs[0]].width;
    uint32_t position = 0;
    for (int pixel = top * width; pixel < bottom * width; pixel++)
        for (int group = 0; group < plan->groups; group++)
            for (int plane = 0; plane < node->planes; plane++)
                for (int part = 0; part < node->parts; part++) {
                    size_t list = (((size_t)pixel * (size_t)plan->groups + (size_t)group) * (size_t)node->planes + (size_t)plane) *
                                      (size_t)node->parts +
                                  (size_t)part;
                    int from = part * DS2TA_PART, left = node->channels - from;
                    if (node->parts == 1) from = 0, left = node->channels;
                    const uint8_t *patterns = ds2ta_patterns(plan, node->op.inputs[0], plane, group) + (size_t)pixel * (size_t)node->stride_in;
                    scratch->pixel_at[list] = position;
                    plan->kernels->sort(patterns + from, node->parts > 1 && left > DS2TA_PART ? DS2TA_PART : left, from,
                                        scratch->pixels + position, scratch->pixel_start + list * START);
                    position += scratch->pixel_start[list * START + DS2TA_PATTERNS];
                }
}

/* Joins the lists of the pixels under the kernel, for one group, plane and chunk. */
static uint32_t join_pixels(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int pixel, int group, int plane, int chunk,
                            uint32_t position, size_t list) {
    const ds2ta_value *value = plan->values + node->op.inputs[0];
    ds2ta_part parts[64];
    int count = 0, half = node->op.size / 2;
    uint32_t length = 0;
    for (int unit = node->chunks[chunk]; unit < node->chunks[chunk + 1]; unit++) {
        int place = unit / node->parts, part = unit % node->parts;
        int y = pixel / value->width + (place / node->op.size - half) * node->op.dilation;
        int x = pixel % value->width + (place % node->op.size - half) * node->op.dilation;
        if (y < 0 || y >= value->height || x < 0 || x >= value->width) continue;
        size_t source = (((size_t)(y * value->width + x) * (size_t)plan->groups + (size_t)group) * (size_t)node->planes + (size_t)plane) *
                            (size_t)node->parts +
                        (size_t)part;
        parts[count++] = (ds2ta_part){scratch->pixels + scratch->pixel_at[source], scratch->pixel_start + source * START,
                                      (uint16_t)(place * node->channels)};
    }
    length = plan->kernels->join(parts, count, scratch->list + position, scratch->start + list * START);
    scratch->at[list] = position;
    return position + length;
}

void ds2ta_convolve(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    const ds2ta_value *value = plan->values + node->op.inputs[0];
    int half = node->op.size / 2 * node->op.dilation;
    if (low >= high) return;
    int top = low / value->width - half, bottom = (high - 1) / value->width + half + 1;
    sort_pixels(plan, node, scratch, top < 0 ? 0 : top, bottom > value->height ? value->height : bottom);
    for (int first = low; first < high; first += node->block) {
        int count = high - first < node->block ? high - first : node->block;
        uint32_t position = 0;
        size_t list = 0;
        for (int n = 0; n < count; n++)
            for (int group = 0; group < plan->groups; group++)
                for (int plane = 0; plane < node->planes; plane++)
                    for (int chunk = 0; chunk < node->chunk_count; chunk++, list++)
                        position = join_pixels(plan, node, scratch, first + n, group, plane, chunk, position, list);
        add_rows(plan, node, scratch, sample, first, count);
    }
}

/* The table's value of an input pixel; 0 outside the picture. */
static int32_t tabled(const ds2ta_node *node, const uint8_t *picture, int height, int width, int y, int x, int channel) {
    if (y < 0 || y >= height || x < 0 || x >= width) return 0;
    return node->table[channel * 256 + picture[((size_t)y * (size_t)width + (size_t)x) * (size_t)node->channels + (size_t)channel]];
}

void ds2ta_encode(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    const ds2ta_value *out = plan->values + node->op.output;
    int height = out->height, width = out->width, half = node->op.size / 2, times = node->op.still ? 1 : plan->steps;
    size_t picture_size = (size_t)height * (size_t)width * (size_t)node->channels;
    int16_t *trace = ds2ta_inner_trace(plan, node, DS2TA_TABLED);
    for (int pixel = low; pixel < high; pixel++)
        for (int tile = 0; tile < node->tiles; tile++) {
            memset(scratch->product, 0, (size_t)times * DS2TA_TILE * sizeof(int32_t));
            for (int t = 0; t < times; t++) {
                const uint8_t *picture = plan->input + ((size_t)t * (size_t)plan->batch + (size_t)sample) * picture_size;
                for (int place = 0; place < node->op.size * node->op.size; place++)
                    for (int c = 0; c < node->channels; c++) {
                        int y = pixel / width + (place / node->op.size - half) * node->op.dilation;
                        int x = pixel % width + (place % node->op.size - half) * node->op.dilation;
                        int32_t seen = tabled(node, picture, height, width, y, x, c);
                        size_t row = (size_t)tile * (size_t)node->rows + (size_t)(place * node->channels + c);
                        if (seen) plan->kernels->scale_row(node->wide + row * DS2TA_TILE, seen, scratch->product + t * DS2TA_TILE);
                    }
                for (int c = 0; trace && tile == 0 && c < node->channels; c++)
                    trace[((size_t)t * (size_t)plan->batch + (size_t)sample) * picture_size + (size_t)pixel * (size_t)node->channels +
                          (size_t)c] = (int16_t)tabled(node, picture, height, width, pixel / width, pixel % width, c);
            }
            ds2ta_fire(plan, node, scratch->product, node->op.still ? 0 : DS2TA_TILE, sample, pixel, tile);
        }
}
