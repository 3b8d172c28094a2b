/* Which keys there are, what they may say, and what holds without them. lib/config.c reads words by it. */
#ifndef LIB_CONFIG_KEYS_H
#define LIB_CONFIG_KEYS_H

#include "lib/config.h"

struct config_choice {
    const char *name;
    uint32_t value;
};

enum config_type { CONFIG_CHOICE, CONFIG_NUMBER, CONFIG_NUMBER64, CONFIG_TEXT, CONFIG_LIST };

struct config_key {
    const char *name;
    enum config_type type;
    size_t offset;
    size_t size; /* of the text, zero included */
    const struct config_choice *choices;
    uint64_t min, max;
    uint32_t app_mask; /* the workloads that know this key; a name may stand for two keys */
};

enum { CONFIG_KEYS_MAX = 64 };

/* idle_us= as long as nothing was said of it. */
#define CONFIG_IDLE_US_AUTO UINT32_MAX

/* The first one is app=. */
extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* Fills cfg with what holds for a workload without any other word. */
void config_defaults(struct config *cfg, uint32_t app);

#endif
