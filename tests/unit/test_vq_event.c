/* When the driver may be interrupted (arming, thresholds), and what its notifications say (2.9). */
#include "tests/unit/vq_rig.h"

/* Used positions as the device counts them: buffers, packed: descriptors. */
static uint64_t shown(const struct rig *r) {
    return vq_is_packed(r->layout) ? r->dev.packed.shown : r->dev.shown;
}

/* Gives the next buffer back that the device has fetched. */
static void use_next(struct rig *r) {
    const uint16_t id = r->dev.order[r->dev.placed % r->num];
    rig_use(r, id, 0);
}

static uint32_t offer_single(struct rig *r, uint32_t count) {
    rig_add_single(r, count);
    rig_publish(r);
    while (rig_fetch(r) >= 0) {
    }
    return count;
}

/* For every count: with EVENT_IDX no interrupt before that many were used one by one, one with the
 * last of them, and none for those behind it. Without it, one for each. */
static void check_threshold(struct rig *r, uint32_t pending, uint32_t count) {
    const uint32_t due = !r->event_idx || count == 0 ? 1 : (uint32_t)min_u64(count, pending);
    offer_single(r, pending);
    assert_false(vq_event_on_after(&r->q, r->layout, (uint16_t)count));
    for (uint32_t i = 1; i <= pending; i++) {
        use_next(r);
        const bool expected = r->event_idx ? i == due : true;
        if (rig_show(r) != expected) {
            fail_msg("%u of %u pending asked for, interrupt %d with number %u", count, pending,
                     !expected, i);
        }
    }
    vq_event_off(&r->q, r->layout);
    assert_int_equal(rig_take(r, pending), pending);
}

static void test_threshold(struct rig *r) {
    static const uint32_t more[] = {15, 16, 17, 239, 255, 256, 32767, 32768, 65535};
    const uint32_t small = r->num < 7 ? r->num : 7;
    for (uint32_t pending = 1; pending <= small; pending++) {
        for (uint32_t count = 0; count <= small + 2; count++) {
            check_threshold(r, pending, count);
        }
    }
    for (unsigned i = 0; i < ARRAY_SIZE(more) && r->num <= 256; i++) {
        check_threshold(r, r->num, more[i]);
        check_threshold(r, (r->num + 1u) / 2, more[i]); /* from another slot, or in another lap */
    }
}

/* Buffers of several descriptors: the packed ring counts descriptors, and the interrupt comes with
 * the buffer that makes the number full; the split ring counts buffers. */
static void test_threshold_with_chains(struct rig *r) {
    for (uint16_t count = 1; count <= 9 && r->num >= 8; count++) {
        uint32_t n_desc = 0;
        bool interrupted = false;
        for (uint32_t i = 0; i < 4; i++) {
            rig_add(r, 1, 1);
        }
        rig_publish(r);
        while (rig_fetch(r) >= 0) {
        }
        assert_false(vq_event_on_after(&r->q, r->layout, count));
        for (uint32_t i = 0; i < 4; i++) {
            use_next(r);
            n_desc += vq_is_packed(r->layout) ? 2 : 1;
            const uint64_t due = min_u64(count, vq_is_packed(r->layout) ? 8 : 4);
            const bool full = !r->event_idx || n_desc >= due;
            assert_int_equal(rig_show(r), full && !(r->event_idx && interrupted));
            interrupted = full;
        }
        vq_event_off(&r->q, r->layout);
        assert_int_equal(rig_take(r, 4), 4);
    }
}

/* In order, in one batch that passes the descriptor asked for: one interrupt. */
static void test_threshold_within_a_batch(struct rig *r) {
    for (uint16_t count = 1; count <= 4 && r->num >= 4 && vq_is_in_order(r->layout); count++) {
        offer_single(r, 4);
        assert_false(vq_event_on_after(&r->q, r->layout, count));
        rig_use_batch(r, 3, 0);
        assert_int_equal(rig_show(r), count <= 3 || !r->event_idx);
        use_next(r);
        assert_int_equal(rig_show(r), count == 4 || !r->event_idx);
        vq_event_off(&r->q, r->layout);
        assert_int_equal(rig_take(r, 4), 4);
    }
}

/* Any used buffer is reported at once, however high the count: its interrupt may have
 * been missed. */
static void test_threshold_sees_work(struct rig *r) {
    const uint32_t pending = r->num < 4 ? r->num : 4;
    for (uint16_t count = 0; count < 6; count++) {
        offer_single(r, pending);
        assert_false(vq_event_on_after(&r->q, r->layout, count));
        vq_event_off(&r->q, r->layout);
        for (uint32_t i = 0; i < pending; i++) {
            use_next(r);
            rig_show(r);
            assert_true(vq_event_on_after(&r->q, r->layout, count));
            assert_int_equal(rig_take(r, 1), 1);
            assert_false(vq_event_on_after(&r->q, r->layout, count));
            vq_event_off(&r->q, r->layout);
        }
    }
}

/* What is not published does not count: the device cannot use it, so the interrupt would never
 * come. */
static void test_threshold_ignores_unpublished(struct rig *r) {
    if (r->num < 4) {
        return;
    }
    offer_single(r, 2);
    rig_add_single(r, 2);
    assert_false(vq_event_on_after(&r->q, r->layout, 4));
    use_next(r);
    assert_int_equal(rig_show(r), !r->event_idx);
    use_next(r);
    assert_true(rig_show(r));
    assert_int_equal(rig_take(r, 4), 2);
}

/* 2.9, literally, over more than two laps or past the wrap of the index. */
static void test_position(struct rig *r) {
    const uint32_t rounds = r->num < 300 ? 2u * r->num + 40 : 40;
    uint32_t at = r->start;
    for (uint32_t i = 0; i < rounds; i++) {
        const uint16_t expected = vq_is_packed(r->layout)
                                      ? (uint16_t)(at % r->num | (at / r->num % 2 ? 0 : 0x8000))
                                      : (uint16_t)at;
        assert_int_equal(vq_notify_position(&r->q, r->layout), expected);
        assert_int_equal(vq_device_position(&r->dev), expected);
        rig_add_single(r, 1);
        assert_int_equal(vq_notify_position(&r->q, r->layout), expected); /* not published */
        rig_publish(r);
        at++;
        rig_use_all(r);
        rig_show(r);
        assert_int_equal(rig_take(r, 1), 1);
    }
    assert_int_equal(shown(r), at);
}

/* A chain moves the position of the packed ring by its descriptors, that of the split one
 * by one. */
static void test_position_of_chains(struct rig *r) {
    for (unsigned i = 0; i < 20 && r->num >= 4; i++) {
        const uint64_t before = r->dev.desc_seen;
        const uint64_t buffers = r->dev.seen;
        rig_add(r, 1, 1);
        rig_add(r, 2, 0);
        assert_int_equal(r->dev.desc_seen, before);
        rig_publish(r); /* compares the position with that of the model */
        assert_int_equal(r->dev.desc_seen, before + 4);
        assert_int_equal(r->dev.seen, buffers + 2);
        assert_int_equal(rig_use_all(r), 2);
        rig_show(r);
        assert_int_equal(rig_take(r, 2), 2);
    }
}

/* The answer is about what is published, however much was added since. */
static void test_added_since_is_not_notified(struct rig *r) {
    for (unsigned i = 0; i < 40 && r->num >= 4; i++) {
        const uint32_t more = i % 3;
        vq_device_want_notify(&r->dev, i % 2 == 0); /* of the next one that is published */
        rig_add_single(r, 1);
        rig_publish(r);
        rig_add_single(r, more);
        assert_int_equal(rig_notify_needed(r), i % 2 == 0);
        vq_device_want_notify(&r->dev, true);
        assert_false(rig_notify_needed(r)); /* nothing new */
        rig_publish(r);
        assert_int_equal(rig_notify_needed(r), more != 0);
        assert_int_equal(rig_use_all(r), 1 + more);
        rig_show(r);
        assert_int_equal(rig_take(r, 4), 1 + more);
    }
}

/* However much was published since the question was asked last, be it 2^16: the one that the device
 * asked for is among it. */
static void test_question_after_many(struct rig *r) {
    static const uint32_t totals[] = {0xffff, 0x10000, 0x10001};
    if (r->num != 256 || r->start != 0 || r->indirect) {
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(totals); i++) {
        vq_device_want_notify(&r->dev, true);
        for (uint32_t left = totals[i], count; left > 0; left -= count) {
            count = (uint32_t)min_u64(left, r->num);
            rig_add_single(r, count);
            rig_publish(r);
            rig_use_all(r);
            rig_show(r);
            assert_int_equal(rig_take(r, r->num), count);
        }
        assert_true(rig_notify_needed(r));
        assert_false(rig_notify_needed(r));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RIG_CASE_UP_TO(test_threshold, 256),
        RIG_CASE_UP_TO(test_threshold_with_chains, 256),
        RIG_CASE_UP_TO(test_threshold_within_a_batch, 256),
        RIG_CASE(test_threshold_sees_work),
        RIG_CASE_UP_TO(test_threshold_ignores_unpublished, 256),
        RIG_CASE(test_position),
        RIG_CASE_UP_TO(test_position_of_chains, 256),
        RIG_CASE_UP_TO(test_added_since_is_not_notified, 256),
        RIG_CASE_UP_TO(test_question_after_many, 256),
    };
    return cmocka_run_group_tests_name("ring events", tests, NULL, NULL);
}
