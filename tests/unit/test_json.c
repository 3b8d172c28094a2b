/* The JSON writer. What it writes is read by a small checker of its own (RFC 8259). */
#include "tests/unit/unit.h"

#include "lib/json.h"
#include "lib/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Checker: each function skips one production and returns what follows, NULL when it is not one. */
static const char *check_value(const char *s);

static const char *check_string(const char *s) {
    if (*s++ != '"') {
        return NULL;
    }
    for (; *s != '"'; s++) {
        const unsigned char c = (unsigned char)*s;
        if (c < 0x20 || c >= 0x7f) {
            return NULL; /* our own lines are ASCII, stricter than the RFC */
        }
        if (c != '\\') {
            continue;
        }
        s++;
        if (*s == 'u') {
            for (int i = 0; i < 4; i++) {
                s++;
                if (*s == '\0' || strchr("0123456789abcdef", *s) == NULL) {
                    return NULL;
                }
            }
        } else if (*s == '\0' || strchr("\"\\/bfnrt", *s) == NULL) {
            return NULL;
        }
    }
    return s + 1;
}

static const char *check_members(const char *s, char closer) {
    if (*s == closer) {
        return s + 1;
    }
    while (s != NULL) {
        if (closer == '}') {
            s = check_string(s);
            if (s == NULL || *s++ != ':') {
                return NULL;
            }
        }
        s = check_value(s);
        if (s != NULL && *s == closer) {
            return s + 1;
        }
        if (s != NULL && *s++ != ',') {
            return NULL;
        }
    }
    return NULL;
}

static const char *check_value(const char *s) {
    static const char *const words[] = {"true", "false", "null"};
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
        if (strncmp(s, words[i], strlen(words[i])) == 0) {
            return s + strlen(words[i]);
        }
    }
    if (*s == '{' || *s == '[') {
        return check_members(s + 1, *s == '{' ? '}' : ']');
    }
    if (*s == '"') {
        return check_string(s);
    }
    const size_t digits = strspn(s, "0123456789");
    return digits > 0 && (*s != '0' || digits == 1) ? s + digits : NULL;
}

static bool is_json(const char *s) {
    s = check_value(s);
    return s != NULL && *s == '\0';
}

static void test_checker(void **state) {
    static const char *const good[] = {
        "{}", "[]", "0", "10", "\"a\"", "[1,{\"b\":[true,null]}]", "\"\\u00ff\\\"\\\\\""};
    static const char *const bad[] = {
        "",     "{",        "[1,]", "[,1]",    "{\"a\"}", "01",          "{a:1}", "\"\n\"",
        "[1]]", "{\"a\":}", "tru",  "\"\\x\"", "\"\x80",  "\"\\u00g0\"", "[1 2]", "{\"a\":1,}"};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
        assert_true(is_json(good[i]));
    }
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_false(is_json(bad[i]));
    }
}

static char text[2048];
static struct json j;

static void expect_text(const char *expected) {
    const size_t len = json_finish(&j);
    assert_int_equal(len, strlen(expected));
    assert_string_equal(text, expected);
    assert_true(is_json(text));
}

static void test_values(void **state) {
    (void)state;
    json_begin(&j, text, sizeof(text));
    json_object(&j, NULL);
    json_string(&j, "s", "plain");
    json_string(&j, "none", NULL);
    json_string(&j, "empty", "");
    json_u64(&j, "zero", 0);
    json_u64(&j, "max", UINT64_MAX);
    json_u64(&j, "half", (uint64_t)1 << 63);
    json_hex(&j, "h0", 0);
    json_hex(&j, "h", 0xfee00000);
    json_hex(&j, "hmax", UINT64_MAX);
    json_bool(&j, "yes", true);
    json_bool(&j, "no", false);
    json_close(&j);
    expect_text("{\"s\":\"plain\",\"none\":null,\"empty\":\"\",\"zero\":0,"
                "\"max\":18446744073709551615,\"half\":9223372036854775808,"
                "\"h0\":\"0x0\",\"h\":\"0xfee00000\",\"hmax\":\"0xffffffffffffffff\","
                "\"yes\":true,\"no\":false}");
}

static void test_bare_values(void **state) {
    (void)state;
    json_begin(&j, text, sizeof(text));
    json_u64(&j, NULL, 7);
    expect_text("7");
    json_begin(&j, text, sizeof(text));
    json_array(&j, NULL);
    json_close(&j);
    expect_text("[]");
}

static void test_nesting_and_commas(void **state) {
    (void)state;
    json_begin(&j, text, sizeof(text));
    json_object(&j, NULL);
    json_array(&j, "a");
    json_close(&j);
    json_object(&j, "o");
    json_close(&j);
    json_array(&j, "mixed");
    json_u64(&j, NULL, 1);
    json_object(&j, NULL);
    json_bool(&j, "b", true);
    json_close(&j);
    json_array(&j, NULL);
    json_string(&j, NULL, "x");
    json_string(&j, NULL, NULL);
    json_close(&j);
    json_u64(&j, NULL, 2);
    json_close(&j);
    json_u64(&j, "last", 3);
    json_close(&j);
    expect_text("{\"a\":[],\"o\":{},\"mixed\":[1,{\"b\":true},[\"x\",null],2],\"last\":3}");
}

/* Every byte that a string can hold. */
static void test_escapes(void **state) {
    char expected[2048] = "[\"";
    char value[256];
    (void)state;
    for (unsigned c = 1; c < 256; c++) {
        char one[8];
        value[c - 1] = (char)c;
        if (c == '"' || c == '\\') {
            snprintf(one, sizeof(one), "\\%c", (int)c);
        } else {
            snprintf(one, sizeof(one), c < 0x20 || c > 0x7e ? "\\u%04x" : "%c", c);
        }
        strcat(expected, one);
    }
    value[255] = '\0';
    strcat(expected, "\"]");
    json_begin(&j, text, sizeof(text));
    json_array(&j, NULL);
    json_string(&j, NULL, value);
    json_close(&j);
    assert_true(strlen(expected) < sizeof(text));
    expect_text(expected);
}

/* Open levels are closed by hand, no more and no fewer. */
static void test_unbalanced(void **state) {
    (void)state;
    json_begin(&j, text, sizeof(text));
    json_object(&j, NULL);
    assert_int_equal(json_finish(&j), 0);
    json_begin(&j, text, sizeof(text));
    json_close(&j);
    assert_int_equal(json_finish(&j), 0);
    json_begin(&j, text, sizeof(text));
    json_array(&j, NULL);
    json_close(&j);
    json_close(&j);
    json_u64(&j, NULL, 1);
    assert_int_equal(json_finish(&j), 0);
    json_begin(&j, text, sizeof(text));
    assert_int_equal(json_finish(&j), 0); /* no value at all */
}

static void test_depth_limit(void **state) {
    (void)state;
    for (unsigned depth = 1; depth <= JSON_DEPTH_MAX + 3; depth++) {
        json_begin(&j, text, sizeof(text));
        for (unsigned i = 0; i < depth; i++) {
            json_array(&j, NULL);
        }
        for (unsigned i = 0; i < depth; i++) {
            json_close(&j);
        }
        if (depth <= JSON_DEPTH_MAX) {
            assert_int_equal(json_finish(&j), 2 * depth);
            assert_true(is_json(text));
        } else {
            assert_true(j.overflow);
            assert_int_equal(json_finish(&j), 0);
        }
    }
}

static void write_sample(struct json *json) {
    json_object(json, NULL);
    json_string(json, "event", "sta\"ts\n");
    json_array(json, "queues");
    json_u64(json, NULL, UINT64_MAX);
    json_hex(json, NULL, 0xabc);
    json_bool(json, NULL, false);
    json_string(json, NULL, NULL);
    json_close(json);
    json_close(json);
}

/* At every size: either all of it and terminated, or 0. Never a byte beyond the buffer, which has
 * exactly that size for the address sanitizer. */
static void test_every_buffer_size(void **state) {
    (void)state;
    json_begin(&j, text, sizeof(text));
    write_sample(&j);
    const size_t whole = json_finish(&j);
    assert_true(whole > 50 && is_json(text));
    for (size_t size = 0; size <= whole + 2; size++) {
        struct json small;
        char *buffer = malloc(size);
        memset(buffer, 0x5a, size);
        json_begin(&small, buffer, size);
        write_sample(&small);
        const size_t len = json_finish(&small);
        assert_int_equal(len, size > whole ? whole : 0);
        if (len > 0) {
            assert_string_equal(buffer, text);
        } else {
            assert_true(small.overflow);
            assert_true(small.len <= size); /* what was written before it ran out is a prefix */
            assert_memory_equal(buffer, text, small.len);
        }
        free(buffer);
    }
}

/* What was left out is never followed by something shorter that would fit. */
static void test_nothing_after_overflow(void **state) {
    char small[12];
    (void)state;
    json_begin(&j, small, sizeof(small));
    json_array(&j, NULL);
    json_string(&j, NULL, "much too long for this");
    const size_t len = j.len;
    json_u64(&j, NULL, 1);
    json_close(&j);
    assert_int_equal(j.len, len);
    assert_int_equal(json_finish(&j), 0);
}

static char console[2048];
static size_t console_len;

static void console_write(const char *bytes, size_t count) {
    assert_true(console_len + count < sizeof(console));
    memcpy(console + console_len, bytes, count);
    console_len += count;
    console[console_len] = '\0';
}

static unsigned polls, flushes;

static bool console_poll(void) {
    polls++;
    return polls % 2 != 0;
}

static void console_flush(void) {
    flushes++;
}

static const struct log_sink console_sink = {
    .write = console_write,
    .poll = console_poll,
    .flush = console_flush,
};

/* One line, and the text is still a string afterwards; a cut line becomes an error event. */
static void test_print(void **state) {
    (void)state;
    log_set_sink(&console_sink);
    for (size_t size = 0; size < 120; size++) {
        char *buffer = malloc(size + 1);
        console_len = 0;
        json_begin(&j, buffer, size);
        write_sample(&j);
        json_print(&j);
        assert_true(console_len > 0);
        assert_ptr_equal(strchr(console, '\n'), console + console_len - 1);
        console[console_len - 1] = '\0';
        assert_true(is_json(console));
        if (json_finish(&j) > 0) {
            assert_string_equal(console, buffer);
        } else {
            assert_non_null(strstr(console, "\"event\":\"error\""));
        }
        free(buffer);
    }
    log_set_sink(NULL);
}

/* Human lines: one newline each, cut to the limit and not beyond. */
static void test_log_lines(void **state) {
    char longest[2 * LOG_LINE_MAX];
    (void)state;
    log_info("dropped: there is no sink yet");
    assert_false(log_poll());
    log_flush();
    log_set_sink(&console_sink);
    assert_true(log_poll());
    assert_true(polls == 1 && flushes == 0);
    assert_false(log_poll()); /* what the sink says is passed on */
    log_flush();
    assert_true(polls == 2 && flushes == 1);
    for (size_t len = 0; len < sizeof(longest); len++) {
        memset(longest, 'x', len);
        longest[len] = '\0';
        for (unsigned error = 0; error < 2; error++) {
            console_len = 0;
            (error ? log_error : log_info)("%s", longest);
            assert_true(console_len <= LOG_LINE_MAX);
            assert_ptr_equal(strchr(console, '\n'), console + console_len - 1);
            const char *body = console + (error ? strlen("error: ") : 0);
            assert_true(!error || strncmp(console, "error: ", 7) == 0);
            const size_t body_len = console_len - 1 - (size_t)(body - console);
            assert_memory_equal(body, longest, body_len);
            assert_true(body_len == len || console_len >= LOG_LINE_MAX - 2);
        }
    }
    log_set_sink(NULL);
}

static void test_event(void **state) {
    char text[64];
    (void)state;
    json_event(&j, text, sizeof(text), "exit");
    json_u64(&j, "status", 0);
    json_close(&j);
    assert_int_not_equal(json_finish(&j), 0);
    assert_string_equal(text, "{\"event\":\"exit\",\"status\":0}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checker),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_bare_values),
        cmocka_unit_test(test_nesting_and_commas),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_unbalanced),
        cmocka_unit_test(test_depth_limit),
        cmocka_unit_test(test_every_buffer_size),
        cmocka_unit_test(test_nothing_after_overflow),
        cmocka_unit_test(test_event),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_log_lines),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
