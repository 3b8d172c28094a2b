#include "lib/config.h"

#include "lib/assert.h"
#include "lib/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

static const struct config_choice config_apps[] = {
    {"echo", CONFIG_APP_ECHO},
    {"ping", CONFIG_APP_PING},
    {"fwd", CONFIG_APP_FWD},
    {"gen", CONFIG_APP_GEN},
    {"sink", CONFIG_APP_SINK},
    {"crash-test", CONFIG_APP_CRASH_TEST},
    {NULL, 0},
};

static const struct config_choice config_rings[] = {
    {"auto", CONFIG_RING_AUTO},
    {"split", CONFIG_RING_SPLIT},
    {"packed", CONFIG_RING_PACKED},
    {NULL, 0},
};

static const struct config_choice config_modes[] = {
    {"poll", CONFIG_MODE_POLL},
    {"irq", CONFIG_MODE_IRQ},
    {"adaptive", CONFIG_MODE_ADAPTIVE},
    {NULL, 0},
};

static const struct config_choice config_protos[] = {
    {"icmp", CONFIG_PROTO_ICMP},
    {"udp", CONFIG_PROTO_UDP},
    {"tcp", CONFIG_PROTO_TCP},
    {NULL, 0},
};

static const struct config_choice config_gen_protos[] = {
    {"udp", CONFIG_PROTO_UDP},
    {"tcp", CONFIG_PROTO_TCP},
    {NULL, 0},
};

static const struct config_choice config_fwds[] = {
    {"io", CONFIG_FWD_IO},
    {"mac", CONFIG_FWD_MAC},
    {"macswap", CONFIG_FWD_MACSWAP},
    {"5tswap", CONFIG_FWD_5TSWAP},
    {"icmpecho", CONFIG_FWD_ICMPECHO},
    {NULL, 0},
};

static const struct config_choice config_pcis[] = {
    {"auto", CONFIG_PCI_AUTO},
    {"off", CONFIG_PCI_OFF},
    {NULL, 0},
};

static const struct config_choice config_payloads[] = {
    {"pattern", CONFIG_PAYLOAD_PATTERN},
    {"fixed", CONFIG_PAYLOAD_FIXED},
    {NULL, 0},
};

enum {
    APPS_PING = 1 << CONFIG_APP_PING,
    APPS_FWD = 1 << CONFIG_APP_FWD,
    APPS_GEN = 1 << CONFIG_APP_GEN,
    APPS_SINK = 1 << CONFIG_APP_SINK,
    APPS_CRASH_TEST = 1 << CONFIG_APP_CRASH_TEST,
    APPS_RAW = APPS_FWD | APPS_GEN | APPS_SINK,
    APPS_ALL = APPS_RAW | APPS_PING | APPS_CRASH_TEST | 1 << CONFIG_APP_ECHO,
};

#define CHOICE(key, list, apps)                                                                    \
    {#key, CONFIG_CHOICE, offsetof(struct config, key), 0, list, 0, 0, apps}
#define NUMBER(key, min, max, apps)                                                                \
    {#key, CONFIG_NUMBER, offsetof(struct config, key), 0, NULL, min, max, apps}
#define NUMBER64(key, min, max, apps)                                                              \
    {#key, CONFIG_NUMBER64, offsetof(struct config, key), 0, NULL, min, max, apps}
#define TEXT_NAMED(name, key, apps)                                                                \
    {name, CONFIG_TEXT, offsetof(struct config, key), sizeof(((struct config *)0)->key), NULL, 0,  \
     0, apps}
#define TEXT(key, apps) TEXT_NAMED(#key, key, apps)
#define LIST_NAMED(name, key, apps)                                                                \
    {name, CONFIG_LIST, offsetof(struct config, key), sizeof(((struct config *)0)->key), NULL, 0,  \
     0, apps}

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
    CHOICE(pci, config_pcis, APPS_ALL),
    LIST_NAMED("virtio_mmio.device", mmio_devices, APPS_ALL),
    TEXT(kind, APPS_CRASH_TEST),
    TEXT(dst, APPS_PING | APPS_GEN),
    CHOICE(proto, config_protos, APPS_PING),
    CHOICE(proto, config_gen_protos, APPS_GEN),
    NUMBER(port, 1, 65535, APPS_PING),
    NUMBER(count, 0, 1000000000, APPS_PING),
    NUMBER(size, 0, 65000, APPS_PING),
    NUMBER(interval_us, 0, 10000000, APPS_PING),
    NUMBER(timeout_ms, 1, 60000, APPS_PING),
    NUMBER(burst, 1, 64, APPS_RAW),
    NUMBER(steal_us, 1, 1000000, APPS_RAW),
    CHOICE(fwd, config_fwds, APPS_FWD),
    NUMBER(delay_cycles, 0, 10000000, APPS_FWD),
    TEXT(dst_mac, APPS_FWD | APPS_GEN),
    TEXT(rate, APPS_GEN),
    TEXT(linerate, APPS_GEN),
    TEXT(pace, APPS_GEN),
    TEXT_NAMED("size", sizes, APPS_GEN),
    TEXT(src, APPS_GEN),
    TEXT(sport, APPS_GEN),
    TEXT(dport, APPS_GEN),
    TEXT(src_mac, APPS_GEN),
    NUMBER(qinq, 1, 4094, APPS_GEN),
    CHOICE(payload, config_payloads, APPS_GEN),
    NUMBER(catchup, 0, 1000000, APPS_GEN),
    NUMBER(rx, 0, 1, APPS_GEN),
    NUMBER(drain_ms, 0, 60000, APPS_GEN),
    NUMBER64(frames, 0, UINT64_MAX / 10 - 1, APPS_GEN | APPS_SINK),
    NUMBER(flows, 1, 1 << 20, APPS_GEN | APPS_SINK),
    NUMBER(seed, 0, UINT32_MAX, APPS_GEN | APPS_SINK),
    NUMBER(check, 0, 1, APPS_GEN | APPS_SINK),
    NUMBER(loss_ppm, 0, 1000000, APPS_GEN | APPS_SINK),
};

_Static_assert(ARRAY_SIZE(config_keys) <= 64, "config_parse() marks the keys seen in 64 bits");

struct config_error {
    char *text;
    size_t size;
    const char *source; /* whose words are looked at, NULL: needs no name */
};

static int PRINTF_LIKE(2, 3) config_fail(struct config_error *error, const char *format, ...) {
    va_list args;
    size_t used = 0;
    if (error->source != NULL) {
        snprintf(error->text, error->size, "%s: ", error->source);
        used = strlen(error->text);
    }
    va_start(args, format);
    vsnprintf(error->text + used, error->size - used, format, args);
    va_end(args);
    return ERR_CONFIG;
}

static int config_set_choice(const struct config_key *key, uint32_t *field, const char *value,
                             struct config_error *error) {
    char known[96] = "";
    for (const struct config_choice *c = key->choices; c->name != NULL; c++) {
        if (strcmp(c->name, value) == 0) {
            *field = c->value;
            return ERR_OK;
        }
        const size_t used = strlen(known);
        snprintf(known + used, sizeof(known) - used, " %s", c->name);
    }
    return config_fail(error, "%s=%s: unknown value; known are:%s", key->name, value, known);
}

static int config_set_number(const struct config_key *key, uint64_t *number, const char *value,
                             struct config_error *error) {
    bool good = value[0] != '\0';
    *number = 0;
    for (const char *c = value; *c != '\0' && good; c++) {
        good = *c >= '0' && *c <= '9';
        *number = *number * 10 + (uint64_t)(*c - '0');
        good = good && *number <= key->max;
    }
    if (!good || *number < key->min) {
        return config_fail(error, "%s=%s: must be a whole number from %llu to %llu", key->name,
                           value, (unsigned long long)key->min, (unsigned long long)key->max);
    }
    return ERR_OK;
}

/* `again`: of a list, behind what is there already, with a comma. */
static int config_set_text(const struct config_key *key, char *field, const char *value, bool again,
                           struct config_error *error) {
    const size_t used = again ? strlen(field) + 1 : 0;
    if (value[0] == '\0') {
        return config_fail(error, "%s=: needs a value", key->name);
    }
    if (used + strlen(value) >= key->size) {
        return config_fail(error, "%s: longer than %zu characters", key->name, key->size - 1);
    }
    if (again) {
        field[used - 1] = ',';
    }
    strcpy(field + used, value);
    return ERR_OK;
}

static int config_set(struct config *cfg, const struct config_key *key, const char *value, bool again,
                      struct config_error *error) {
    void *field = (char *)cfg + key->offset;
    uint64_t number;
    int err = ERR_OK;
    switch (key->type) {
    case CONFIG_CHOICE:
        return config_set_choice(key, field, value, error);
    case CONFIG_NUMBER:
        err = config_set_number(key, &number, value, error);
        *(uint32_t *)field = (uint32_t)number;
        return err;
    case CONFIG_NUMBER64:
        err = config_set_number(key, &number, value, error);
        *(uint64_t *)field = number;
        return err;
    case CONFIG_TEXT:
    case CONFIG_LIST:
        return config_set_text(key, field, value, again, error);
    }
    return err;
}

static int config_word(struct config *cfg, char *word, uint64_t *seen, struct config_error *error) {
    const struct config_key *other = NULL;
    char *equals = strchr(word, '=');
    if (equals == NULL) {
        return config_fail(error, "%s: not of the form key=value", word);
    }
    *equals = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(config_keys); i++) {
        const struct config_key *key = &config_keys[i];
        if (strcmp(key->name, word) != 0) {
            continue;
        }
        if (!(key->app_mask & 1u << cfg->app)) {
            other = key;
            continue;
        }
        const bool again = *seen & UINT64_C(1) << i;
        if (again && key->type != CONFIG_LIST) {
            return config_fail(error, "%s: given twice", word);
        }
        *seen |= UINT64_C(1) << i;
        /* The workload is known since config_find_app(), and may be that of a later source. */
        return i == 0 ? ERR_OK : config_set(cfg, key, equals + 1, again, error);
    }
    if (other != NULL) {
        return config_fail(error, "%s: not a key of app=%s", word, config_app_name(cfg->app));
    }
    return config_fail(error, "%s: unknown key", word);
}

static int config_check(const struct config *cfg, struct config_error *error) {
    if (cfg->app == CONFIG_APP_CRASH_TEST && cfg->kind[0] == '\0') {
        return config_fail(error, "app=crash-test: needs kind=");
    }
    if (cfg->app == CONFIG_APP_PING && cfg->dst[0] == '\0') {
        return config_fail(error, "app=ping: needs dst=");
    }
    if (cfg->intx != 0 && cfg->mode == CONFIG_MODE_POLL) {
        return config_fail(error, "intx=1: mode=poll takes no interrupts");
    }
    if (cfg->app == CONFIG_APP_GEN && cfg->qinq != 0 && cfg->vlan == 0) {
        return config_fail(error, "qinq=%u: is the outer tag, the inner one is missing: vlan=",
                           (unsigned)cfg->qinq);
    }
    return ERR_OK;
}

static void config_defaults(struct config *cfg, uint32_t app) {
    *cfg = (struct config){
        .app = app,
        .ip = "dhcp",
        .ip6 = "auto",
        .idle_us = 100,
        .port = 7,
        .count = 10,
        .size = 56,
        .interval_us = 100000,
        .timeout_ms = 1000,
        .burst = 32,
        .steal_us = 100,
        .rate = "max",
        .pace = "cbr",
        .sizes = "64",
        .sport = "49152",
        .dport = "9",
        .catchup = 1024,
        .drain_ms = 200,
        .seed = 1,
        .loss_ppm = 1000000,
    };
    if (app == CONFIG_APP_GEN) {
        cfg->proto = CONFIG_PROTO_UDP;
    }
    if (app == CONFIG_APP_SINK) {
        cfg->flows = 65536;
    }
    if (config_is_raw(cfg)) { /* their frames shall be alone on the wire */
        strcpy(cfg->ip, "off");
        strcpy(cfg->ip6, "off");
    }
}

enum { WORD_MAX = 288 };

/* Copies the word at *text and moves behind it; comments are passed over. ERR_ABSENT at the end. */
static int config_next(const char **text, char word[WORD_MAX], struct config_error *error) {
    static const char white[] = " \t\r\n";
    const char *start = *text + strspn(*text, white);
    while (*start == '#') {
        start += strcspn(start, "\n");
        start += strspn(start, white);
    }
    const size_t len = strcspn(start, white);
    if (len == 0) {
        return ERR_ABSENT;
    }
    if (len >= WORD_MAX) {
        return config_fail(error, "%.24s...: the word is too long", start);
    }
    memcpy(word, start, len);
    word[len] = '\0';
    *text = start + len;
    return ERR_OK;
}

/* The workload comes first wherever it stands: defaults and keys depend on it. */
static int config_find_app(const char *text, uint32_t *app, struct config_error *error) {
    char word[WORD_MAX];
    int err;
    while ((err = config_next(&text, word, error)) == ERR_OK) {
        if (strncmp(word, "app=", 4) == 0) {
            return config_set_choice(&config_keys[0], app, word + 4, error);
        }
    }
    return err == ERR_ABSENT ? ERR_OK : err;
}

static int config_words(struct config *cfg, const char *text, struct config_error *error) {
    char word[WORD_MAX];
    uint64_t seen = 0;
    int err;
    while ((err = config_next(&text, word, error)) == ERR_OK) {
        err = config_word(cfg, word, &seen, error);
        if (err != ERR_OK) {
            return err;
        }
    }
    return err == ERR_ABSENT ? ERR_OK : err;
}

int config_parse_sources(struct config *cfg, const struct config_source *sources, unsigned count,
                         char *error_text, size_t error_size) {
    struct config_error error = {.text = error_text, .size = error_size};
    uint32_t app = CONFIG_APP_ECHO;
    int err = ERR_OK;
    ASSERT(error_size > 0);

    error_text[0] = '\0';
    for (unsigned i = 0; i < count && err == ERR_OK; i++) {
        error.source = sources[i].name;
        err = config_find_app(sources[i].text, &app, &error);
    }
    config_defaults(cfg, app);
    for (unsigned i = 0; i < count && err == ERR_OK; i++) {
        error.source = sources[i].name;
        err = config_words(cfg, sources[i].text, &error);
    }
    error.source = NULL;
    return err == ERR_OK ? config_check(cfg, &error) : err;
}

int config_parse(struct config *cfg, const char *cmdline, char *error_text, size_t error_size) {
    const struct config_source source = {.text = cmdline};
    return config_parse_sources(cfg, &source, 1, error_text, error_size);
}

static const char *config_choice_name(const struct config_choice *choices, uint32_t value) {
    for (const struct config_choice *c = choices; c->name != NULL; c++) {
        if (c->value == value) {
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
