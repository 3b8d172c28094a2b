#include "net/sink_flows.h"

#include <string.h>

#include "lib/assert.h"
#include "lib/dma.h"
#include "lib/log.h"

enum {
    FLOW_ALIGN = 32, /* the smallest flows lie two in a cache line, the next size in one */
    CACHE_LINE = 64,
};

static uint32_t sink_flows_window(uint32_t flows) {
    uint32_t bits = SINK_WINDOW_BITS_MAX;
    while (bits > SINK_WINDOW_BITS_MIN && (uint64_t)flows * (bits / 8) > SINK_WINDOWS_BYTES) {
        bits /= 2;
    }
    return bits;
}

/* Cleared, although only the epochs need it: so the first frame of a flow meets no page that the
 * machine has yet to find. */
bool sink_flows_init(struct sink_flows *table, uint32_t flows) {
    const uint32_t window = sink_flows_window(flows);
    const size_t stride = align_up(sizeof(struct sink_flow) + window / 8, FLOW_ALIGN);
    const size_t free_bytes = dma_free_bytes();
    ASSERT(flows > 0);
    *table = (struct sink_flows){
        .memory = dma_alloc(stride * flows, CACHE_LINE),
        .stride = stride,
        .count = flows,
        .window = window,
        .epoch = 1,
    };
    if (table->memory == NULL) {
        const size_t mib = 1 << 20;
        log_error("config: flows=%u: needs %u MiB of memory, %u MiB are left", (unsigned)flows,
                  (unsigned)((stride * flows + mib - 1) / mib), (unsigned)(free_bytes / mib));
        return false;
    }
    return true;
}

void sink_flows_restart(struct sink_flows *table) {
    table->epoch++;
    table->seen = 0;
    table->lossy = 0;
}

/* So many numbers from seq on did not come. */
static void sink_flows_clear(struct sink_flows *table, struct sink_flow *flow, uint64_t seq,
                             uint64_t count) {
    if (count >= table->window) {
        memset(flow->came, 0, table->window / 8);
        return;
    }
    while (count > 0) {
        const unsigned bit = seq & 63;
        const uint64_t part = min_u64(count, 64 - bit);
        *sink_flows_word(table, flow, seq) &= ~(UINT64_MAX >> (64 - part) << bit);
        seq += part;
        count -= part;
    }
}

static void sink_flows_first(struct sink_flows *table, struct sink_flow *flow, uint64_t seq) {
    if (seq >= SINK_FIRST_MAX) {
        table->bad_stamp++;
        return;
    }
    memset(flow->came, 0, table->window / 8);
    flow->epoch = table->epoch;
    flow->next = seq;
    flow->lost = 0;
    flow->span = 0;
    table->missed_start += seq;
    table->seen++;
    sink_flows_advance(table, flow, seq);
}

static void sink_flows_ahead(struct sink_flows *table, struct sink_flow *flow, uint64_t seq) {
    const uint64_t missing = seq - flow->next;
    if (missing >= SINK_JUMP_MAX) {
        table->bad_stamp++;
        return;
    }
    table->lossy += flow->lost == 0;
    table->lost += missing;
    flow->lost += missing;
    sink_flows_clear(table, flow, flow->next, missing);
    sink_flows_advance(table, flow, seq);
}

static void sink_flows_behind(struct sink_flows *table, struct sink_flow *flow, uint64_t seq) {
    const uint64_t behind = flow->next - seq;
    if (behind > table->window) {
        table->too_old++;
        return;
    }
    uint64_t *word = sink_flows_word(table, flow, seq);
    const uint64_t bit = UINT64_C(1) << (seq & 63);
    if ((*word & bit) != 0) {
        table->duplicates++;
        return;
    }
    *word |= bit;
    table->reordered++;
    table->reorder_max = max_u64(table->reorder_max, behind - 1);
    if (behind > flow->span) {
        table->missed_start--;
        return;
    }
    ASSERT_HOT(flow->lost > 0);
    flow->lost--;
    table->lost--;
    table->lossy -= flow->lost == 0;
}

void sink_flows_add_other(struct sink_flows *table, struct sink_flow *flow, uint64_t seq) {
    if (flow->epoch != table->epoch) {
        sink_flows_first(table, flow, seq);
    } else if (seq >= flow->next) {
        sink_flows_ahead(table, flow, seq);
    } else {
        sink_flows_behind(table, flow, seq);
    }
}
