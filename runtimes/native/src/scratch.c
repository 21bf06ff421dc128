/* Makes what a thread works in: as much as the largest operation of the plan needs. */
#include "plan.h"

#include <stdlib.h>

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* Zeroed memory aligned to a register, counted, and given back with the others. It is calloc's: what a network never fills, of lists of
 * all channels for example, takes no page of memory. */
static void *piece(ds2ta_scratch *s, int64_t *bytes, size_t count, size_t size) {
    size_t wanted = (count * size + 63) / 64 * 64 + 64;
    uint8_t *memory = *bytes < 0 || s->piece_count == DS2TA_PIECES ? NULL : calloc(wanted + 64, 1);
    if (!memory) {
        *bytes = -1;
        return NULL;
    }
    s->pieces[s->piece_count++] = memory;
    *bytes += (int64_t)wanted;
    return memory + (64 - (uintptr_t)memory % 64) % 64;
}

int64_t ds2ta_make_scratch(const ds2ta_plan *plan, ds2ta_scratch *s) {
    int64_t bytes = 0;
    size_t indices = 0, chosen = 0, tables = 0, turned = 0, counts = 0, quads = 0, window = 0, encoded = 0, filled = DS2TA_CLASSES * (DS2TA_FILL - 1);
    size_t list = 0, lists = 0, block = 0, stacked = 0, stacks = 0, stack_lists = 0, tokens = 0, context = 0, keys = 0, spread = 0, groups = (size_t)plan->groups;
    for (int i = 0; i < plan->node_count; i++) {
        const ds2ta_node *node = plan->nodes + i;
        size_t turns = groups * (size_t)node->planes;
        if (node->packed) {
            list = larger(list, (size_t)node->block * turns * ((size_t)node->rows + (size_t)node->chunk_count * filled));
            block = larger(block, (size_t)node->block);
            lists = larger(lists, (size_t)node->block * turns * (size_t)node->chunk_count);
            counts = larger(counts, ((size_t)node->dense_block * (size_t)ds2ta_counted(plan) + DS2TA_GROUP) * ds2ta_count_stride(node));
            quads = larger(quads, (size_t)(node->quads + 4) * 4 * DS2TA_TILE);
        }
        if (node->set_pairs && plan->kernels->subsets) {
            size_t spans = (size_t)node->subset_block / DS2TA_SPAN * groups;
            indices = larger(indices, spans * (size_t)node->planes * (size_t)node->set_pairs * DS2TA_PAIR * DS2TA_SET_BYTES);
            size_t twice = node->op.kind == DS2TA_LINEAR ? 2 : 1; /* all rows', and as many as planes have chosen, in whole pairs */
            size_t pairs = (size_t)node->set_pairs * twice + DS2TA_MAX_PLANES;
            tables = larger(tables, 2 * ds2ta_table_size((int)pairs));
            quads = larger(quads, pairs * DS2TA_PAIR * DS2TA_SET * DS2TA_TILE);
            chosen = larger(chosen, (size_t)node->rows * (twice - 1));
            turned = larger(turned, spans * DS2TA_TILE * DS2TA_SPAN);
        }
        if (node->most_listed) {
            stacks = larger(stacks, DS2TA_MOST_JOINED * (size_t)node->rows);
            stack_lists = larger(stack_lists, DS2TA_MOST_JOINED);
        }
        if (node->op.kind == DS2TA_CONV) {
            size_t width = (size_t)plan->values[node->op.inputs[0]].width;
            stacked = larger(stacked, (size_t)(node->op.size * node->channels));
            stacks = larger(stacks, width * turns * (size_t)(node->op.size * node->channels));
            stack_lists = larger(stack_lists, width * turns * (size_t)node->parts);
        }
        if (node->op.kind == DS2TA_ATTENTION) {
            tokens = larger(tokens, (size_t)node->padded_tokens);
            keys = larger(keys, (size_t)node->padded_tokens * (size_t)node->head_words * 8);
            spread = larger(spread, (size_t)(node->tokens + 1) * (size_t)node->head_width);
            context = larger(context, (size_t)node->tokens * (size_t)plan->steps * (size_t)node->stride_out);
            if (node->short_table) context = larger(context, ds2ta_abreast_room(plan, node) / sizeof *s->context);
        }
        if (node->wide) {
            window = larger(window, ds2ta_window_size(plan, node));
            encoded = larger(encoded, ds2ta_encoded_size(plan, node));
        }
        if (node->op.kind == DS2TA_READOUT) context = larger(context, (size_t)node->stride_in);
    }
    if (larger(list, stacks) > UINT32_MAX) return -1; /* where a list begins is a number of 32 bits */
    size_t start = DS2TA_PATTERNS, product = groups * DS2TA_GROUP * DS2TA_TILE * DS2TA_PANEL;
    /* Only layers right behind each other share lists or indices: an attention or the readout may work where they lay. */
    size_t largest = larger(larger((list + DS2TA_SLACK) * sizeof *s->list, indices), context * sizeof *s->context);
    s->list = piece(s, &bytes, largest, 1);
    s->indices = s->abreast = (uint8_t *)s->list;
    s->context = (int32_t *)(void *)s->list;
    s->at = piece(s, &bytes, lists, sizeof *s->at);
    s->start = piece(s, &bytes, lists * start, sizeof *s->start);
    s->longest = piece(s, &bytes, lists, sizeof *s->longest);
    s->narrow = piece(s, &bytes, block, 1);
    s->stacks = piece(s, &bytes, stacks + DS2TA_SLACK, sizeof *s->stacks);
    s->stack_at = piece(s, &bytes, stack_lists, sizeof *s->stack_at);
    s->stack_start = piece(s, &bytes, stack_lists * start, sizeof *s->stack_start);
    s->stacked = piece(s, &bytes, stacked, 1);
    s->counts = piece(s, &bytes, counts, 1);
    s->quads = piece(s, &bytes, quads, 1);
    s->chosen = piece(s, &bytes, chosen, sizeof *s->chosen);
    s->tables = piece(s, &bytes, tables, 1);
    s->turned = piece(s, &bytes, turned, 1);
    s->across = piece(s, &bytes, groups * DS2TA_GROUP * DS2TA_SPAN * DS2TA_QUARTET, sizeof *s->across);
    s->product = piece(s, &bytes, product, sizeof *s->product);
    s->values = piece(s, &bytes, spread, sizeof *s->values);
    s->map = piece(s, &bytes, tokens * DS2TA_QUERIES, sizeof *s->map);
    s->mixed = piece(s, &bytes, DS2TA_MAX_HEAD * DS2TA_QUERIES, sizeof *s->mixed);
    s->keys = piece(s, &bytes, keys, sizeof *s->keys);
    s->words = piece(s, &bytes, DS2TA_MAX_HEAD / 64, sizeof *s->words);
    s->room = piece(s, &bytes, ds2ta_room(plan), sizeof *s->room);
    s->encoded = piece(s, &bytes, encoded, sizeof *s->encoded);
    s->window = piece(s, &bytes, window, sizeof *s->window);
    return bytes;
}

void ds2ta_free_scratch(ds2ta_scratch *s) {
    for (int i = 0; i < s->piece_count; i++) free(s->pieces[i]);
}
