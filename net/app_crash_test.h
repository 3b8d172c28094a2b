/* app=crash-test: breaks one rule of the machine on purpose, so that a test can see that the rule is
 * enforced and reported. */
#ifndef NET_APP_CRASH_TEST_H
#define NET_APP_CRASH_TEST_H

/* Does not return for a kind that faults. Returns ERR_OK when kind=hlt passed, ERR_CONFIG for an
 * unknown kind, after one line that says so. */
int app_crash_test_run(const char *kind);

#endif
