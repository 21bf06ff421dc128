/* Does as it is told: one letter a command on the standard input. After each step it answers with the status and the logits. */
#include "model.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

static ds2ta_state state, before;
static uint8_t frame[DS2TA_FRAME_SIZE];

static int answer(const uint8_t *given)
{
    int32_t said[1 + DS2TA_CLASSES];
    memcpy(&before, &state, sizeof state);
    said[0] = (int32_t)ds2ta_step(&state, given);
    if ((said[0] != 0) && (memcmp(&before, &state, sizeof state) != 0)) {
        return 1; /* refused, but not left as it was */
    }
    ds2ta_logits(&state, &said[1]);
    return (fwrite(said, sizeof said, 1, stdout) == 1) ? 0 : 1;
}

/* Moves the state to a file, or from there. */
static int move(const char *mode)
{
    FILE *file = fopen("state.bin", mode);
    size_t moved = 0;
    if (file != NULL) {
        moved = (mode[0] == 'w') ? fwrite(&state, sizeof state, 1, file) : fread(&state, sizeof state, 1, file);
        moved = (fclose(file) == 0) ? moved : 0;
    }
    return (moved == 1) ? 0 : 1;
}

int main(void)
{
    int wrong = 0;
    memset(&state, 0xA5, sizeof state);
    for (int command = getchar(); (command != EOF) && (wrong == 0); command = getchar()) {
        switch (command) {
        case 'i': ds2ta_init(&state); break;
        case 'b': ds2ta_begin_sum(&state); break;
        case 'u': wrong = (fread(&state.summed, sizeof state.summed, 1, stdin) == 1) ? 0 : 1; break;
        case 'f': wrong = ((fread(frame, sizeof frame, 1, stdin) == 1) && (answer(frame) == 0)) ? 0 : 1; break;
        case 'n': wrong = answer(NULL); break;
        case 's': wrong = move("wb"); break;
        case 'l': wrong = move("rb"); break;
        case 'k': wrong = ((fflush(stdout) == 0) && (raise(SIGKILL) == 0)) ? 0 : 1; break;
        default: wrong = 1; break;
        }
    }
    return wrong;
}
