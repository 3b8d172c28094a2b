/* Notifications in both directions: when the driver must ring, when the device may interrupt. */
#include "tests/unit/vq_rig.h"

#include <string.h>

/* Plays one round so that the indices move on, over the wrap in the cases that start near it. */
static void finish_round(struct rig *r) {
    rig_use_all(r);
    rig_show(r);
    rig_take(r, r->num);
}

static void set_suppression(struct rig *r, uint16_t flags, uint16_t avail_event) {
    r->q.split.used->flags = flags;
    *(uint16_t *)r->q.split.avail_event = avail_event;
}

/* 2.7.10.1, literally: is the entry at avail_event among those of the batch? For batches of every
 * size up to the ring's, and for all 65536 values of avail_event. */
static void check_batch(struct rig *r, uint32_t count) {
    static bool due[0x10000];
    const uint16_t before = r->q.split.avail_idx;
    rig_add_single(r, count);
    rig_publish(r);
    memset(due, false, sizeof(due));
    for (uint32_t i = 0; i < count; i++) {
        due[(before + i) % 0x10000] = true;
    }
    for (uint32_t event = 0; event < 0x10000; event++) {
        r->q.split.notified_idx = before; /* the same batch again */
        *(uint16_t *)r->q.split.avail_event = (uint16_t)event;
        if (vq_notify_needed(&r->q, VQ_SPLIT) != due[event]) {
            fail_msg("entries %u to %u, avail_event %u: must %sbe notified", before,
                     (before + count - 1) % 0x10000, event, due[event] ? "" : "not ");
        }
    }
    finish_round(r);
}

static void test_every_avail_event(struct rig *r) {
    static const uint32_t counts[] = {1, 2, 3, 4, 15, 16, 17, 255, 256, 32767, 32768};
    if (!r->event_idx) {
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(counts) && counts[i] <= r->num; i++) {
        check_batch(r, counts[i]);
    }
}

/* Without EVENT_IDX bit 0 of the flags decides and avail_event means nothing; with EVENT_IDX it is
 * the other way round. All other bits are reserved. 2.7.10.1 */
static void test_only_the_negotiated_half_counts(struct rig *r) {
    static const uint16_t words[] = {0, 1, 2, 0xfffe, 0xffff, 0x8001};
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
        const uint16_t here = r->q.split.avail_idx;
        rig_add_single(r, 1);
        rig_publish(r);
        for (unsigned hit = 0; hit < 2; hit++) {
            set_suppression(r, words[i], (uint16_t)(hit ? here : here + 7));
            r->q.split.notified_idx = here;
            assert_int_equal(vq_notify_needed(&r->q, VQ_SPLIT),
                             r->event_idx ? hit == 1 : words[i] % 2 == 0);
        }
        finish_round(r);
    }
}

/* One answer for all that was published since the last question, and only one. */
static void test_once_for_what_is_new(struct rig *r) {
    const uint32_t count = r->num < 5 ? r->num : 5;
    for (uint32_t at = 0; at < count; at++) {
        rig_take(r, r->num);
        set_suppression(r, 0, (uint16_t)(r->q.split.avail_idx + at));
        for (uint32_t i = 0; i < count; i++) {
            rig_add_single(r, 1);
            rig_publish(r);
        }
        assert_true(vq_notify_needed(&r->q, VQ_SPLIT));
        assert_false(vq_notify_needed(&r->q, VQ_SPLIT));
        rig_publish(r);
        assert_false(vq_notify_needed(&r->q, VQ_SPLIT));
        finish_round(r);
        assert_false(vq_notify_needed(&r->q, VQ_SPLIT));
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
    assert_false(vq_event_on(&r->q, VQ_SPLIT));
    vq_event_off(&r->q, VQ_SPLIT);
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
        assert_false(vq_event_on(&r->q, VQ_SPLIT));
        assert_false(rig_show(r)); /* nothing was used */
        assert_int_equal(rig_use_all(r), count);
        assert_true(rig_show(r));
        assert_int_equal(rig_take(r, r->num), count);
        /* With EVENT_IDX one request is one interrupt; the flag stays until it is taken back. */
        rig_add_single(r, 1);
        rig_publish(r);
        rig_use_all(r);
        assert_int_equal(rig_show(r), !r->event_idx);
        vq_event_off(&r->q, VQ_SPLIT);
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
        assert_false(vq_event_on(&r->q, VQ_SPLIT)); /* used, but not shown */
        vq_event_off(&r->q, VQ_SPLIT);
        rig_show(r);
        for (uint32_t left = count; left > 0; left--) {
            assert_true(vq_event_on(&r->q, VQ_SPLIT));
            assert_int_equal(rig_take(r, 1), 1);
        }
        assert_false(vq_event_on(&r->q, VQ_SPLIT));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RIG_CASE(test_every_avail_event),
        RIG_CASE(test_only_the_negotiated_half_counts),
        RIG_CASE(test_once_for_what_is_new),
        RIG_CASE(test_sleeping_device_is_woken),
        RIG_CASE(test_event_off),
        RIG_CASE(test_event_on_interrupts_at_the_next),
        RIG_CASE(test_event_on_sees_work),
    };
    return cmocka_run_group_tests_name("ring notifications", tests, NULL, NULL);
}
