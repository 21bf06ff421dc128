#ifndef DS2TA_TEST_NARROW_H
#define DS2TA_TEST_NARROW_H

/* Whether neurons fire in 16 bits where they fit them, and everything is right there and where they do not; `which` is the case that is
 * wrong. */
int narrow_is_right(const char *isa, int *which);

#endif
