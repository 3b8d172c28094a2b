/* Notifications in both directions: when the driver must ring, when the device may interrupt. */
#include "tests/unit/vq_rig.h"

#include <string.h>

/* Plays one round so that the indices move on, over the wrap in the cases that start near it. */
static void finish_round(struct rig *r) {
    rig_use_all(r);
    rig_show(r);
    rig_take(r, r->num);
}

static void set_suppression(struct rig *r, uint16_t flags, uint16_t event) {
    if (!vq_is_packed(r->layout)) {
        r->q.split.used->flags = flags;
        *(uint16_t *)r->q.split.avail_event = event;
    } else {
        struct pvirtq_event_suppress *device_event = r->dev.setup.device;
        *device_event = (struct pvirtq_event_suppress){.off_wrap = event, .flags = flags};
    }
}

/* What the device writes to ask for the entry (packed: the descriptor) that is `ahead` of the next
 * one. Packed: 15 bits of offset, and the wrap counter, which is 1 in the first lap. 2.8.14 */
static uint16_t event_ahead(const struct rig *r, uint32_t ahead) {
    if (!vq_is_packed(r->layout)) {
        return (uint16_t)(r->dev.seen + ahead);
    }
    const uint64_t at = r->dev.desc_seen + ahead;
    return (uint16_t)(at % r->num + (at / r->num % 2 == 0 ? 0x8000 : 0));
}

/* Asks for that one with EVENT_IDX, for all without. */
static void ask_for(struct rig *r, uint32_t ahead) {
    const bool desc = vq_is_packed(r->layout) && r->event_idx;
    set_suppression(r, desc ? RING_EVENT_FLAGS_DESC : 0, event_ahead(r, ahead));
}

/* The same question again, for `count` entries or descriptors. */
static void forget_answer(struct rig *r, uint32_t count) {
    r->q.unnotified_count = count;
}

/* 2.7.10.1 and 2.8.10, literally: is the one asked for among those of the batch? For batches of
 * every size up to the ring's, and for all 65536 values of avail_event or off_wrap. */
static void check_batch(struct rig *r, uint32_t count) {
    static bool due[0x10000];
    const uint16_t first = event_ahead(r, 0), last = event_ahead(r, count - 1);
    memset(due, false, sizeof(due));
    for (uint32_t i = 0; i < count; i++) {
        due[event_ahead(r, i)] = true;
    }
    rig_add_single(r, count);
    rig_publish(r);
    for (uint32_t event = 0; event < 0x10000; event++) {
        if (vq_is_packed(r->layout) && event % 0x8000 >= r->num) {
            continue; /* no such descriptor */
        }
        forget_answer(r, count);
        set_suppression(r, vq_is_packed(r->layout) ? RING_EVENT_FLAGS_DESC : 0, (uint16_t)event);
        if (vq_notify_needed(&r->q, r->layout) != due[event]) {
            fail_msg("%#x to %#x, event %#x: must %sbe notified", first, last, event,
                     due[event] ? "" : "not ");
        }
    }
    finish_round(r);
}

static void test_every_event(struct rig *r) {
    static const uint32_t counts[] = {1, 2, 3, 4, 15, 16, 17, 239, 240, 255, 256, 32767, 32768};
    if (!r->event_idx) {
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(counts) && counts[i] <= r->num; i++) {
        check_batch(r, counts[i]);
        check_batch(r, counts[i]); /* from another slot, or in another lap */
    }
}

/* Without EVENT_IDX bit 0 of the flags decides and avail_event means nothing; with EVENT_IDX it is
 * the other way round. All other bits are reserved. 2.7.10.1 */
static void test_only_the_negotiated_half_counts(struct rig *r) {
    static const uint16_t words[] = {0, 1, 2, 0xfffe, 0xffff, 0x8001};
    for (unsigned i = 0; i < ARRAY_SIZE(words) && !vq_is_packed(r->layout); i++) {
        const uint16_t here = event_ahead(r, 0);
        rig_add_single(r, 1);
        rig_publish(r);
        for (unsigned hit = 0; hit < 2; hit++) {
            set_suppression(r, words[i], (uint16_t)(hit ? here : here + 7));
            forget_answer(r, 1);
            assert_int_equal(vq_notify_needed(&r->q, r->layout),
                             r->event_idx ? hit == 1 : words[i] % 2 == 0);
        }
        finish_round(r);
    }
}

/* 2.8.14: two bits decide, all others are reserved. Only DESC looks at off_wrap, and it needs
 * EVENT_IDX; a value that means nothing asks for a notification, to be on the safe side. */
static void test_packed_flags(struct rig *r) {
    for (uint32_t high = 0; high < 0x10000 && vq_is_packed(r->layout); high += 0x1554) {
        for (uint16_t flags = 0; flags < 8; flags++) {
            const uint16_t word = (uint16_t)(high + flags % 4);
            const bool hit = flags / 4;
            set_suppression(r, word, event_ahead(r, hit ? 0 : r->num));
            rig_add_single(r, 1);
            rig_publish(r);
            assert_int_equal(vq_notify_needed(&r->q, r->layout),
                             flags % 4 == RING_EVENT_FLAGS_DESC && r->event_idx
                                 ? hit
                                 : flags % 4 != RING_EVENT_FLAGS_DISABLE);
            finish_round(r);
        }
    }
}

/* One answer for all that was published since the last question, and only one. */
static void test_once_for_what_is_new(struct rig *r) {
    const uint32_t count = r->num < 5 ? r->num : 5;
    for (uint32_t at = 0; at < count; at++) {
        rig_take(r, r->num);
        ask_for(r, at);
        for (uint32_t i = 0; i < count; i++) {
            rig_add_single(r, 1);
            rig_publish(r);
        }
        assert_true(vq_notify_needed(&r->q, r->layout));
        assert_false(vq_notify_needed(&r->q, r->layout));
        rig_publish(r);
        assert_false(vq_notify_needed(&r->q, r->layout));
        finish_round(r);
        assert_false(vq_notify_needed(&r->q, r->layout));
    }
}

/* A device that asks before it sleeps is always woken, whatever was said before. */
static void test_sleeping_device_is_woken(struct rig *r) {
    for (unsigned i = 0; i < 60; i++) {
        const uint32_t count = 1 + unit_below(&r->random, r->num < 9 ? r->num : 9);
        const bool sleeps = unit_below(&r->random, 2);
        vq_device_want_notify(&r->dev, sleeps);
        assert_int_equal(rig_fetch(r), -1);
        rig_add_single(r, count);
        rig_publish(r);
        assert_int_equal(rig_notify_needed(r), sleeps);
        finish_round(r);
    }
}

/* Polling: no interrupt for as many buffers as one request can say (a hint in any case), and the
 * ring is used all the same. */
static void test_event_off(struct rig *r) {
    const uint32_t rounds = r->num >= 256 ? 0xffff / r->num : 500;
    assert_false(vq_event_on(&r->q, r->layout));
    vq_event_off(&r->q, r->layout);
    for (uint32_t i = 0; i < rounds; i++) {
        rig_add_single(r, r->num);
        rig_publish(r);
        assert_int_equal(rig_use_all(r), r->num);
        assert_false(rig_show(r));
        assert_int_equal(rig_take(r, r->num), r->num);
    }
}

/* Armed with nothing to do: the next used buffer interrupts, alone or in a batch. */
static void test_event_on_interrupts_at_the_next(struct rig *r) {
    for (unsigned i = 0; i < 40; i++) {
        const uint32_t count = 1 + i % r->num;
        rig_add_single(r, count);
        rig_publish(r);
        assert_false(vq_event_on(&r->q, r->layout));
        assert_false(rig_show(r)); /* nothing was used */
        assert_int_equal(rig_use_all(r), count);
        assert_true(rig_show(r));
        assert_int_equal(rig_take(r, r->num), count);
        /* With EVENT_IDX one request is one interrupt; the flag stays until it is taken back. */
        rig_add_single(r, 1);
        rig_publish(r);
        rig_use_all(r);
        assert_int_equal(rig_show(r), !r->event_idx);
        vq_event_off(&r->q, r->layout);
        rig_take(r, r->num);
    }
}

/* Work that came before the request is reported by the call, for no interrupt may come for it. */
static void test_event_on_sees_work(struct rig *r) {
    for (unsigned i = 0; i < 40; i++) {
        const uint32_t count = 1 + i % r->num;
        rig_add_single(r, count);
        rig_publish(r);
        rig_use_all(r);
        assert_false(vq_event_on(&r->q, r->layout)); /* used, but not shown */
        vq_event_off(&r->q, r->layout);
        rig_show(r);
        for (uint32_t left = count; left > 0; left--) {
            assert_true(vq_event_on(&r->q, r->layout));
            assert_int_equal(rig_take(r, 1), 1);
        }
        assert_false(vq_event_on(&r->q, r->layout));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RIG_CASE(test_every_event),
        RIG_CASE(test_only_the_negotiated_half_counts),
        RIG_CASE(test_packed_flags),
        RIG_CASE(test_once_for_what_is_new),
        RIG_CASE(test_sleeping_device_is_woken),
        RIG_CASE(test_event_off),
        RIG_CASE(test_event_on_interrupts_at_the_next),
        RIG_CASE(test_event_on_sees_work),
    };
    return cmocka_run_group_tests_name("ring notifications", tests, NULL, NULL);
}
