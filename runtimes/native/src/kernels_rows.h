/* Sums of listed rows, in vectors; part of kernels_vector.h.
 *
 * Classes follow each other as Gray's code does. The rows of all classes so far are one running total, of which nothing is ever taken
 * away; where step t begins, the total is subtracted from t's sum, and where it ends, added. Totals wrap: each step's own sum fits 16
 * bits, and so it is right at the end. A word of a row is two weights; `all` adds the words as they are, `high` their high bytes, and
 * the low bytes' sum is all - 256 high. */

/* Registers of a row of a panel at most. */
enum { WIDE = DS2TA_PANEL * BYTES };

typedef struct {
    unsigned_words all[WIDE], high[WIDE];
} row_total;

/* Where the i-th of four rows begins: their numbers are 16 bits each of one word. */
static inline size_t row_at(uint64_t numbers, int i, size_t size) {
    return (numbers >> 16 * i) * size & 0xffff * size;
}

#define ROW(i) (LOAD(unsigned_bytes, weight + row[i] + r * WIDTH))

/* Adds four rows: one by one, or all in 8 bits before they are added in 16. A core loads two words a clock, however long they are: the
 * four numbers are loaded as one. */
static inline __attribute__((always_inline)) void add_four(const uint8_t *weight, const uint16_t *list, row_total *total, int registers,
                                                           int together) {
    uint64_t numbers;
    size_t row[DS2TA_FILL];
    memcpy(&numbers, list, sizeof numbers);
    for (int i = 0; i < DS2TA_FILL; i++) row[i] = row_at(numbers, i, (size_t)(registers * WIDTH));
    for (int r = 0; r < registers; r++) {
        if (together == DS2TA_FILL) {
            unsigned_words part = (unsigned_words)((ROW(0) + ROW(1)) + (ROW(2) + ROW(3)));
            DS2TA_ADD_WORDS(total->all[r], part);
            DS2TA_ADD_WORDS(total->high[r], (unsigned_words)((words)part >> 8));
            continue;
        }
        unsigned_words part[DS2TA_FILL];
        for (int i = 0; i < DS2TA_FILL; i++) {
            part[i] = (unsigned_words)ROW(i);
            DS2TA_LOADED(part[i]);
        }
        DS2TA_ADD_WORDS(total->all[r], (part[0] + part[1]) + (part[2] + part[3]));
        for (int i = 0; i < DS2TA_FILL; i++) part[i] = (unsigned_words)((words)part[i] >> 8);
        DS2TA_ADD_WORDS(total->high[r], (part[0] + part[1]) + (part[2] + part[3]));
    }
}
#undef ROW

/* Where class i ends: the step that begins or ends there adds the total up. `length` does the same with the number of rows. */
static inline __attribute__((always_inline)) void turn_step(int i, const row_total *total, uint32_t end, row_total *step, uint32_t *length,
                                                            int registers) {
    int changed = ds2ta_step_changed(i), ends = ds2ta_step_ends(i);
    row_total *to = step + changed;
    for (int r = 0; r < registers; r++) {
        to->all[r] = ends ? to->all[r] + total->all[r] : to->all[r] - total->all[r];
        to->high[r] = ends ? to->high[r] + total->high[r] : to->high[r] - total->high[r];
    }
    length[changed] += ends ? end : 0 - end;
}

/* Adds a list's rows to every step's sums. */
static inline __attribute__((always_inline)) void add_list(const ds2ta_panel *panel, const uint16_t *list, const uint32_t *start, row_total *step,
                                                           uint32_t *length, int registers, int together) {
    row_total total;
    uint32_t at = 0;
    for (int r = 0; r < registers; r++) total.all[r] = total.high[r] = (unsigned_words){0};
#define CLASS(i)                                                                                               \
    for (; at < start[(i) + 1]; at += DS2TA_FILL) add_four(panel->rows, list + at, &total, registers, together); \
    turn_step(i, &total, at, step, length, registers);
    CLASS(0) CLASS(1) CLASS(2) CLASS(3) CLASS(4) CLASS(5) CLASS(6) CLASS(7)
    CLASS(8) CLASS(9) CLASS(10) CLASS(11) CLASS(12) CLASS(13) CLASS(14)
#undef CLASS
}

static inline __attribute__((always_inline)) void begin_rows(row_total *step, int registers) {
    for (int t = 0; t < DS2TA_GROUP; t++)
        for (int r = 0; r < registers; r++) step[t].all[r] = step[t].high[r] = (unsigned_words){0};
}

/* Sums of the low bytes of so many rows, without what was added to make them such of no sign. */
static inline words low_sums(const row_total *step, int r, uint32_t length, int together) {
    return (words)(step->all[r] - (step->high[r] << 8) - (uint16_t)(length * (uint32_t)(128 / together)));
}

/* Adds 2^shift times a register of words to longs, or writes it. */
static inline void accumulate(words value, int shift, int fresh, int32_t *sums) {
    longs low, high;
    split_words(value, &low, &high);
    low <<= shift, high <<= shift;
    STORE(longs, sums, fresh ? low : LOAD(longs, sums) + low);
    STORE(longs, sums + LONG_LANES, fresh ? high : LOAD(longs, sums + LONG_LANES) + high);
}

static inline __attribute__((always_inline)) void rows_of(const ds2ta_panel *panel, const uint16_t *list, const uint32_t *start, int shift,
                                                          int fresh, int32_t *sums, size_t stride, int width, int together) {
    const int registers = width * BYTES;
    row_total step[DS2TA_GROUP];
    uint32_t length[DS2TA_GROUP] = {0};
    begin_rows(step, registers);
    add_list(panel, list, start, step, length, registers, together);
    for (int t = 0; t < DS2TA_GROUP; t++)
        for (int r = 0; r < registers; r++) {
            int32_t *to = sums + (size_t)(r / BYTES) * stride + t * DS2TA_TILE + r % BYTES * WORD_LANES;
            accumulate(low_sums(step + t, r, length[t], together), shift, fresh, to);
            accumulate((words)step[t].high[r], shift, fresh, to + DS2TA_TILE / 2);
        }
}

/* Calls of what is made for each width of a panel and each number of rows that may be added in 8 bits. */
#define DS2TA_SPECIALIZE_ROWS(panel, CALL)                                                          \
    do {                                                                                            \
        if ((panel)->width == DS2TA_PANEL && (panel)->together == DS2TA_FILL) CALL(DS2TA_PANEL, DS2TA_FILL); \
        else if ((panel)->width == DS2TA_PANEL) CALL(DS2TA_PANEL, 1);                               \
        else if ((panel)->together == DS2TA_FILL) CALL(1, DS2TA_FILL);                              \
        else CALL(1, 1);                                                                            \
    } while (0)

static void rows(const ds2ta_panel *panel, const uint16_t *list, const uint32_t start[DS2TA_PATTERNS], int shift, int fresh, int32_t *sums,
                 size_t stride) {
    if (!fresh && !start[DS2TA_CLASSES]) return;
#define ROWS(width, together) rows_of(panel, list, start, shift, fresh, sums, stride, width, together)
    DS2TA_SPECIALIZE_ROWS(panel, ROWS);
#undef ROWS
}

static inline __attribute__((always_inline)) int fire_rows_of(const ds2ta_panel *panel, const ds2ta_listed *lists, int count, int steps,
                                                               int leak_shift, const int16_t *bias, const int16_t *threshold, uint8_t *out,
                                                               int width, int together) {
    const int registers = width * BYTES, written = (1 << steps) - 1;
    row_total step[DS2TA_GROUP];
    uint32_t length[DS2TA_GROUP] = {0};
    begin_rows(step, registers);
    for (int k = 0; k < count; k++) {
        add_list(panel, lists[k].list, lists[k].start, step, length, registers, together);
        for (int t = 0; t < DS2TA_GROUP && lists[k].shift; t++) {
            for (int r = 0; r < registers; r++) step[t].all[r] <<= lists[k].shift, step[t].high[r] <<= lists[k].shift;
            length[t] <<= lists[k].shift;
        }
    }
    words lowest = {0};
    for (int r = 0; r < registers; r++) {
        words low[DS2TA_GROUP], high[DS2TA_GROUP];
        for (int t = 0; t < DS2TA_GROUP; t++) low[t] = low_sums(step + t, r, length[t], together), high[t] = (words)step[t].high[r];
        int at = r / BYTES * DS2TA_TILE + r % BYTES * WORD_LANES, behind = at + DS2TA_TILE / 2;
        fire_words(low, LOAD(words, bias + at), LOAD(words, threshold + at), leak_shift, written, &lowest, out + at);
        fire_words(high, LOAD(words, bias + behind), LOAD(words, threshold + behind), leak_shift, written, &lowest, out + behind);
    }
    return !has_lowest_word(lowest);
}

static int fire_rows(const ds2ta_panel *panel, const ds2ta_listed *lists, int count, const ds2ta_neuron *neuron, const int16_t *bias,
                      const int16_t *threshold, uint8_t *out) {
#define FIRE_ROWS(width, together) \
    return fire_rows_of(panel, lists, count, neuron->steps, neuron->leak_shift, bias, threshold, out, width, together)
    DS2TA_SPECIALIZE_ROWS(panel, FIRE_ROWS);
#undef FIRE_ROWS
}
