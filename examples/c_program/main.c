/* Reads one sample from standard input, raw bytes, and prints its logits: a host's stand-in for a firmware. */

#include <inttypes.h>
#include <stdio.h>

#include "model.h"

/* A picture is shown at every time step; frames of events come one a step. Here: a picture. */
static uint8_t picture[DS2TA_FRAME_SIZE];
static ds2ta_state state;

int main(void)
{
    int32_t logits[DS2TA_CLASSES];
    if (fread(picture, 1u, sizeof picture, stdin) != sizeof picture) {
        (void)fprintf(stderr, "expected %u bytes\n", (unsigned)sizeof picture);
        return 1;
    }
    ds2ta_run(&state, picture, logits);
    for (uint32_t c = 0u; c < DS2TA_CLASSES; c++) {
        (void)printf("%" PRId32 "\n", logits[c]);
    }
    return 0;
}
