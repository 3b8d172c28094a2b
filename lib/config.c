#include "lib/config_keys.h"

#include "lib/assert.h"
#include "lib/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ADAPTIVE_IDLE_US = 100, YIELD_IDLE_US = 2 }; /* measured: docs/manual.md */

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
    for (size_t i = 0; i < config_key_count; i++) {
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
    if (cfg->idle_pause != CONFIG_IDLE_AUTO && cfg->mode != CONFIG_MODE_POLL) {
        return config_fail(error, "idle_pause=%s: is for mode=poll, mode=%s sleeps by itself",
                           config_idle_pause_name(cfg->idle_pause), config_mode_name(cfg->mode));
    }
    if (cfg->app == CONFIG_APP_GEN && cfg->qinq != 0 && cfg->vlan == 0) {
        return config_fail(error, "qinq=%u: is the outer tag, the inner one is missing: vlan=",
                           (unsigned)cfg->qinq);
    }
    return ERR_OK;
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

/* What depends on other words when nothing was said of it. */
static void config_fill(struct config *cfg) {
    if (cfg->mode == CONFIG_MODE_POLL && cfg->idle_pause == CONFIG_IDLE_AUTO) {
        cfg->idle_pause = config_is_raw(cfg) ? CONFIG_IDLE_SPIN : CONFIG_IDLE_YIELD;
    }
    if (cfg->idle_us == CONFIG_IDLE_US_AUTO) {
        cfg->idle_us = cfg->mode == CONFIG_MODE_POLL ? YIELD_IDLE_US : ADAPTIVE_IDLE_US;
    }
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
    err = err == ERR_OK ? config_check(cfg, &error) : err;
    config_fill(cfg);
    return err;
}
