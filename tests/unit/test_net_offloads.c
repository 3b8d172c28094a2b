/* guest_offloads=: which receive offloads stay on (CTRL_GUEST_OFFLOADS, 5.1.6.5.6). The device checks the
 * form of the command, and that only what was negotiated is asked for. */
#include "tests/unit/net_life.h"

enum { NO_FEATURE = 95 }; /* a bit that means nothing */

enum { ON = 1u << VIRTIO_NET_F_GUEST_CSUM };

/* The command's mask, 0 without the key: then none is sent. */
static void expect_offloads(const char *list, uint64_t mask) {
    uint64_t sent = 0;
    unsigned count = 0;
    for (unsigned i = 0; i < dev.ctrl.count; i++) {
        const struct virtio_device_command *c = &dev.ctrl.log[i];
        if (c->class == VIRTIO_NET_CTRL_GUEST_OFFLOADS) {
            assert_int_equal(c->command, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET);
            assert_int_equal(c->len, sizeof(sent));
            memcpy(&sent, c->data, sizeof(sent));
            count++;
        }
    }
    assert_int_equal(count, list[0] != '\0' ? 1 + nd->restarts : 0);
    assert_true(sent == mask);
    assert_int_equal(nd->ctrl.errors, 0);
}

/* What is not named is switched off, at the start and after each restart. */
static void test_offloads(void **state) {
    static const struct {
        const char *list;
        uint64_t mask;
    } cases[] = {
        {"", 0},
        {"none", 0},
        {"csum", ON},
        {"csum,tso4", ON | 1u << 7},
        {"tso6,csum", ON | 1u << 8},
        {"csum,uso4", ON | UINT64_C(1) << 54},
        {"csum,tso4,tso6,uso4,uso6", ON | 1u << 7 | 1u << 8 | UINT64_C(3) << 54},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        again(state);
        offer_offloads();
        strcpy(cfg.guest_offloads, cases[i].list);
        tx_begin();
        expect_offloads(cases[i].list, cases[i].mask);
        assert_int_equal(offload_is_on(VIRTIO_NET_F_GUEST_USO6), i == 0 || i == 6);
        restart();
        expect_offloads(cases[i].list, cases[i].mask);
        assert_int_equal(offload_is_on(VIRTIO_NET_F_GUEST_USO6), i == 0 || i == 6);
        expect_traffic();
    }
}

static void expect_refused(void **state, const char *list, unsigned missing, const char *words) {
    again(state);
    offer_offloads();
    virtio_device_offer(&dev, missing, false);
    strcpy(cfg.guest_offloads, list);
    if (probe() != ERR_CONFIG) {
        fail_msg("guest_offloads=%s was accepted without feature %u", list, missing);
    }
    expect_logged("guest_offloads=");
    expect_logged(words);
    assert_int_equal(dev.ctrl.count, 0);
    assert_true(dev.status & VIRTIO_STATUS_FAILED);
}

static void test_bad_offloads(void **state) {
    static const char *const unknown[] = {"tso",  "csum,",      ",csum",     "csum,,tso4", "CSUM",
                                          "ufo",  "csum,none",  "none,csum", "ecn",        "csum;tso4",
                                          "csumm", "guest_csum", "csum,tso",  ","};
    static const struct {
        const char *list;
        uint8_t missing;
        const char *words;
    } cases[] = {
        {"none", VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, "ctrl_guest_offloads is not offered or masked"},
        {"csum", VIRTIO_NET_F_CTRL_VQ, "ctrl_guest_offloads is not offered or masked"},
        {"csum", VIRTIO_NET_F_GUEST_CSUM, "feature guest_csum is not negotiated"},
        {"csum,tso4", VIRTIO_NET_F_GUEST_TSO4, "feature guest_tso4 is not negotiated"},
        {"csum,tso6", VIRTIO_NET_F_GUEST_TSO6, "feature guest_tso6 is not negotiated"},
        {"csum,uso4", VIRTIO_NET_F_GUEST_USO4, "feature guest_uso4 is not negotiated"},
        {"csum,uso6", VIRTIO_NET_F_GUEST_USO6, "feature guest_uso6 is not negotiated"},
        {"csum,tso4", VIRTIO_NET_F_MRG_RXBUF, "feature guest_tso4 is not negotiated"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
        expect_refused(state, unknown[i], NO_FEATURE, "must be none, or some of csum");
    }
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        expect_refused(state, cases[i].list, cases[i].missing, cases[i].words);
    }
    expect_refused(state, "tso4", NO_FEATURE, "the others need csum");
    expect_refused(state, "uso6,tso4", NO_FEATURE, "the others need csum");
}

/* A device that comes back without what the key needs is not driven until it has it again. */
static void test_offloads_lost(void **state) {
    static const uint8_t bits[] = {VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, VIRTIO_NET_F_GUEST_TSO4,
                                   VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_GUEST_CSUM};
    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
        again(state);
        offer_offloads();
        strcpy(cfg.guest_offloads, "csum,tso4");
        tx_begin();
        virtio_device_offer(&dev, bits[i], false);
        virtio_device_need_reset(&dev);
        next_service();
        assert_false(nd->running);
        expect_logged("guest_offloads=");
        offer(bits[i]);
        next_service();
        assert_true(nd->running);
        expect_traffic();
    }
}

int main(void) {
#define NET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NET_CASE(test_offloads),
        NET_CASE(test_bad_offloads),
        NET_CASE(test_offloads_lost),
    };
    return RUN_ON_EACH_BUS("net receive offloads", tests);
}
