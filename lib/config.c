#include "lib/config.h"

#include "lib/assert.h"
#include "lib/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A choice whose meaning this version does not have yet is named, so that the error can say so. */
struct config_choice {
    const char *name;
    uint32_t value;
    bool absent;
};

enum config_type { CONFIG_CHOICE, CONFIG_NUMBER, CONFIG_TEXT };

struct config_key {
    const char *name;
    enum config_type type;
    size_t offset;
    size_t size; /* of the text, zero included */
    const struct config_choice *choices;
    uint32_t min, max;
    uint32_t app_mask; /* the workloads that know this key, 0: all */
};

static const struct config_choice config_apps[] = {
    {"echo", CONFIG_APP_ECHO, false},
    {"ping", CONFIG_APP_PING, false},
    {"crash-test", CONFIG_APP_CRASH_TEST, false},
    {"fwd", 0, true},
    {"gen", 0, true},
    {"sink", 0, true},
    {NULL, 0, false},
};

static const struct config_choice config_rings[] = {
    {"auto", CONFIG_RING_AUTO, false},
    {"split", CONFIG_RING_SPLIT, false},
    {"packed", CONFIG_RING_PACKED, false},
    {NULL, 0, false},
};

static const struct config_choice config_modes[] = {
    {"poll", CONFIG_MODE_POLL, false},
    {"irq", CONFIG_MODE_IRQ, false},
    {"adaptive", CONFIG_MODE_ADAPTIVE, false},
    {NULL, 0, false},
};

static const struct config_choice config_protos[] = {
    {"icmp", CONFIG_PROTO_ICMP, false},
    {"udp", CONFIG_PROTO_UDP, false},
    {"tcp", CONFIG_PROTO_TCP, false},
    {NULL, 0, false},
};

enum {
    APPS_ALL = 0,
    APPS_PING = 1 << CONFIG_APP_PING,
    APPS_CRASH_TEST = 1 << CONFIG_APP_CRASH_TEST,
};

#define CHOICE(key, list, apps)                                                                    \
    {#key, CONFIG_CHOICE, offsetof(struct config, key), 0, list, 0, 0, apps}
#define NUMBER(key, min, max, apps)                                                                \
    {#key, CONFIG_NUMBER, offsetof(struct config, key), 0, NULL, min, max, apps}
#define TEXT(key, apps)                                                                            \
    {#key, CONFIG_TEXT, offsetof(struct config, key), sizeof(((struct config *)0)->key),           \
     NULL, 0, 0, apps}

static const struct config_key config_keys[] = {
    CHOICE(app, config_apps, APPS_ALL),
    CHOICE(ring, config_rings, APPS_ALL),
    CHOICE(mode, config_modes, APPS_ALL),
    NUMBER(intx, 0, 1, APPS_ALL),
    NUMBER(idle_us, 0, 1000000, APPS_ALL),
    NUMBER(queue, 1, 32768, APPS_ALL),
    NUMBER(seconds, 0, 1000000, APPS_ALL),
    NUMBER(stats, 0, 86400, APPS_ALL),
    TEXT(ip, APPS_ALL),
    TEXT(gw, APPS_ALL),
    TEXT(ip6, APPS_ALL),
    TEXT(features, APPS_ALL),
    TEXT(mac, APPS_ALL),
    NUMBER(vlan, 1, 4094, APPS_ALL),
    TEXT(coalesce, APPS_ALL),
    TEXT(kind, APPS_CRASH_TEST),
    TEXT(dst, APPS_PING),
    CHOICE(proto, config_protos, APPS_PING),
    NUMBER(port, 1, 65535, APPS_PING),
    NUMBER(count, 0, 1000000000, APPS_PING),
    NUMBER(size, 0, 65000, APPS_PING),
    NUMBER(interval_us, 0, 10000000, APPS_PING),
    NUMBER(timeout_ms, 1, 60000, APPS_PING),
};

_Static_assert(ARRAY_SIZE(config_keys) <= 32, "config_parse() marks the keys seen in 32 bits");

struct config_error {
    char *text;
    size_t size;
};

static int PRINTF_LIKE(2, 3) config_fail(struct config_error *error, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, error->size, format, args);
    va_end(args);
    return ERR_CONFIG;
}

static void *config_field(struct config *cfg, const struct config_key *key) {
    return (char *)cfg + key->offset;
}

static int config_set_choice(const struct config_key *key, uint32_t *field, const char *value,
                             struct config_error *error) {
    char known[96] = "";
    for (const struct config_choice *c = key->choices; c->name != NULL; c++) {
        if (strcmp(c->name, value) == 0) {
            if (c->absent) {
                return config_fail(error, "%s=%s: this version of Ringlet does not have it yet",
                                   key->name, value);
            }
            *field = c->value;
            return ERR_OK;
        }
        if (!c->absent) {
            size_t used = strlen(known);
            snprintf(known + used, sizeof(known) - used, " %s", c->name);
        }
    }
    return config_fail(error, "%s=%s: unknown value; known are:%s", key->name, value, known);
}

static int config_set_number(const struct config_key *key, uint32_t *field, const char *value,
                             struct config_error *error) {
    uint64_t number = 0;
    bool good = value[0] != '\0';
    for (const char *c = value; *c != '\0' && good; c++) {
        good = *c >= '0' && *c <= '9';
        number = number * 10 + (uint64_t)(*c - '0');
        good = good && number <= key->max;
    }
    if (!good || number < key->min) {
        return config_fail(error, "%s=%s: must be a whole number from %u to %u", key->name, value,
                           (unsigned)key->min, (unsigned)key->max);
    }
    *field = (uint32_t)number;
    return ERR_OK;
}

static int config_set_text(const struct config_key *key, char *field, const char *value,
                           struct config_error *error) {
    if (value[0] == '\0') {
        return config_fail(error, "%s=: needs a value", key->name);
    }
    if (strlen(value) >= key->size) {
        return config_fail(error, "%s: longer than %zu characters", key->name, key->size - 1);
    }
    strcpy(field, value);
    return ERR_OK;
}

static int config_word(struct config *cfg, char *word, uint32_t *seen, struct config_error *error) {
    char *equals = strchr(word, '=');
    if (equals == NULL) {
        return config_fail(error, "%s: not of the form key=value", word);
    }
    *equals = '\0';
    const char *value = equals + 1;
    for (size_t i = 0; i < ARRAY_SIZE(config_keys); i++) {
        const struct config_key *key = &config_keys[i];
        if (strcmp(key->name, word) != 0) {
            continue;
        }
        if (*seen & 1u << i) {
            return config_fail(error, "%s: given twice", word);
        }
        *seen |= 1u << i;
        switch (key->type) {
        case CONFIG_CHOICE:
            return config_set_choice(key, config_field(cfg, key), value, error);
        case CONFIG_NUMBER:
            return config_set_number(key, config_field(cfg, key), value, error);
        case CONFIG_TEXT:
            return config_set_text(key, config_field(cfg, key), value, error);
        }
    }
    return config_fail(error, "%s: unknown key", word);
}

/* Keys of one workload beside another one are a mistake, whatever their order. */
static int config_check_apps(const struct config *cfg, uint32_t seen, struct config_error *error) {
    for (size_t i = 0; i < ARRAY_SIZE(config_keys); i++) {
        const struct config_key *key = &config_keys[i];
        if ((seen & 1u << i) && key->app_mask != 0 && !(key->app_mask & 1u << cfg->app)) {
            return config_fail(error, "%s: not a key of app=%s", key->name,
                               config_app_name(cfg->app));
        }
    }
    if (cfg->app == CONFIG_APP_CRASH_TEST && cfg->kind[0] == '\0') {
        return config_fail(error, "app=crash-test: needs kind=");
    }
    if (cfg->app == CONFIG_APP_PING && cfg->dst[0] == '\0') {
        return config_fail(error, "app=ping: needs dst=");
    }
    if (cfg->intx != 0 && cfg->mode == CONFIG_MODE_POLL) {
        return config_fail(error, "intx=1: mode=poll takes no interrupts");
    }
    return ERR_OK;
}

int config_parse(struct config *cfg, const char *cmdline, char *error_text, size_t error_size) {
    struct config_error error = {.text = error_text, .size = error_size};
    uint32_t seen = 0;
    ASSERT(error_size > 0);

    *cfg = (struct config){
        .ip = "dhcp",
        .ip6 = "auto",
        .idle_us = 100,
        .port = 7,
        .count = 10,
        .size = 56,
        .interval_us = 100000,
        .timeout_ms = 1000,
    };
    error_text[0] = '\0';
    while (true) {
        char word[288];
        cmdline += strspn(cmdline, " \t\r\n");
        size_t len = strcspn(cmdline, " \t\r\n");
        if (len == 0) {
            return config_check_apps(cfg, seen, &error);
        }
        if (len >= sizeof(word)) {
            return config_fail(&error, "%.24s...: the word is too long", cmdline);
        }
        memcpy(word, cmdline, len);
        word[len] = '\0';
        cmdline += len;
        int err = config_word(cfg, word, &seen, &error);
        if (err != ERR_OK) {
            return err;
        }
    }
}

static const char *config_choice_name(const struct config_choice *choices, uint32_t value) {
    for (const struct config_choice *c = choices; c->name != NULL; c++) {
        if (!c->absent && c->value == value) {
            return c->name;
        }
    }
    return "?";
}

const char *config_app_name(uint32_t app) {
    return config_choice_name(config_apps, app);
}

const char *config_mode_name(uint32_t mode) {
    return config_choice_name(config_modes, mode);
}
