#include "net/latency.h"

#include "drivers/clock.h"
#include "lib/histogram_json.h"

const char *const latency_names[LATENCY_PARTS] = {
    [LATENCY_SEEN_TO_STACK] = "seen_to_stack",
    [LATENCY_STACK_TO_DOORBELL] = "stack_to_doorbell",
    [LATENCY_PASS] = "pass",
};

struct histogram latency_ns[LATENCY_PARTS];
bool latency_on;

static struct {
    uint64_t idle_tsc;     /* of the latest look when it found nothing, else 0 */
    uint64_t seen_tsc;     /* of this pass, 0: no frames */
    uint64_t answered_tsc; /* of this pass, when there were frames */
} latency;

static void latency_add(enum latency_part part, uint64_t from_tsc, uint64_t to_tsc) {
    histogram_add(&latency_ns[part], clock_ns_of_ticks(to_tsc - from_tsc));
}

void latency_note(enum latency_point point, uint64_t tsc) {
    switch (point) {
    case LATENCY_LOOK:
        if (latency.idle_tsc != 0) {
            latency_add(LATENCY_PASS, latency.idle_tsc, tsc);
        }
        latency.idle_tsc = tsc;
        latency.seen_tsc = 0;
        break;
    case LATENCY_SEEN:
        latency.idle_tsc = 0;
        latency.seen_tsc = latency.seen_tsc != 0 ? latency.seen_tsc : tsc;
        break;
    case LATENCY_ANSWERED:
        if (latency.seen_tsc != 0) {
            latency_add(LATENCY_SEEN_TO_STACK, latency.seen_tsc, tsc);
            latency.answered_tsc = tsc;
        }
        break;
    case LATENCY_FLUSHED:
        if (latency.seen_tsc != 0) {
            latency_add(LATENCY_STACK_TO_DOORBELL, latency.answered_tsc, tsc);
        }
        break;
    case LATENCY_WOKEN:
        latency.idle_tsc = 0;
        break;
    }
}

void latency_write(struct json *j) {
    if (!latency_on) {
        return;
    }
    json_object(j, "latency");
    for (unsigned i = 0; i < LATENCY_PARTS; i++) {
        histogram_json(&latency_ns[i], j, latency_names[i]);
    }
    json_close(j);
}
