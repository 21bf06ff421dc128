/* Lists of what fires: channels sorted by their pattern, for a linear layer's tokens and for the pixels under a kernel. */
#include "plan.h"

#include <string.h>

/* How many planes of a token, from the first of these on, become one list: those in which so little fires that listing it more than once
 * costs less than a list of its own. Says as well whether anything fires behind the first. */
static int planes_together(const ds2ta_plan *plan, const ds2ta_node *node, const uint8_t *const *planes, int count, int *more) {
    int together = 1;
    *more = 0;
    if (!node->most_listed) return together;
    size_t rows = plan->kernels->listed(planes[0], (size_t)node->channels);
    for (; together < count; together++) {
        size_t found = plan->kernels->listed(planes[together], (size_t)node->channels);
        rows += found << together;
        if (!ds2ta_joins(plan, node, (int64_t)found, together) || rows > (size_t)node->most_listed) break;
        *more |= found > 0;
    }
    return together;
}

/* Lists channels of several planes at once: those of the first plane once, of the next one twice, then four times. */
static uint32_t join_planes(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, const uint8_t *const *planes, int count,
                            uint32_t position, size_t list) {
    ds2ta_part parts[1 << DS2TA_MOST_JOINED];
    uint32_t at = 0;
    int part_count = 0;
    for (int plane = 0; plane < count; plane++) {
        uint32_t *own = scratch->stack_start + plane * DS2TA_PATTERNS;
        plan->kernels->sort(planes[plane], node->channels, 0, -1, scratch->stacks + at, own);
        scratch->longest[list + (size_t)plane] = ds2ta_longest_step(own);
        for (int times = 0; own[DS2TA_CLASSES] && times < 1 << plane; times++) parts[part_count++] = (ds2ta_part){scratch->stacks + at, own, 0};
        at += own[DS2TA_CLASSES];
    }
    scratch->at[list] = position;
    return position + plan->kernels->join(parts, part_count, node->rows, scratch->list + position, scratch->start + list * DS2TA_PATTERNS);
}

static void list_nothing(ds2ta_scratch *scratch, size_t list) {
    scratch->at[list] = 0, scratch->longest[list] = 0;
    memset(scratch->start + list * DS2TA_PATTERNS, 0, DS2TA_PATTERNS * sizeof *scratch->start);
}

/* Higher planes list few rows, and more that fill classes up: those are no rows of a step. */
static void leave_out_fillers(const ds2ta_plan *plan, ds2ta_scratch *scratch, const uint8_t *patterns, int channels, size_t list) {
    size_t found = plan->kernels->listed(patterns, (size_t)channels);
    if (found < scratch->longest[list]) scratch->longest[list] = (uint32_t)found;
}

/* Sorts the chunks of one plane. */
static uint32_t list_plane(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, const uint8_t *patterns, uint32_t position,
                           size_t list) {
    for (int chunk = 0; chunk < node->chunk_count; chunk++, list++) {
        int from = node->chunks[chunk], to = node->chunks[chunk + 1];
        uint32_t *start = scratch->start + list * DS2TA_PATTERNS;
        scratch->at[list] = position;
        plan->kernels->sort(patterns + from, to - from, from, node->rows, scratch->list + position, start);
        scratch->longest[list] = ds2ta_longest_step(start);
        if (node->planes > 1) leave_out_fillers(plan, scratch, patterns + from, to - from, list);
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
            for (int i = 0; i < node->planes; i++)
                planes[i] = ds2ta_patterns(plan, node->op.inputs[0], i, group) + (size_t)token * (size_t)node->stride_in;
            for (int plane = 0, together, more; plane < node->planes; plane += together) {
                together = planes_together(plan, node, planes + plane, node->planes - plane, &more);
                for (int i = 1; i < together; i++) list_nothing(scratch, list + (size_t)i * chunks);
                if (more)
                    position = join_planes(plan, node, scratch, planes + plane, together, position, list);
                else
                    position = list_plane(plan, node, scratch, planes[plane], position, list);
                list += (size_t)together * chunks;
            }
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
    uint32_t *start = scratch->start + list * DS2TA_PATTERNS;
    position += plan->kernels->join(parts, count, node->rows, scratch->list + position, start);
    scratch->longest[list] = ds2ta_longest_step(start);
    return position;
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
