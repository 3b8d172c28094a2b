/* Options of TCP headers: found where they are, and never outside of the bytes that there are. */
#include "tests/unit/unit.h"

#include "net/tcp_option.h"

#include <stdlib.h>
#include <string.h>

static struct unit_random rnd = {.state = 5};

static void test_found(void **state) {
    static const uint8_t options[] = {1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 5, 10, 9, 9, 9, 9, 9, 9, 9, 9, 0, 5, 2};
    (void)state;
    assert_ptr_equal(tcp_option_find(options, sizeof(options), TCP_OPTION_TIMESTAMPS), options + 2);
    assert_ptr_equal(tcp_option_find(options, sizeof(options), TCP_OPTION_SACK), options + 12);
    assert_null(tcp_option_find(options, sizeof(options), 2));
    assert_null(tcp_option_find(options + 22, 3, TCP_OPTION_SACK)); /* behind the end of the list */
    for (uint32_t len = 0; len < 22; len++) { /* one that is cut off is none */
        const uint8_t *sack = tcp_option_find(options, len, TCP_OPTION_SACK);
        assert_null(sack);
        assert_int_equal(tcp_option_find(options, len, TCP_OPTION_TIMESTAMPS) != NULL, len >= 12);
    }
}

/* A length of 0 or 1 would never end, or begin in the middle. */
static void test_broken(void **state) {
    (void)state;
    for (uint8_t len = 0; len < 2; len++) {
        const uint8_t options[] = {2, len, 5, 2};
        assert_null(tcp_option_find(options, sizeof(options), TCP_OPTION_SACK));
    }
}

static void test_noise(void **state) {
    unsigned found = 0;
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        const uint32_t len = unit_below(&rnd, 41);
        uint8_t *options = malloc(len + 1); /* exactly: a byte too many shows */
        for (uint32_t i = 0; i < len; i++) {
            options[i + 1] = (uint8_t)unit_below(&rnd, 12);
        }
        const uint8_t *option = tcp_option_find(options + 1, len, TCP_OPTION_SACK);
        if (option != NULL) {
            found++;
            assert_int_equal(option[0], TCP_OPTION_SACK);
            assert_true(option[1] >= 2 && option + option[1] <= options + 1 + len);
        }
        free(options);
    }
    assert_true(found > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
