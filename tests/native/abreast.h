/* The kernels of attention that takes queries side by side, one by one. */
#ifndef DS2TA_TEST_ABREAST_H
#define DS2TA_TEST_ABREAST_H

#include "kernels.h"

/* Whether they make what the plain ones do of heads of many widths and of many numbers of tokens, and read no byte behind the patterns;
 * of no kernels, nothing is asked. */
int compare_abreast(const ds2ta_abreast *kernels);

#endif
