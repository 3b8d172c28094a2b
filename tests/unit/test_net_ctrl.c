/* The control queue of virtio-net (5.1.6.5): which commands are sent when, and answers of all kinds. The
 * device checks the form of each and whether it was negotiated. */
#include "tests/unit/net_life.h"

#include <stdio.h>

/* A command as "CLASS.COMMAND BYTES", in hexadecimal. */
static const char *command_text(unsigned i, char text[64]) {
    const struct virtio_device_command *c = &dev.ctrl.log[i % COMMAND_LOG];
    int len = snprintf(text, 64, "%u.%u", c->class, c->command);
    for (size_t k = 0; k < c->len; k++) {
        len += snprintf(text + len, 64 - (size_t)len, k == 0 ? " %02x" : "%02x", c->data[k]);
    }
    return text;
}

/* The commands since `from` are these and no others; a list that ends with NULL. */
static void expect_commands(unsigned from, const char *const *expected) {
    char text[64];
    unsigned i = from;
    for (; *expected != NULL; expected++, i++) {
        assert_true(i < dev.ctrl.count);
        assert_string_equal(command_text(i, text), *expected);
    }
    assert_int_equal(dev.ctrl.count, i);
    expect_no_violation();
}
#define EXPECT_COMMANDS(from, ...) expect_commands(from, (const char *const[]){__VA_ARGS__, NULL})

/* --- what is sent ----------------------------------------------------------------------------- */

/* All multicast, since lwIP knows the groups; not promiscuous. After a restart again (5.1.6.5.1). */
static void test_rx_mode(void **state) {
    (void)state;
    offer_ctrl();
    tx_begin();
    EXPECT_COMMANDS(0, "0.0 00", "0.1 01");
    assert_true(dev.ctrl.allmulti && !dev.ctrl.promisc);
    nd->ctrl.promiscuous = true;
    restart();
    EXPECT_COMMANDS(2, "0.0 01", "0.1 01");
    expect_traffic();
    assert_int_equal(nd->ctrl.errors, 0);
}

/* What was negotiated decides, in all combinations: the device checks each command's feature. */
static void test_gates(void **state) {
    static const uint8_t bits[] = {VIRTIO_NET_F_CTRL_VQ,   VIRTIO_NET_F_CTRL_RX,
                                   VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_F_CTRL_MAC_ADDR,
                                   VIRTIO_NET_F_NOTF_COAL, VIRTIO_NET_F_VQ_NOTF_COAL};
    for (unsigned set = 0; set < 1u << ARRAY_SIZE(bits); set++) {
        again(state);
        for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
            virtio_device_offer(&dev, bits[i], set & 1u << i);
        }
        const bool ctrl = set & 1, rx = ctrl && (set & 2), vlan = ctrl && (set & 4),
                   mac = rx && (set & 8), coal = ctrl && (set & 0x30);
        cfg.vlan = 9;
        strcpy(cfg.mac, mac ? "02:00:00:00:00:07" : "");
        strcpy(cfg.coalesce, coal ? "rx:1,2;tx:3,4" : "");
        tx_begin();
        assert_int_equal(dev.ctrl.count, 2u * rx + vlan + mac + 2u * coal);
        assert_int_equal(dev.queue[CTRL].enabled, ctrl);
        expect_traffic();
    }
}

static void test_vlan(void **state) {
    (void)state;
    offer_ctrl();
    cfg.vlan = 0x123;
    tx_begin();
    EXPECT_COMMANDS(0, "0.0 00", "0.1 01", "2.0 2301");
    restart();
    EXPECT_COMMANDS(3, "0.0 00", "0.1 01", "2.0 2301"); /* the filter starts empty (5.1.6.5.3) */
    assert_int_equal(dev.ctrl.vlan_count, 1);
    assert_int_equal(dev.ctrl.vlan[0], 0x123);
    /* A tagged frame may be as much longer. */
    assert_true(send_frame(0, FRAME_MAX + 4, 1));
    assert_false(send_frame(1, FRAME_MAX + 5, 1));
}

/* --- mac= ------------------------------------------------------------------------------------- */

static void test_mac(void **state) {
    static const uint8_t mac[] = {0x02, 0xab, 0xcd, 0xef, 0x00, 0x01};
    (void)state;
    offer_ctrl();
    strcpy(cfg.mac, "02:ab:CD:eF:00:01");
    tx_begin();
    EXPECT_COMMANDS(0, "1.1 02abcdef0001", "0.0 00", "0.1 01");
    assert_memory_equal(nd->mac, mac, 6);
    restart();
    assert_memory_equal(nd->mac, mac, 6);
    assert_memory_equal(dev.ctrl.mac, mac, 6);
    EXPECT_COMMANDS(3, "1.1 02abcdef0001", "0.0 00", "0.1 01");
}

/* One for each device in PCI order; an empty place leaves the device its own. */
static void test_mac_list(void **state) {
    static const struct {
        const char *list;
        uint8_t last[2];
        unsigned sent[2];
    } cases[] = {
        {"02:00:00:00:00:a1,02:00:00:00:00:a2", {0xa1, 0xa2}, {1, 1}},
        {"02:00:00:00:00:a1", {0xa1, 3}, {1, 0}},
        {",02:00:00:00:00:a2", {2, 0xa2}, {0, 1}},
        {"02:00:00:00:00:a1,", {0xa1, 3}, {1, 0}},
        {",", {2, 3}, {0, 0}},
        {"", {2, 3}, {0, 0}},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        again(state);
        offer_ctrl();
        add_second_device(false);
        memcpy(dev2.offered, dev.offered, sizeof(dev.offered));
        strcpy(cfg.mac, cases[i].list);
        const int err = probe();
        expect_no_error();
        assert_int_equal(err, ERR_OK);
        assert_int_equal(net_dev_count, 2);
        for (unsigned k = 0; k < 2; k++) {
            const struct virtio_device *d = k == 0 ? &dev : &dev2;
            assert_int_equal(net_devs[k].mac[5], cases[i].last[k]);
            assert_int_equal(d->ctrl.has_mac, cases[i].sent[k]);
            assert_int_equal(d->ctrl.count, 2 + cases[i].sent[k]);
        }
    }
}

static void test_bad_mac(void **state) {
    static const char *const bad[] = {
        "02:00:00:00:00",      "02:00:00:00:00:",      "02:00:00:00:00:1",   "02:00:00:00:00:001",
        "02-00-00-00-00-01",   "02:00:00:00:00:0g",    "2:0:0:0:0:1",        "020000000001",
        "01:00:00:00:00:01",   "ff:ff:ff:ff:ff:ff",    "00:00:00:00:00:00",  "02:00:00:00:00:01 ",
        "02:00:00:00:00:01;",  " 02:00:00:00:00:01",   "02:00:00:00:00:01:02", "0x:00:00:00:00:01",
        "auto",                "02:00:00:00:00:0\xc3", "0:2:00:00:00:00:01", ":::::"};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        again(state);
        offer_ctrl();
        strcpy(cfg.mac, bad[i]);
        if (probe() != ERR_CONFIG) {
            fail_msg("mac=%s was accepted", bad[i]);
        }
        expect_logged("mac=");
        assert_true(dev.status & VIRTIO_STATUS_FAILED);
        assert_int_equal(dev.ctrl.count, 0);
    }
    again(state);
    offer_ctrl();
    strcpy(cfg.mac, "02:00:00:00:00:01,02:00:00:00:00:02");
    assert_int_equal(probe(), ERR_CONFIG);
    expect_logged("mac=: 2 addresses for 1 network devices");
    for (unsigned bit = VIRTIO_NET_F_CTRL_VQ; bit != 0; /* in turn: 17, 18, 23 */
         bit = bit == VIRTIO_NET_F_CTRL_VQ   ? VIRTIO_NET_F_CTRL_RX
               : bit == VIRTIO_NET_F_CTRL_RX ? VIRTIO_NET_F_CTRL_MAC_ADDR
                                             : 0) {
        again(state);
        offer_ctrl();
        virtio_device_offer(&dev, bit, false);
        strcpy(cfg.mac, "02:00:00:00:00:01");
        assert_int_equal(probe(), ERR_CONFIG);
        expect_logged("mac=: feature ctrl_mac_addr is not offered or masked");
    }
}

/* A device that gives no address is told the made-up one, the same after each restart (5.1.6.5.2.2). */
static void test_made_up_mac(void **state) {
    uint8_t mac[6];
    (void)state;
    offer_ctrl();
    virtio_device_offer(&dev, VIRTIO_NET_F_MAC, false);
    tx_begin();
    memcpy(mac, nd->mac, 6);
    assert_int_equal(mac[0] & 3, 2);
    assert_memory_equal(dev.ctrl.mac, mac, 6);
    restart();
    assert_memory_equal(nd->mac, mac, 6);
    assert_memory_equal(dev.ctrl.mac, mac, 6);
    assert_int_equal(dev.ctrl.count, 6);
}

/* --- coalesce= -------------------------------------------------------------------------------- */

static void expect_coalesce(const char *key, bool global, bool single) {
    const bool rx = strstr(key, "rx") != NULL, tx = strstr(key, "tx") != NULL;
    const struct virtio_device_coalesce *c = dev.ctrl.coalesce;
    assert_int_equal(c[RX].usecs, rx ? 16 : 0);
    assert_int_equal(c[RX].packets, rx ? 8 : 0);
    assert_int_equal(c[TX].usecs, tx ? UINT32_MAX : 0);
    assert_int_equal(c[TX].packets, 0);
    for (unsigned i = 0; i < dev.ctrl.count; i++) {
        const struct virtio_device_command *sent = &dev.ctrl.log[i];
        assert_true(sent->class != 6 || (sent->command <= 1 ? global : single && !global));
    }
}

static void test_coalesce(void **state) {
    static const char *const forms[] = {"rx:16,8", "tx:4294967295,0", "rx:16,8;tx:4294967295,0",
                                        "tx:4294967295,0;rx:16,8"};
    for (unsigned i = 0; i < 3 * ARRAY_SIZE(forms); i++) {
        const char *form = forms[i % ARRAY_SIZE(forms)];
        const bool global = i / ARRAY_SIZE(forms) != 1, single = i / ARRAY_SIZE(forms) != 0;
        again(state);
        offer_ctrl();
        virtio_device_offer(&dev, VIRTIO_NET_F_NOTF_COAL, global);
        virtio_device_offer(&dev, VIRTIO_NET_F_VQ_NOTF_COAL, single);
        strcpy(cfg.coalesce, form);
        tx_begin();
        expect_coalesce(form, global, single);
        restart();
        expect_coalesce(form, global, single);
        expect_traffic();
    }
}

/* The structures of 5.1.6.5.7, byte by byte: frames first, then microseconds. */
static void test_coalesce_bytes(void **state) {
    offer_ctrl();
    strcpy(cfg.coalesce, "rx:258,3;tx:4,5");
    tx_begin();
    EXPECT_COMMANDS(0, "0.0 00", "0.1 01", "6.1 0300000002010000", "6.0 0500000004000000");
    again(state);
    offer_ctrl();
    virtio_device_offer(&dev, VIRTIO_NET_F_NOTF_COAL, false);
    offer(VIRTIO_NET_F_VQ_NOTF_COAL);
    strcpy(cfg.coalesce, "rx:258,3;tx:4,5");
    tx_begin();
    EXPECT_COMMANDS(0, "0.0 00", "0.1 01", "6.2 000000000300000002010000",
                    "6.2 010000000500000004000000");
}

static void test_bad_coalesce(void **state) {
    static const char *const bad[] = {"rx",          "rx:",         "rx:1",         "rx:1,",
                                      "rx:,1",       "rx:1,2;",     "rx:1,2;rx:1,2", "tx:1,2;tx:3,4",
                                      "rx:1,2,tx:3,4", "rx:1,2;;tx:3,4", "rx=1,2",  "rx:1,2 ",
                                      " rx:1,2",     "rx:-1,2",     "rx:4294967296,1",
                                      "rx:1,4294967296", "rx:99999999999999999999,1", "RX:1,2",
                                      ";rx:1,2",     "rx:1x,2",     "rx:1,2x",      "8,16",
                                      "rx:1,2;tx:3,4;rx:5,6", ":1,2", ";"};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        again(state);
        offer_ctrl();
        strcpy(cfg.coalesce, bad[i]);
        if (probe() != ERR_CONFIG) {
            fail_msg("coalesce=%s was accepted", bad[i]);
        }
        expect_logged("coalesce=");
    }
    again(state);
    offer_ctrl();
    virtio_device_offer(&dev, VIRTIO_NET_F_NOTF_COAL, false);
    strcpy(cfg.coalesce, "rx:1,2");
    assert_int_equal(probe(), ERR_CONFIG);
    expect_logged("coalesce=: features notf_coal and vq_notf_coal are not offered or masked");
}

/* --- announcing ------------------------------------------------------------------------------- */

/* 5.1.6.5.4: asked for by a bit of the status, until it is acknowledged. */
static void test_announce(void **state) {
    (void)state;
    offer_ctrl();
    tx_begin();
    assert_int_equal(service(), 0);
    virtio_device_configure(&dev, STATUS_OFF, LINK_UP | ANNOUNCE);
    assert_int_equal(service(), NET_ANNOUNCE);
    assert_int_equal(service(), NET_ANNOUNCE); /* not done yet */
    net_announced(nd);
    EXPECT_COMMANDS(2, "3.0");
    assert_int_equal(dev.config[STATUS_OFF], LINK_UP);
    assert_int_equal(service(), 0);
    /* Together with the link. */
    virtio_device_configure(&dev, STATUS_OFF, ANNOUNCE);
    assert_int_equal(service(), NET_ANNOUNCE | NET_CHANGED);
    assert_false(nd->link_up);
    net_announced(nd);
    virtio_device_configure(&dev, STATUS_OFF, LINK_UP);
    assert_int_equal(service(), NET_CHANGED);
    expect_traffic();
}

/* Not negotiated: the bit means nothing, and nothing is acknowledged. */
static void test_announce_needs_its_feature(void **state) {
    (void)state;
    offer_ctrl();
    virtio_device_offer(&dev, VIRTIO_NET_F_GUEST_ANNOUNCE, false);
    tx_begin();
    virtio_device_configure(&dev, STATUS_OFF, LINK_UP | ANNOUNCE);
    assert_int_equal(service(), 0);
    assert_int_equal(dev.ctrl.count, 2);
}

int main(void) {
#define NET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NET_CASE(test_rx_mode),
        NET_CASE(test_gates),
        NET_CASE(test_vlan),
        NET_CASE(test_mac),
        NET_CASE(test_mac_list),
        NET_CASE(test_bad_mac),
        NET_CASE(test_made_up_mac),
        NET_CASE(test_coalesce),
        NET_CASE(test_coalesce_bytes),
        NET_CASE(test_bad_coalesce),
        NET_CASE(test_announce),
        NET_CASE(test_announce_needs_its_feature),
    };
    return RUN_ON_EACH_BUS("net control queue", tests);
}
