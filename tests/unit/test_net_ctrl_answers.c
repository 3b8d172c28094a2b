/* How devices answer the commands of the control queue: late, with a refusal, with nonsense, never. */
#include "tests/unit/net_life.h"

#include <stdio.h>

enum { RX_MODE = 0, MAC = 1, VLAN = 2, ACK = 3, OFFLOADS = 5, COAL = 6 };

static void ask_for_all(void) {
    offer_ctrl();
    offer_offloads();
    strcpy(cfg.mac, "02:00:00:00:00:07");
    strcpy(cfg.guest_offloads, "csum,tso6");
    strcpy(cfg.coalesce, "rx:1,2;tx:3,4");
    cfg.vlan = 5;
}

enum { COMMANDS = 7 }; /* of that */

static void answer(uint8_t class, enum virtio_device_answer how) {
    dev.ctrl.answer_class = class;
    dev.ctrl.answer = how;
}

/* --- good answers ----------------------------------------------------------------------------- */

/* Around the ring, in each layout: a small queue, positions in doorbells, all kinds of wishes for
 * them. */
static void test_many_commands(void **state) {
    static const uint16_t sizes[] = {2, 3, 4, 5, 16, 256};
    for (unsigned i = 0; i < ARRAY_SIZE(sizes) * 4 * 2 * 2; i++) {
        const enum vq_layout layout = i % 4;
        const uint16_t size = sizes[i / 16];
        if (!vq_is_packed(layout) && (size & (size - 1)) != 0) {
            continue;
        }
        again(state);
        offer_ctrl();
        offer_layout(layout);
        virtio_device_offer(&dev, VIRTIO_F_EVENT_IDX, i / 4 % 2);
        virtio_device_offer(&dev, VIRTIO_F_NOTIFICATION_DATA, i / 8 % 2);
        dev.queue[CTRL].max = size;
        tx_begin();
        assert_int_equal(dev.queue[CTRL].size, size < 16 ? size : 16);
        for (unsigned n = 0; n < 50; n++) {
            virtio_device_configure(&dev, STATUS_OFF, LINK_UP | ANNOUNCE);
            assert_int_equal(service(), NET_ANNOUNCE);
            net_announced(nd);
            assert_int_equal(dev.config[STATUS_OFF], LINK_UP);
            vq_check(&nd->ctrl.queue.vq);
        }
        assert_int_equal(dev.ctrl.count, 52);
        assert_int_equal(nd->ctrl.errors, 0);
        expect_traffic();
    }
}

static unsigned ticks_left;

/* The device polls by itself, or takes its time. */
static void answer_later(void) {
    if (ticks_left > 0 && --ticks_left == 0) {
        virtio_device_ctrl_run(&dev);
        ticks_left = 50;
    }
}

static void test_late_answers(void **state) {
    (void)state;
    ask_for_all();
    dev.ctrl.waits = true;
    on_tick = answer_later;
    ticks_left = 50;
    tx_begin();
    assert_int_equal(dev.ctrl.count, COMMANDS);
    assert_int_equal(nd->ctrl.errors, 0);
    /* It wanted a doorbell for the first command only, and none was rung for the others. */
    assert_int_equal(dev.queue[CTRL].doorbells, 1);
    assert_int_equal(nd->ctrl.queue.stats.kicks, 1);
    on_tick = NULL;
    dev.ctrl.waits = false;
    expect_traffic();
}

/* The driver is no slower than the clock allows, and not faster: 1 s for one command. */
static void test_time_limit(void **state) {
    (void)state;
    offer_ctrl();
    tx_begin();
    virtio_device_configure(&dev, STATUS_OFF, LINK_UP | ANNOUNCE);
    answer(CLASS_ANY, ANSWER_NOTHING);
    const uint64_t before = now_us;
    net_announced(nd);
    assert_true(now_us - before >= 1000 * 1000 && now_us - before < 1100 * 1000);
    assert_int_equal(nd->ctrl.errors, 1);
    expect_logged("control command 3.0: no answer");
    /* Nothing more goes into that queue, and nothing waits for it, until the restart. */
    const uint64_t after = now_us;
    net_announced(nd);
    assert_true(now_us - after < 10 * 1000);
    assert_int_equal(dev.ctrl.count, 3);
    answer(CLASS_ANY, ANSWER_WELL);
    assert_int_equal(service(), NET_CHANGED);
    assert_int_equal(nd->restarts, 1);
    assert_int_equal(dev.ctrl.count, 5);
    expect_traffic();
    assert_int_equal(service(), NET_ANNOUNCE); /* the request is still there */
}

/* --- refusals --------------------------------------------------------------------------------- */

/* At start: what the user asked for is an error; a filter that stays open is not. */
static void test_refusals_at_start(void **state) {
    static const struct {
        uint8_t class;
        int err;
    } cases[] = {{RX_MODE, ERR_OK},
                 {MAC, ERR_CONFIG},
                 {VLAN, ERR_CONFIG},
                 {OFFLOADS, ERR_CONFIG},
                 {COAL, ERR_CONFIG}};
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
        const bool garbage = i >= ARRAY_SIZE(cases);
        const uint8_t class = cases[i % ARRAY_SIZE(cases)].class;
        const int err = cases[i % ARRAY_SIZE(cases)].err;
        char words[40];
        again(state);
        ask_for_all();
        answer(class, garbage ? ANSWER_GARBAGE : ANSWER_ERR);
        assert_int_equal(probe(), err);
        snprintf(words, sizeof(words), "control command %u.", class);
        expect_logged(words);
        expect_logged("refused by the device");
        assert_int_equal(nd->ctrl.errors, class == RX_MODE ? 2 : 1);
        assert_int_equal(dev.status & VIRTIO_STATUS_FAILED, err == ERR_OK ? 0 : 0x80);
        assert_int_equal(nd->running, err == ERR_OK);
    }
}

/* Over a restart: the device is left alone, and asked again each time until it agrees. */
static void test_refusals_later(void **state) {
    static const uint8_t classes[] = {MAC, VLAN, OFFLOADS, COAL};
    for (unsigned i = 0; i < ARRAY_SIZE(classes); i++) {
        again(state);
        ask_for_all();
        tx_begin();
        answer(classes[i], ANSWER_ERR);
        virtio_device_need_reset(&dev);
        for (unsigned n = 1; n <= 3; n++) {
            next_service();
            assert_false(nd->running || nd->link_up);
            assert_true(dev.status & VIRTIO_STATUS_FAILED);
            assert_int_equal(nd->ctrl.errors, n);
            assert_int_equal(nd->restarts, n);
            expect_no_violation();
        }
        answer(CLASS_ANY, ANSWER_WELL);
        next_service();
        assert_true(dev.ctrl.has_mac);
        assert_int_equal(dev.ctrl.vlan[0], 5);
        assert_true(offload_is_on(VIRTIO_NET_F_GUEST_TSO6));
        assert_false(offload_is_on(VIRTIO_NET_F_GUEST_TSO4));
        assert_int_equal(dev.ctrl.coalesce[TX].usecs, 3);
        expect_traffic();
    }
}

/* --- lies ------------------------------------------------------------------------------------- */

/* Whatever the device does with a command, it is counted and the device reset: at start it is not
 * driven, later it comes back once it behaves. */
static void test_lies_at_start(void **state) {
    for (enum virtio_device_answer how = ANSWER_NOTHING; how <= ANSWER_UNKNOWN_ID; how++) {
        again(state);
        ask_for_all();
        answer(CLASS_ANY, how);
        assert_int_equal(probe(), ERR_ABSENT);
        assert_int_equal(nd->ctrl.errors, 1);
        expect_logged("control command ");
        assert_true(dev.status & VIRTIO_STATUS_FAILED);
        assert_false(nd->running);
    }
}

/* The device asks for an announcement, and is told that it was made. */
static void announce(void) {
    virtio_device_configure(&dev, STATUS_OFF, LINK_UP | ANNOUNCE);
    (void)service();
    net_announced(nd);
    dev.config[STATUS_OFF] = LINK_UP;
    expect_no_violation();
}

static void test_lies_later(void **state) {
    for (unsigned i = 0; i < 4 * (ANSWER_UNKNOWN_ID + 1); i++) {
        const enum virtio_device_answer how = i / 4;
        again(state);
        offer_ctrl();
        offer_layout(i % 4);
        tx_begin();
        lost_count = 0;
        assert_true(send_frame(0, 60, 1));
        net_tx_flush(nd);
        answer(CLASS_ANY, how);
        announce();
        if (how == ANSWER_TWICE && vq_is_packed(i % 4)) {
            /* Not to be seen: the slot is written anew before anybody looks there. */
            assert_int_equal(nd->ctrl.errors, 0);
        } else {
            assert_int_equal(nd->ctrl.errors, how != ANSWER_WELL);
            assert_int_equal(nd->ctrl.queue.vq.broken, how >= ANSWER_NOTHING);
        }
        answer(CLASS_ANY, ANSWER_WELL);
        if (nd->ctrl.queue.vq.broken) {
            assert_int_equal(service(), NET_CHANGED);
            assert_int_equal(nd->restarts, 1);
        } else {
            restart();
        }
        assert_int_equal(lost_count, 1);
        assert_int_equal(service(), 0);
        announce();
        expect_traffic();
    }
}

/* A used entry that nobody asked for is seen at the next command: as a lie, or as its answer, and then the
 * ack byte says that nothing was done. Commands that the device meanwhile has may stay unanswered. */
static void test_answers_without_question(void **state) {
    FOR_LAYOUTS(layout) {
        again(state);
        offer_ctrl();
        offer_layout(layout);
        tx_begin();
        virtio_device_lie(&dev, CTRL, 0, 1);
        announce();
        assert_int_equal(nd->ctrl.errors, 1);
        announce();
        assert_true(nd->ctrl.errors >= 2 || nd->restarts == 1);
        next_service();
        restart();
        announce();
        expect_traffic();
    }
}

/* --- queues that are no use ------------------------------------------------------------------- */

/* A command takes two descriptors. A device that has not even these is not driven, and says why. */
static void test_queue_too_small(void **state) {
    for (unsigned i = 0; i < 3 * 4; i++) {
        again(state);
        offer_ctrl();
        offer_layout(i % 4);
        dev.queue[CTRL].max = (uint16_t)(i / 4 == 2 ? 40000 : i / 4);
        assert_int_equal(probe(), ERR_ABSENT);
        expect_logged("control queue");
        assert_true(dev.status & VIRTIO_STATUS_FAILED);
        assert_false(dev.queue[CTRL].enabled);
    }
}

/* While the device is down nobody talks to it, whoever asks. */
static void test_announced_while_down(void **state) {
    (void)state;
    offer_ctrl();
    tx_begin();
    virtio_device_configure(&dev, STATUS_OFF, LINK_UP | ANNOUNCE);
    assert_int_equal(service(), NET_ANNOUNCE);
    virtio_device_need_reset(&dev);
    dev.refuse_features = true;
    assert_int_equal(service(), NET_CHANGED);
    assert_false(nd->running);
    const uint64_t before = now_us;
    net_announced(nd);
    assert_true(now_us - before < 10 * 1000);
    expect_no_violation();
    dev.refuse_features = false;
    next_service();
    expect_traffic();
}

/* The same without a control queue at all. */
static void test_announced_without_queue(void **state) {
    (void)state;
    bring_up();
    net_announced(nd);
    assert_int_equal(service(), 0);
    expect_no_violation();
}

int main(void) {
#define NET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NET_CASE(test_many_commands),
        NET_CASE(test_late_answers),
        NET_CASE(test_time_limit),
        NET_CASE(test_refusals_at_start),
        NET_CASE(test_refusals_later),
        NET_CASE(test_lies_at_start),
        NET_CASE(test_lies_later),
        NET_CASE(test_answers_without_question),
        NET_CASE(test_queue_too_small),
        NET_CASE(test_announced_while_down),
        NET_CASE(test_announced_without_queue),
    };
    return RUN_ON_EACH_BUS("net control queue, answers", tests);
}
