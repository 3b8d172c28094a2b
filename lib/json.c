#include "lib/json.h"

#include "lib/log.h"

#include <stdio.h>
#include <string.h>

static void json_put(struct json *j, const char *bytes, size_t count) {
    if (j->overflow || count >= j->size - j->len) {
        j->overflow = true;
        return;
    }
    memcpy(j->text + j->len, bytes, count);
    j->len += count;
}

static void json_put_escaped(struct json *j, const char *value) {
    json_put(j, "\"", 1);
    for (const char *c = value; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte == '"' || byte == '\\') {
            json_put(j, "\\", 1);
            json_put(j, c, 1);
        } else if (byte < 0x20 || byte >= 0x7f) {
            /* Not necessarily UTF-8, so each such byte is written as the character of that number. */
            char escape[8];
            json_put(j, escape, (size_t)snprintf(escape, sizeof(escape), "\\u%04x", byte));
        } else {
            json_put(j, c, 1);
        }
    }
    json_put(j, "\"", 1);
}

/* The comma and the key in front of a value. */
static void json_lead(struct json *j, const char *key) {
    if (j->comma) {
        json_put(j, ",", 1);
    }
    j->comma = true;
    if (key != NULL) {
        json_put(j, "\"", 1);
        json_put(j, key, strlen(key));
        json_put(j, "\":", 2);
    }
}

static void json_open(struct json *j, const char *key, char opener, char closer) {
    json_lead(j, key);
    if (j->depth == JSON_DEPTH_MAX) {
        j->overflow = true;
        return;
    }
    json_put(j, &opener, 1);
    j->closer[j->depth++] = closer;
    j->comma = false;
}

void json_begin(struct json *j, char *text, size_t size) {
    *j = (struct json){.text = text, .size = size, .overflow = size == 0};
}

void json_event(struct json *j, char *text, size_t size, const char *event) {
    json_begin(j, text, size);
    json_object(j, NULL);
    json_string(j, "event", event);
}

void json_object(struct json *j, const char *key) {
    json_open(j, key, '{', '}');
}

void json_array(struct json *j, const char *key) {
    json_open(j, key, '[', ']');
}

void json_close(struct json *j) {
    if (j->depth == 0) {
        j->overflow = true;
        return;
    }
    json_put(j, &j->closer[--j->depth], 1);
    j->comma = true;
}

void json_string(struct json *j, const char *key, const char *value) {
    json_lead(j, key);
    if (value == NULL) {
        json_put(j, "null", 4);
    } else {
        json_put_escaped(j, value);
    }
}

static void json_number(struct json *j, const char *key, const char *format, uint64_t value) {
    char digits[24];
    json_lead(j, key);
    int count = snprintf(digits, sizeof(digits), format, (unsigned long long)value);
    json_put(j, digits, (size_t)count);
}

void json_u64(struct json *j, const char *key, uint64_t value) {
    json_number(j, key, "%llu", value);
}

void json_hex(struct json *j, const char *key, uint64_t value) {
    json_number(j, key, "\"0x%llx\"", value);
}

void json_bool(struct json *j, const char *key, bool value) {
    json_lead(j, key);
    json_put(j, value ? "true" : "false", value ? 4 : 5);
}

size_t json_finish(struct json *j) {
    if (j->overflow || j->depth != 0) {
        return 0;
    }
    j->text[j->len] = '\0'; /* json_put() keeps the last byte free */
    return j->len;
}

void json_print(struct json *j) {
    size_t len = json_finish(j);
    if (len == 0) {
        static const char message[] = "{\"event\":\"error\",\"reason\":\"a line did not fit\"}\n";
        log_bytes(message, sizeof(message) - 1);
        return;
    }
    j->text[len] = '\n'; /* the terminating zero's place */
    log_bytes(j->text, len + 1);
    j->text[len] = '\0';
}
