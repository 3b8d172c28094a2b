/* For tests of the frames of app=gen: a stream from the words of a command line, and its
 * buffers. */
#ifndef TESTS_UNIT_GEN_RIG_H
#define TESTS_UNIT_GEN_RIG_H

#include "tests/unit/config_line.h"
#include "tests/unit/unit.h"

#include "lib/err.h"
#include "net/gen_stream.h"

#include <stdio.h>
#include <string.h>

enum { ROOM = 2048, SESSION = 0xabc, MTU_FRAME = 1522, BUFFERS = 3 };

static struct gen_spec spec;
static struct gen_stream stream;
static uint8_t buffers[BUFFERS][ROOM];

static inline void begin(struct gen_stream *s, const char *words) {
    const struct gen_device device = {.mac = {0x52, 0x54, 0, 1, 2, 3}, .frame_max = MTU_FRAME};
    struct config cfg;
    char line[512], error[256];
    snprintf(line, sizeof(line), "app=gen dst_mac=02:00:00:00:00:01 %s", words);
    assert_int_equal(config_parse(&cfg, line, error, sizeof(error)), ERR_OK);
    if (!gen_spec_parse(&spec, &cfg, &device)) {
        fail_msg("%s was refused", words);
    }
    gen_stream_init(s, &spec, SESSION);
    for (unsigned i = 0; i < BUFFERS; i++) {
        memset(buffers[i], 0xee, ROOM);
        gen_stream_prepare(s, buffers[i]);
    }
}

static inline uint32_t get16(const uint8_t *p) {
    return (uint32_t)p[0] << 8 | p[1];
}

static inline uint64_t get(const uint8_t *p, unsigned bytes) {
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | p[i];
    }
    return value;
}

#endif
