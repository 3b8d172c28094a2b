#include "tests/model/fw_cfg.h"

#include "drivers/clock.h"
#include "tests/unit/seam_io.h"

#include <string.h>

enum {
    ADDRESS_HIGH = 0x514,
    ADDRESS_LOW = 0x518,
    CONTROL_ERROR = 1,
    CONTROL_READ = 2,
    CONTROL_SELECT = 8,
    KEY_DIRECTORY = 0x19,
    KEY_FIRST = 0x20,
    ENTRY_LEN = 64,
};

struct fw_cfg_model fw_cfg_model;

static struct {
    uint64_t address; /* the register */
    uint16_t key;
    uint32_t off;
    uint8_t *access;   /* under way: FWCfgDmaAccess in the driver's memory */
    uint64_t ready_ms; /* when it will be done */
    uint64_t now_ms;
} device;

static void violated(const char *what) {
    if (fw_cfg_model.violation == NULL) {
        fw_cfg_model.violation = what;
    }
}

static uint64_t get_big(const uint8_t *at, unsigned len) {
    uint64_t value = 0;
    for (unsigned i = 0; i < len; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static void put_big(uint8_t *at, unsigned len, uint64_t value) {
    for (unsigned i = 0; i < len; i++) {
        at[i] = (uint8_t)(value >> 8 * (len - 1 - i));
    }
}

static uint8_t directory_byte(uint32_t off) {
    uint8_t entry[ENTRY_LEN] = {0};
    if (off < 4) {
        put_big(entry, 4, fw_cfg_model.count + fw_cfg_model.claimed);
        return entry[off];
    }
    const uint32_t index = (off - 4) / ENTRY_LEN;
    if (index >= fw_cfg_model.count) {
        return 0;
    }
    const struct fw_cfg_model_file *file = &fw_cfg_model.file[index];
    put_big(entry, 4, file->size);
    put_big(entry + 4, 2, file->key);
    memcpy(entry + 8, file->name, sizeof(file->name));
    return entry[(off - 4) % ENTRY_LEN];
}

/* Of the selected item; behind its end there are zeroes. */
static uint8_t item_byte(uint32_t off) {
    if (device.key == KEY_DIRECTORY) {
        return directory_byte(off);
    }
    for (unsigned i = 0; i < fw_cfg_model.count; i++) {
        const struct fw_cfg_model_file *file = &fw_cfg_model.file[i];
        if (file->key == device.key) {
            return off < file->len ? ((const uint8_t *)file->data)[off] : 0;
        }
    }
    return 0;
}

static void finish(void) {
    uint8_t *access = device.access;
    const uint32_t control = (uint32_t)get_big(access, 4);
    const uint32_t len = (uint32_t)get_big(access + 4, 4);
    uint8_t *to = (uint8_t *)(uintptr_t)get_big(access + 8, 8);
    device.access = NULL;
    if (fw_cfg_model.operations == fw_cfg_model.refuse) {
        put_big(access, 4, CONTROL_ERROR);
        return;
    }
    if (control & CONTROL_SELECT) {
        device.key = (uint16_t)(control >> 16);
        device.off = 0;
    }
    for (uint32_t i = 0; i < len; i++) {
        to[i] = item_byte(device.off++);
    }
    put_big(access, 4, 0);
}

static void start(uint64_t address) {
    device.access = (uint8_t *)(uintptr_t)address;
    const uint32_t control = (uint32_t)get_big(device.access, 4);
    if ((control & 0xffff & ~CONTROL_SELECT) != CONTROL_READ) {
        violated("another operation than reading");
    }
    if (!(control & CONTROL_SELECT) && control >> 16 != 0) {
        violated("a key without SELECT");
    }
    fw_cfg_model.operations++;
    device.ready_ms = device.now_ms + (uint64_t)fw_cfg_model.delay_ms;
    if (fw_cfg_model.delay_ms == 0) {
        finish();
    }
}

uint32_t io_read32(uint16_t port) {
    fw_cfg_model.accesses++;
    if (port != ADDRESS_HIGH) {
        violated("a read of another port than that of the signature");
    }
    uint32_t value = UINT32_MAX;
    if (fw_cfg_model.present) {
        memcpy(&value, "QEMU", 4);
    }
    return value;
}

void io_write32(uint16_t port, uint32_t value) {
    const uint32_t big = __builtin_bswap32(value);
    fw_cfg_model.accesses++;
    if (!fw_cfg_model.present) {
        violated("a write without a device");
    } else if (device.access != NULL) {
        violated("an operation during another one");
    } else if (port == ADDRESS_HIGH) {
        device.address = (uint64_t)big << 32;
    } else if (port == ADDRESS_LOW) {
        const uint64_t address = device.address | big;
        device.address = 0;
        start(address);
    } else {
        violated("a write to another port");
    }
}

uint64_t clock_ms(void) {
    device.now_ms++;
    if (device.access != NULL && fw_cfg_model.delay_ms >= 0 && device.now_ms >= device.ready_ms) {
        finish();
    }
    return device.now_ms;
}

void fw_cfg_model_init(void) {
    memset(&device, 0, sizeof(device));
    memset(&fw_cfg_model, 0, sizeof(fw_cfg_model));
    fw_cfg_model.present = true;
}

struct fw_cfg_model_file *fw_cfg_model_add(const char *name, const void *data, uint32_t len) {
    struct fw_cfg_model_file *file = &fw_cfg_model.file[fw_cfg_model.count];
    *file = (struct fw_cfg_model_file){
        .key = (uint16_t)(KEY_FIRST + fw_cfg_model.count), .size = len, .data = data, .len = len};
    memcpy(file->name, name, strlen(name)); /* the rest is zeroes */
    fw_cfg_model.count++;
    return file;
}
