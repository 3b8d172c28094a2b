#include "drivers/fw_cfg.h"

#include "drivers/clock.h"
#include "lib/assert.h"
#include "lib/dma.h"
#include "lib/err.h"
#include "lib/io.h"

#include <string.h>

/* The address register is big endian: its upper half comes first, a write to its lower half starts the
 * operation. It is 0 after each, so an upper half of 0 need not be written. */
enum {
    PORT_DMA_HIGH = 0x514,
    PORT_DMA_LOW = 0x518,
    CONTROL_ERROR = 1 << 0,
    CONTROL_READ = 1 << 1,
    CONTROL_SELECT = 1 << 3, /* the key is in the upper 16 bits */
    KEY_DIRECTORY = 0x19,
    KEY_FILE_FIRST = 0x20,
    FILES_MAX = 0x4000 - KEY_FILE_FIRST, /* keys that there can be */
    FILES_AT_ONCE = 63,                  /* QEMU has 32 unless told otherwise */
    TIMEOUT_MS = 1000,
};

/* FWCfgDmaAccess, FWCfgFile and FWCfgFiles of the specification; every number is big endian. */
struct dma_access {
    uint32_t control;
    uint32_t length;
    uint64_t address;
};

struct directory_entry {
    uint32_t size;
    uint16_t select;
    uint16_t reserved;
    char name[FW_CFG_NAME_MAX];
};
_Static_assert(sizeof(struct directory_entry) == 64, "size in the specification");

struct directory {
    uint32_t count;
    struct directory_entry entry[FILES_AT_ONCE];
};

static uint32_t be32(uint32_t value) {
    return __builtin_bswap32(value);
}

static bool fw_cfg_present(void) {
    const uint32_t present = io_read32(PORT_DMA_HIGH);
    return memcmp(&present, "QEMU", sizeof(present)) == 0;
}

/* One DMA operation. QEMU has finished it when the write returns; the specification does not promise
 * that, so it is waited for. */
static int fw_cfg_dma(uint32_t control, void *bytes, uint32_t len) {
    static struct dma_access access; /* static: after a timeout the device may still write here */
    access.control = be32(control);
    access.length = be32(len);
    access.address = __builtin_bswap64(dma_addr_of(bytes).v);

    const dma_addr at = dma_addr_of(&access);
    if (at.v >> 32 != 0) {
        io_write32(PORT_DMA_HIGH, be32((uint32_t)(at.v >> 32)));
    }
    io_write32(PORT_DMA_LOW, be32((uint32_t)at.v));

    const uint64_t end = clock_ms() + TIMEOUT_MS;
    uint32_t left;
    while ((left = be32(__atomic_load_n(&access.control, __ATOMIC_ACQUIRE))) != 0) {
        if (left & CONTROL_ERROR) {
            return ERR_DEVICE;
        }
        if (clock_ms() > end) {
            return ERR_TIMEOUT;
        }
    }
    return ERR_OK;
}

static int fw_cfg_match(struct fw_cfg_file *files, unsigned count,
                        const struct directory_entry *entry) {
    for (unsigned i = 0; i < count; i++) {
        if (files[i].select != 0 || strncmp(files[i].name, entry->name, FW_CFG_NAME_MAX) != 0) {
            continue;
        }
        files[i].select = __builtin_bswap16(entry->select);
        files[i].size = be32(entry->size);
        if (files[i].select < KEY_FILE_FIRST) {
            return ERR_DEVICE;
        }
    }
    return ERR_OK;
}

/* The directory can be longer than the buffer: it is read in pieces, the first with the count. */
static int fw_cfg_search(struct fw_cfg_file *files, unsigned count) {
    static struct directory directory;
    int err = fw_cfg_dma(KEY_DIRECTORY << 16 | CONTROL_SELECT | CONTROL_READ, &directory,
                         sizeof(directory));
    const uint32_t total = be32(directory.count);
    if (err == ERR_OK && total > FILES_MAX) {
        return ERR_DEVICE;
    }
    for (uint32_t i = 0; i < total && err == ERR_OK; i++) {
        const uint32_t at = i % FILES_AT_ONCE;
        if (i != 0 && at == 0) {
            err = fw_cfg_dma(CONTROL_READ, directory.entry, sizeof(directory.entry));
        }
        if (err == ERR_OK) {
            err = fw_cfg_match(files, count, &directory.entry[at]);
        }
    }
    return err;
}

int fw_cfg_find(struct fw_cfg_file *files, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        ASSERT(strlen(files[i].name) < FW_CFG_NAME_MAX);
        files[i].select = 0;
        files[i].size = 0;
    }
    const int err = fw_cfg_present() ? fw_cfg_search(files, count) : ERR_ABSENT;
    for (unsigned i = 0; i < count && err != ERR_OK; i++) {
        files[i].select = 0;
    }
    return err;
}

int fw_cfg_read(const struct fw_cfg_file *file, void *bytes, uint32_t len) {
    ASSERT(file->select != 0);
    return fw_cfg_dma((uint32_t)file->select << 16 | CONTROL_SELECT | CONTROL_READ, bytes, len);
}
