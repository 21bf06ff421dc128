/* Lists of what fires: channels sorted by their pattern, for a linear layer's tokens and for the pixels under a kernel. */
#include "plan.h"

void ds2ta_list_linear(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int first, int count) {
    uint32_t position = 0;
    size_t list = 0;
    for (int n = 0; n < count; n++)
        for (int group = 0; group < plan->groups; group++)
            for (int plane = 0; plane < node->planes; plane++) {
                const uint8_t *patterns =
                    ds2ta_patterns(plan, node->op.inputs[0], plane, group) + (size_t)(first + n) * (size_t)node->stride_in;
                for (int chunk = 0; chunk < node->chunk_count; chunk++, list++) {
                    int from = node->chunks[chunk], to = node->chunks[chunk + 1];
                    uint32_t *start = scratch->start + list * DS2TA_PATTERNS;
                    scratch->at[list] = position;
                    plan->kernels->sort(patterns + from, to - from, from, node->rows, scratch->list + position, start);
                    position += start[DS2TA_CLASSES];
                }
            }
}

/* Number of the list of a pixel's group, plane and part. */
static size_t pixel_list(const ds2ta_plan *plan, const ds2ta_node *node, int pixel, int group, int plane, int part) {
    size_t place = ((size_t)pixel * (size_t)plan->groups + (size_t)group) * (size_t)node->planes + (size_t)plane;
    return place * (size_t)node->parts + (size_t)part;
}

static void list_pixel(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int pixel, uint32_t *position) {
    for (int group = 0; group < plan->groups; group++)
        for (int plane = 0; plane < node->planes; plane++)
            for (int part = 0; part < node->parts; part++) {
                size_t list = pixel_list(plan, node, pixel, group, plane, part);
                int from = part * DS2TA_PART, size = node->channels - from;
                if (node->parts > 1 && size > DS2TA_PART) size = DS2TA_PART;
                const uint8_t *patterns = ds2ta_patterns(plan, node->op.inputs[0], plane, group) + (size_t)pixel * (size_t)node->stride_in;
                uint32_t *start = scratch->pixel_start + list * DS2TA_PATTERNS;
                scratch->pixel_at[list] = *position;
                plan->kernels->sort(patterns + from, size, from, -1, scratch->pixels + *position, start);
                *position += start[DS2TA_CLASSES];
            }
}

void ds2ta_list_pixels(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int low, int high) {
    const ds2ta_value *value = plan->values + node->op.inputs[0];
    int half = node->op.size / 2 * node->op.dilation, top = low / value->width - half, bottom = (high - 1) / value->width + half + 1;
    top = top < 0 ? 0 : top;
    bottom = bottom > value->height ? value->height : bottom;
    uint32_t position = 0;
    for (int pixel = top * value->width; pixel < bottom * value->width; pixel++) list_pixel(plan, node, scratch, pixel, &position);
}

/* Joins the lists of the pixels under the kernel, for one group, plane and chunk. */
static uint32_t join_pixels(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int pixel, int group, int plane, int chunk,
                            uint32_t position, size_t list) {
    const ds2ta_value *value = plan->values + node->op.inputs[0];
    ds2ta_part parts[64];
    int count = 0, half = node->op.size / 2;
    for (int unit = node->chunks[chunk]; unit < node->chunks[chunk + 1]; unit++) {
        int place = unit / node->parts, part = unit % node->parts;
        int y = pixel / value->width + (place / node->op.size - half) * node->op.dilation;
        int x = pixel % value->width + (place % node->op.size - half) * node->op.dilation;
        if (y < 0 || y >= value->height || x < 0 || x >= value->width) continue;
        size_t source = pixel_list(plan, node, y * value->width + x, group, plane, part);
        parts[count++] = (ds2ta_part){scratch->pixels + scratch->pixel_at[source], scratch->pixel_start + source * DS2TA_PATTERNS,
                                      (uint16_t)(place * node->channels)};
    }
    scratch->at[list] = position;
    return position + plan->kernels->join(parts, count, node->rows, scratch->list + position, scratch->start + list * DS2TA_PATTERNS);
}

void ds2ta_list_conv(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int first, int count) {
    uint32_t position = 0;
    size_t list = 0;
    for (int n = 0; n < count; n++)
        for (int group = 0; group < plan->groups; group++)
            for (int plane = 0; plane < node->planes; plane++)
                for (int chunk = 0; chunk < node->chunk_count; chunk++, list++)
                    position = join_pixels(plan, node, scratch, first + n, group, plane, chunk, position, list);
}
