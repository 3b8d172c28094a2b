/* A virtio device on PCI that watches every register access, and the transport that drives it. */
#ifndef TESTS_UNIT_VIRTIO_RIG_H
#define TESTS_UNIT_VIRTIO_RIG_H

#include "tests/unit/unit.h"

#include "drivers/clock.h"
#include "drivers/virtio_pci.h"
#include "lib/err.h"
#include "tests/model/virtio_device.h"
#include "tests/unit/capture.h"
#include "tests/unit/machine.h"

enum { BAR_ADDR = 0xc0000000 };

static struct virtio_device dev;
static struct virtio_pci pci;
static uint64_t now_us;

/* Time passes as the driver looks at it. */
uint64_t clock_us(void) {
    return now_us += 100;
}

uint64_t clock_ms(void) {
    return clock_us() / 1000;
}

static inline int set_up(void **state) {
    (void)state;
    machine_init();
    virtio_device_add(&dev, 2, BAR_ADDR);
    now_us = 0;
    capture_begin();
    return 0;
}

static inline int tear_down(void **state) {
    (void)state;
    virtio_device_fini(&dev);
    return 0;
}

/* Finds the function as the kernel does, then its areas. */
static inline int find_areas(void) {
    const struct pci_windows windows = machine_windows();
    assert_int_equal(pci_init(&windows), ERR_OK);
    assert_int_equal(pci_dev_count, 2);
    return virtio_pci_init(&pci, &pci_devs[1]);
}

static inline void expect_no_violation(void) {
    if (pci_bus.violation != NULL || dev.violation != NULL) {
        fail_msg("%s", pci_bus.violation != NULL ? pci_bus.violation : dev.violation);
    }
}

/* Up to the point where features are settled. */
static inline void negotiate(void) {
    const struct virtio_features accepted = {.word = {[1] = 1}};
    virtio_device_add_caps(&dev);
    assert_int_equal(find_areas(), ERR_OK);
    assert_int_equal(virtio_dev_reset(&pci.dev), ERR_OK);
    virtio_dev_add_status(&pci.dev, VIRTIO_STATUS_ACKNOWLEDGE);
    virtio_dev_add_status(&pci.dev, VIRTIO_STATUS_DRIVER);
    assert_int_equal(virtio_dev_accept(&pci.dev, &accepted), ERR_OK);
}

#endif
