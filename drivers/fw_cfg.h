/* Files that QEMU shows to its guest: `-fw_cfg name=NAME,string=TEXT` or `file=PATH`, and QEMU's own.
 *
 * QEMU's docs/specs/fw_cfg. A port access can cost tens of microseconds, so only the DMA interface
 * is used: one read tells whether it is there, then one write moves a whole file. The older data register,
 * a byte for each access, is not: a QEMU without DMA (before 2.4) counts as one without the device. */
#ifndef DRIVERS_FW_CFG_H
#define DRIVERS_FW_CFG_H

#include "lib/util.h"

enum { FW_CFG_NAME_MAX = 56 }; /* of a file, the zero included */

struct fw_cfg_file {
    const char *name; /* what to look for */
    uint16_t select;  /* its key, 0: there is no such file */
    uint32_t size;    /* in bytes, as the device says: not to be trusted */
};

/* Looks `count` files up in the device's directory and fills in select and size. Returns ERR_OK whether
 * or not they are there, ERR_ABSENT without a device, ERR_DEVICE when it refuses, or its directory is
 * not sound, ERR_TIMEOUT when it does not answer; then no file counts as found. */
int fw_cfg_find(struct fw_cfg_file *files, unsigned count);

/* Reads the first len bytes of a file that was found; behind its end there are zeroes. ERR_OK, ERR_DEVICE
 * or ERR_TIMEOUT; then what stands in bytes is undefined. */
int fw_cfg_read(const struct fw_cfg_file *file, void *bytes, uint32_t len);

#endif
