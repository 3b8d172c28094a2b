/* Stands in for lib/assert.h: a failed ASSERT reaches cmocka, so that expect_assert_failure() can
 * show that a wrong call is caught. Any other failed ASSERT fails the running test. */
#ifndef TESTS_UNIT_SEAM_ASSERT_H
#define TESTS_UNIT_SEAM_ASSERT_H

void mock_assert(const int result, const char *const expression, const char *const file,
                 const int line);

#define ASSERT(condition) ((condition) ? (void)0 : mock_assert(0, #condition, __FILE__, __LINE__))
#define ASSERT_HOT(condition) ASSERT(condition)

#endif
