/* QEMU's fw_cfg device for tests, as far as its DMA interface goes: a directory and files, and a device that
 * lies, refuses or does not answer. It is behind the ports of tests/unit/seam_io.h; time passes only when the
 * clock is looked at. What a careful driver never does is kept in `violation`, the first of it. */
#ifndef TESTS_MODEL_FW_CFG_H
#define TESTS_MODEL_FW_CFG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FW_CFG_MODEL_FILES = 200, FW_CFG_MODEL_NEVER = -1 };

struct fw_cfg_model_file {
    char name[56]; /* a zero at its end is up to the test */
    uint16_t key;
    uint32_t size; /* in the directory; the data may have another length */
    const void *data;
    uint32_t len;
};

struct fw_cfg_model {
    bool present; /* else ports read as all ones and writes are lost */
    struct fw_cfg_model_file file[FW_CFG_MODEL_FILES];
    unsigned count;
    uint32_t claimed;    /* added to the number of files that the directory has, modulo 2^32 */
    unsigned refuse;     /* 0, or the number of the operation that ends with the error bit */
    int delay_ms;        /* so long an operation takes, or FW_CFG_MODEL_NEVER */
    unsigned accesses;   /* of ports so far */
    unsigned operations;
    const char *violation;
};

extern struct fw_cfg_model fw_cfg_model;

/* A device without files. */
void fw_cfg_model_init(void);

/* Adds a file to the end of the directory; data stays the caller's. */
struct fw_cfg_model_file *fw_cfg_model_add(const char *name, const void *data, uint32_t len);

#endif
