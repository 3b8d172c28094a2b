/* The configuration from the words of a command line alone. */
#ifndef TESTS_UNIT_CONFIG_LINE_H
#define TESTS_UNIT_CONFIG_LINE_H

#include "lib/config.h"

static inline int config_parse(struct config *cfg, const char *cmdline, char *error,
                               size_t error_size) {
    const struct config_source source = {.text = cmdline};
    return config_parse_sources(cfg, &source, 1, error, error_size);
}

#endif
