/* Writes one JSON value into a buffer of the caller. No allocation, no floating point.
 *
 *   char text[256];
 *   struct json j;
 *   json_event(&j, text, sizeof(text), "exit");
 *   json_u64(&j, "status", 0);
 *   json_close(&j);
 *   json_print(&j);            {"event":"exit","status":0}
 *
 * `key` is NULL for the outermost value and inside arrays. When the buffer is too small or the
 * nesting too deep, `overflow` is set and the text is no longer extended; json_finish() then
 * returns 0. Keys are trusted, values are escaped. */
#ifndef LIB_JSON_H
#define LIB_JSON_H

#include "lib/util.h"

enum { JSON_DEPTH_MAX = 8 };

struct json {
    char *text;
    size_t size; /* of the buffer, terminating zero included */
    size_t len;
    unsigned depth;
    char closer[JSON_DEPTH_MAX]; /* what closes each open level */
    bool comma;                  /* the next value needs a comma in front */
    bool overflow;
};

void json_begin(struct json *j, char *text, size_t size);
void json_event(struct json *j, char *text, size_t size, const char *event); /* {"event":"... */
void json_object(struct json *j, const char *key);
void json_array(struct json *j, const char *key);
void json_close(struct json *j); /* the innermost open object or array */
void json_string(struct json *j, const char *key, const char *value); /* NULL becomes null */
void json_u64(struct json *j, const char *key, uint64_t value);
void json_hex(struct json *j, const char *key, uint64_t value); /* as the string "0x..." */
void json_bool(struct json *j, const char *key, bool value);

/* Terminates the text and returns its length, 0 when it did not fit or is not closed. */
size_t json_finish(struct json *j);

/* json_finish() and the line on the console; when it did not fit, an error event instead. */
void json_print(struct json *j);

#endif
