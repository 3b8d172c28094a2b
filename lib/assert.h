/* Our own bugs stop the guest. Never use these for what a device, a user or the network can cause.
 *
 * ASSERT stays in every build; ASSERT_HOT is for bursts and leaves release builds (RINGLET_DEBUG
 * brings it back; the hosted tests always have it). No side effects inside, one condition each.
 * Hosted tests replace this header as a whole with -DASSERT_HEADER='"..."'. */
#ifndef LIB_ASSERT_H
#define LIB_ASSERT_H

#ifdef ASSERT_HEADER
#include ASSERT_HEADER
#else

/* Prints the failed condition, a backtrace and a panic line, then exits with status 3. */
_Noreturn void assert_fail(const char *condition, const char *file, int line);

#define ASSERT(condition)                                                                          \
    ((condition) ? (void)0 : assert_fail(#condition, __FILE__, __LINE__))

#ifdef RINGLET_DEBUG
#define ASSERT_HOT(condition) ASSERT(condition)
#else
#define ASSERT_HOT(condition) ((void)sizeof(condition))
#endif

#endif
#endif
