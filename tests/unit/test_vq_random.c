/* Goal: no descriptor is lost or doubled, no buffer, no byte and no wake-up is lost. Method: random
 * moves of both sides; the rig_ calls check what passes, conservation is checked after
 * each move. */
#include "tests/unit/vq_rig.h"

#include <stdlib.h>

struct play {
    struct rig *r;
    uint16_t *owned; /* out of order: what the device has fetched */
    uint32_t owned_count;
    enum { UNKNOWN, OFF, ASLEEP } driver; /* which notifications it counts on */
    uint64_t wake_at;                     /* ASLEEP: the used position that must notify */
};

/* Positions of the device in the unit of vq_event_on_after(): buffers, packed: descriptors. */
static uint64_t shown(const struct rig *r) {
    return vq_is_packed(r->layout) ? r->dev.packed.shown : r->dev.shown;
}

static uint64_t published(struct rig *r) {
    vq_device_position(&r->dev); /* takes over what is new */
    return vq_is_packed(r->layout) ? r->dev.desc_seen : r->dev.seen;
}

static void add_some(struct rig *r) {
    /* Most of them short, so that they fit into small rings. */
    const uint32_t most = unit_below(&r->random, 8) == 0 ? RIG_CHAIN_MAX : 20;
    const uint32_t n = 1 + unit_below(&r->random, most);
    const uint32_t n_out = unit_below(&r->random, n + 1);
    if (rig_fits(r, n)) {
        rig_add(r, (uint16_t)n_out, (uint16_t)(n - n_out));
    } else if (rig_fits(r, 1)) {
        rig_add(r, (uint16_t)(n_out % 2), (uint16_t)(1 - n_out % 2));
    }
}

/* Off, or on after one more, or after some. */
static void arm(struct play *p) {
    struct rig *r = p->r;
    const uint32_t kind = unit_below(&r->random, 4);
    if (kind == 0) {
        vq_event_off(&r->q, r->layout);
        p->driver = OFF;
        return;
    }
    const uint32_t count = kind == 1 ? 1 : unit_below(&r->random, r->num + 2u);
    const bool work = kind == 1 ? vq_event_on(&r->q, r->layout)
                                : vq_event_on_after(&r->q, r->layout, (uint16_t)count);
    assert_int_equal(work, r->used.count > r->unshown);
    p->driver = work ? UNKNOWN : ASLEEP;
    if (!work) { /* all that was shown was taken, so the device is where the driver is */
        const uint64_t most = published(r) - shown(r);
        const uint64_t due = r->event_idx ? min_u64(count, most) : 1;
        p->wake_at = shown(r) + max_u64(due, 1);
    }
}

static void use_some(struct play *p) {
    struct rig *r = p->r;
    if (vq_is_in_order(r->layout)) {
        if (r->fetched.count > 0) {
            const uint32_t most = (uint32_t)min_u64(r->fetched.count, 9);
            const uint32_t count = 1 + unit_below(&r->random, most);
            struct rig_buffer *last =
                r->fetched.item[(r->fetched.head + count - 1) % r->num];
            const uint32_t len = unit_below(&r->random, rig_in_len(r, last->id) + 1);
            if (count == 1) {
                rig_use(r, last->id, len);
            } else {
                rig_use_batch(r, count, len);
            }
        }
    } else if (p->owned_count > 0) {
        const uint32_t pick = unit_below(&r->random, p->owned_count);
        const uint16_t id = p->owned[pick];
        p->owned[pick] = p->owned[--p->owned_count];
        rig_use(r, id, unit_below(&r->random, rig_in_len(r, id) + 1));
    }
}

static void show(struct play *p) {
    struct rig *r = p->r;
    const uint64_t before = shown(r);
    const bool interrupt = rig_show(r);
    if (p->driver == OFF) {
        assert_false(interrupt);
    } else if (p->driver == ASLEEP) {
        const bool due = before < p->wake_at && p->wake_at <= shown(r);
        assert_int_equal(interrupt, due);
        p->driver = due ? UNKNOWN : ASLEEP;
    }
}

static void random_step(struct play *p) {
    struct rig *r = p->r;
    int id;
    switch (unit_below(&r->random, 10)) {
    case 0:
    case 1:
        add_some(r);
        break;
    case 2:
        rig_publish(r);
        break;
    case 3:
        rig_notify_needed(r);
        break;
    case 4:
        rig_take(r, unit_below(&r->random, r->num < 64 ? r->num + 2u : 64));
        break;
    case 5:
        arm(p);
        break;
    case 6:
        vq_device_want_notify(&r->dev, unit_below(&r->random, 2));
        break;
    case 7:
        if ((id = rig_fetch(r)) >= 0 && !vq_is_in_order(r->layout)) {
            p->owned[p->owned_count++] = (uint16_t)id;
        }
        break;
    case 8:
        use_some(p);
        break;
    case 9:
        show(p);
        break;
    }
}

static void test_random_moves(struct rig *r) {
    const uint32_t steps = r->num == VQ_NUM_MAX ? 20000 : 12000;
    const uint32_t check_every = r->num == VQ_NUM_MAX ? 5000 : r->num < 100 ? 1 : 16;
    struct play p = {.r = r, .owned = calloc(r->num, sizeof(*p.owned)), .driver = UNKNOWN};
    for (uint32_t n = 1; n <= steps; n++) {
        random_step(&p);
        assert_false(r->q.broken);
        assert_int_equal(r->n_desc + r->q.free_count, r->num);
        vq_device_check_position(&r->dev, vq_notify_position(&r->q, r->layout));
        if (n % check_every == 0) {
            rig_check(r);
        }
    }
    free(p.owned);
    assert_true(r->serial > steps / 100); /* there was traffic */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RIG_CASE(test_random_moves),
    };
    return cmocka_run_group_tests_name("ring, random moves", tests, NULL, NULL);
}
