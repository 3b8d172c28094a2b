#include "boot/load_options.h"

struct load_options {
    const uint8_t *bytes; /* not aligned */
    size_t length;        /* in characters */
};

/* The character at `at`; 0 at the end and behind it. */
static uint16_t option_char(const struct load_options *options, size_t at) {
    return at < options->length
               ? (uint16_t)(options->bytes[2 * at] | options->bytes[2 * at + 1] << 8)
               : 0;
}

static bool is_blank(uint16_t c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static size_t skip_blanks(const struct load_options *options, size_t at) {
    while (is_blank(option_char(options, at))) {
        at++;
    }
    return at;
}

/* Where the first word of key=value begins. */
static size_t skip_image_name(const struct load_options *options) {
    const size_t start = skip_blanks(options, 0);
    bool quoted = false;
    size_t at = start;
    for (uint16_t c; (c = option_char(options, at)) != 0 && (quoted || !is_blank(c)); at++) {
        if (c == '=') {
            return start;
        }
        quoted ^= c == '"';
    }
    return skip_blanks(options, at);
}

bool load_options_text(const void *bytes, size_t size, char *text, size_t text_size) {
    const struct load_options options = {bytes, bytes != NULL ? size / 2 : 0};
    size_t used = 0;
    for (size_t at = skip_image_name(&options); option_char(&options, at) != 0; at++) {
        const uint16_t c = option_char(&options, at);
        if (used + 1 == text_size) {
            text[used] = '\0';
            return false;
        }
        text[used++] = is_blank(c) ? ' ' : c > ' ' && c <= '~' ? (char)c : '?';
    }
    text[used] = '\0';
    return true;
}
