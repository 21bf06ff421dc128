/* Lists of what fires: channels sorted by their pattern, for a linear layer's tokens and for the pixels under a kernel. */
#include "plan.h"

#include <string.h>

/* Lists a token's counts of up to 3 as what they are: channels of the first plane once, those of the second twice. Returns where the list
 * ends, or where it begins when there are too many in the second plane for that to be shorter than two lists. */
static uint32_t merge_planes(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, const uint8_t *const planes[2],
                             uint32_t position, uint32_t *start) {
    size_t twice = plan->kernels->listed(planes[1], (size_t)node->channels);
    if (!twice || twice > (size_t)node->rows / 8) return position;
    ds2ta_part parts[3];
    uint32_t at = 0;
    for (int plane = 0; plane < 2; plane++) {
        uint32_t *own = scratch->stack_start + plane * DS2TA_PATTERNS;
        plan->kernels->sort(planes[plane], node->channels, 0, -1, scratch->stacks + at, own);
        parts[plane] = (ds2ta_part){scratch->stacks + at, own, 0};
        at += own[DS2TA_CLASSES];
    }
    parts[2] = parts[1];
    return position + plan->kernels->join(parts, 3, node->rows, scratch->list + position, start);
}

/* Sorts the chunks of one plane. */
static uint32_t list_plane(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, const uint8_t *patterns, uint32_t position,
                           size_t list) {
    for (int chunk = 0; chunk < node->chunk_count; chunk++, list++) {
        int from = node->chunks[chunk], to = node->chunks[chunk + 1];
        uint32_t *start = scratch->start + list * DS2TA_PATTERNS;
        scratch->at[list] = position;
        plan->kernels->sort(patterns + from, to - from, from, node->rows, scratch->list + position, start);
        position += start[DS2TA_CLASSES];
    }
    return position;
}

void ds2ta_list_linear(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int first, int count) {
    uint32_t position = 0;
    size_t list = 0, chunks = (size_t)node->chunk_count;
    for (int token = first; token < first + count; token++)
        for (int group = 0; group < plan->groups; group++) {
            const uint8_t *planes[DS2TA_MAX_PLANES];
            int plane = 0;
            for (int i = 0; i < node->planes; i++)
                planes[i] = ds2ta_patterns(plan, node->op.inputs[0], i, group) + (size_t)token * (size_t)node->stride_in;
            if (node->merges) {
                uint32_t *start = scratch->start + list * DS2TA_PATTERNS, end = merge_planes(plan, node, scratch, planes, position, start);
                if (end > position) {
                    scratch->at[list] = scratch->at[list + 1] = position;
                    memset(start + DS2TA_PATTERNS, 0, DS2TA_PATTERNS * sizeof *start);
                    position = end, plane = 2, list += 2;
                }
            }
            for (; plane < node->planes; plane++, list += chunks) position = list_plane(plan, node, scratch, planes[plane], position, list);
        }
}

/* Number of the list of a stack's group, plane and part. */
static size_t stack_list(const ds2ta_plan *plan, const ds2ta_node *node, int x, int group, int plane, int part) {
    size_t place = ((size_t)x * (size_t)plan->groups + (size_t)group) * (size_t)node->planes + (size_t)plane;
    return place * (size_t)node->parts + (size_t)part;
}

/* Puts the patterns of a stack one behind the other; nothing fires outside the picture. */
static void stack_up(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int y, int x, int group, int plane) {
    const ds2ta_value *value = plan->values + node->op.inputs[0];
    const uint8_t *patterns = ds2ta_patterns(plan, node->op.inputs[0], plane, group);
    for (int down = 0; down < node->op.size; down++) {
        int row = y + ds2ta_down(&node->op, down);
        uint8_t *to = scratch->stacked + (size_t)down * (size_t)node->channels;
        if (row < 0 || row >= value->height)
            memset(to, 0, (size_t)node->channels);
        else
            memcpy(to, patterns + ((size_t)row * (size_t)value->width + (size_t)x) * (size_t)node->stride_in, (size_t)node->channels);
    }
}

/* Lists the stacks of output row y. */
static void list_stacks(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int y) {
    const ds2ta_value *value = plan->values + node->op.inputs[0];
    int rows = node->op.size * node->channels;
    uint32_t position = 0;
    for (int x = 0; x < value->width; x++)
        for (int group = 0; group < plan->groups; group++)
            for (int plane = 0; plane < node->planes; plane++) {
                stack_up(plan, node, scratch, y, x, group, plane);
                for (int part = 0; part < node->parts; part++) {
                    size_t list = stack_list(plan, node, x, group, plane, part);
                    int from = part * node->part_size, size = rows - from < node->part_size ? rows - from : node->part_size;
                    uint32_t *start = scratch->stack_start + list * DS2TA_PATTERNS;
                    scratch->stack_at[list] = position;
                    plan->kernels->sort(scratch->stacked + from, size, from, -1, scratch->stacks + position, start);
                    position += start[DS2TA_CLASSES];
                }
            }
    scratch->stack_row = y;
}

/* Joins the lists of the stacks under the kernel, for one group, plane and chunk. */
static uint32_t join_stacks(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int x, int group, int plane, int chunk,
                            uint32_t position, size_t list) {
    ds2ta_part parts[DS2TA_MOST_PARTS];
    int count = 0, width = plan->values[node->op.inputs[0]].width;
    for (int unit = node->chunks[chunk]; unit < node->chunks[chunk + 1]; unit++) {
        int column = unit / node->parts, at = x + ds2ta_across(&node->op, column * node->op.size);
        if (at < 0 || at >= width) continue;
        size_t source = stack_list(plan, node, at, group, plane, unit % node->parts);
        parts[count++] = (ds2ta_part){scratch->stacks + scratch->stack_at[source], scratch->stack_start + source * DS2TA_PATTERNS,
                                      (uint16_t)(column * node->op.size * node->channels)};
    }
    scratch->at[list] = position;
    return position + plan->kernels->join(parts, count, node->rows, scratch->list + position, scratch->start + list * DS2TA_PATTERNS);
}

/* Pixels above each other, as a column of the kernel covers them, are a stack. It is sorted once for all columns that meet it. */
void ds2ta_list_conv(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int first, int count) {
    int width = plan->values[node->op.inputs[0]].width;
    uint32_t position = 0;
    size_t list = 0;
    for (int pixel = first; pixel < first + count; pixel++) {
        if (pixel / width != scratch->stack_row) list_stacks(plan, node, scratch, pixel / width);
        for (int group = 0; group < plan->groups; group++)
            for (int plane = 0; plane < node->planes; plane++)
                for (int chunk = 0; chunk < node->chunk_count; chunk++, list++)
                    position = join_stacks(plan, node, scratch, pixel % width, group, plane, chunk, position, list);
    }
}
