#include "drivers/virtio_mmio_find.h"

#include "drivers/acpi_mmio.h"
#include "lib/err.h"
#include "lib/log.h"

#include <string.h>

enum {
    GSI_MAX = 255,
    ID_MAX = 1 << 20,
    WORD_SHOWN = 60,        /* characters of a bad word in its error */
};

struct virtio_mmio_slot virtio_mmio_slots[VIRTIO_MMIO_SLOT_MAX];
unsigned virtio_mmio_slot_count;

static uint64_t window_start, window_end;

/* --- the list ---------------------------------------------------------------------------------- */

/* Why a slot cannot be, NULL when it can. */
static const char *slot_problem(uint64_t base, uint64_t size) {
    if (size < VIRTIO_MMIO_CONFIG) {
        return "the registers of a device take 256 bytes";
    }
    if (base % sizeof(uint32_t) != 0) {
        return "the address is not a multiple of 4";
    }
    if (base < window_start || base >= window_end || size > window_end - base) {
        return "the address is not among those of device registers";
    }
    return NULL;
}

static bool overlaps(const struct virtio_mmio_slot *a, const struct virtio_mmio_slot *b) {
    return a->base < b->base + b->size && b->base < a->base + a->size;
}

/* Keeps the order of addresses. Returns the reason when there is no place for it. */
static const char *slot_add(const struct virtio_mmio_slot *slot) {
    unsigned at = 0;
    if (virtio_mmio_slot_count == VIRTIO_MMIO_SLOT_MAX) {
        return "there are too many devices";
    }
    for (unsigned i = 0; i < virtio_mmio_slot_count; i++) {
        if (overlaps(slot, &virtio_mmio_slots[i])) {
            return "the address is used by another device";
        }
        at += virtio_mmio_slots[i].base < slot->base;
    }
    memmove(&virtio_mmio_slots[at + 1], &virtio_mmio_slots[at],
            (virtio_mmio_slot_count - at) * sizeof(*slot));
    virtio_mmio_slots[at] = *slot;
    virtio_mmio_slot_count++;
    return NULL;
}

/* --- the command line -------------------------------------------------------------------------- */

/* Decimal digits, or hexadecimal ones behind 0x; moves *text behind them. False when there are none or
 * the number is above max. */
static bool parse_number(const char **text, uint64_t max, uint64_t *value) {
    const bool hex = strncmp(*text, "0x", 2) == 0;
    const char *c = *text + (hex ? 2 : 0), *first = c;
    *value = 0;
    for (;; c++) {
        const char lower = (char)(*c | 0x20);
        unsigned digit;
        if (*c >= '0' && *c <= '9') {
            digit = (unsigned)(*c - '0');
        } else if (hex && lower >= 'a' && lower <= 'f') {
            digit = (unsigned)(lower - 'a') + 10;
        } else {
            break;
        }
        *value = *value * (hex ? 16 : 10) + digit;
        if (*value > max) {
            return false;
        }
    }
    *text = c;
    return c != first;
}

/* SIZE@BASE:IRQ[:ID]; SIZE may end with K or M. The ID names a device in Linux and nothing here. */
static bool parse_word(const char **text, uint64_t *size, uint64_t *base, uint64_t *gsi) {
    uint64_t id;
    if (!parse_number(text, UINT32_MAX, size)) {
        return false;
    }
    const char unit = (char)(**text | 0x20);
    if (unit == 'k' || unit == 'm') {
        *size <<= unit == 'k' ? 10 : 20;
        (*text)++;
    }
    if (*(*text)++ != '@' || !parse_number(text, UINT64_MAX >> 8, base) || *(*text)++ != ':' ||
        !parse_number(text, GSI_MAX, gsi)) {
        return false;
    }
    if (**text == ':') {
        (*text)++;
        return parse_number(text, ID_MAX, &id);
    }
    return true;
}

/* The words do not say how the line signals. A level suits both kinds: see drivers/irq.h. */
static int add_word(const char *word, size_t len) {
    uint64_t size, base, gsi;
    const char *text = word;
    const char *problem = "must be SIZE@BASE:IRQ, such as 4K@0xd0000000:5";
    if (parse_word(&text, &size, &base, &gsi) && text == word + len) {
        problem = slot_problem(base, size);
        if (problem == NULL) {
            problem = slot_add(&(struct virtio_mmio_slot){
                .base = base, .size = (uint32_t)size, .line = {.gsi = (uint32_t)gsi}});
        }
    }
    if (problem != NULL) {
        log_error("config: virtio_mmio.device=%.*s: %s",
                  (int)min_u64(len, WORD_SHOWN), word, problem);
        return ERR_CONFIG;
    }
    return ERR_OK;
}

/* --- the tables of ACPI ------------------------------------------------------------------------ */

/* The same device may be in both; then the tables know better how its line signals. */
static void add_acpi(const struct acpi_mmio_device *device) {
    const struct virtio_mmio_slot slot = {
        .base = device->base, .size = device->size, .line = device->line};
    for (unsigned i = 0; i < virtio_mmio_slot_count; i++) {
        struct virtio_mmio_slot *known = &virtio_mmio_slots[i];
        if (known->base == slot.base) {
            if (known->line.gsi == slot.line.gsi) {
                known->line = slot.line;
            }
            return;
        }
    }
    const char *problem = slot_problem(slot.base, slot.size);
    if (problem == NULL) {
        problem = slot_add(&slot);
    }
    if (problem != NULL) {
        log_error("acpi: virtio device at 0x%x: %s; not used", (unsigned)device->base, problem);
    }
}

int virtio_mmio_find(const char *words, uint64_t start, uint64_t end) {
    struct acpi_mmio_device device;
    uint32_t cursor = 0;

    window_start = start;
    window_end = end;
    virtio_mmio_slot_count = 0;
    for (bool more = *words != '\0'; more;) {
        const size_t len = strcspn(words, ",");
        const int err = add_word(words, len);
        if (err != ERR_OK) {
            return err;
        }
        more = words[len] == ',';
        words += len + more;
    }
    while (acpi_mmio_next(&cursor, &device)) {
        add_acpi(&device);
    }
    return ERR_OK;
}
