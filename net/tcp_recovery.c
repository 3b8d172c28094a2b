#include "net/tcp_recovery.h"

#include "drivers/virtio_net.h"
#include "lib/util.h"
#include "lwip/def.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"
#include "net/ether.h"
#include "net/netif_virtio.h"
#include "net/tcp_option.h"

enum {
    SACK_BLOCK_LEN = 8,
    /* Acknowledgements of the same number with something behind it until that number is taken for lost: two if
     * what is behind it is long (RFC 6675, 5), three else. Frames that changed places make one, and soon
     * another number. When that does not come a single one will do (as in RFC 8985): of few large
     * frames on their way there may be no more. */
    REPORTS_LONG = 2,
    REPORTS_SHORT = 3,
    LONG_SEGMENTS = 2,
    REORDER_MS = 4,
};

struct tcp_recovery_counters tcp_recovery_counters;

static u8_t state_id, reports_id;
static bool waiting; /* some connection has reports, but is not sure yet */

/* What is kept of a connection, in lwIP's room for that. Both 0: nothing is lost. */
struct recovery {
    uint32_t until;   /* snd_nxt when the loss was noticed: an acknowledgement of that ends it */
    uint32_t sent_to; /* what lies before this has been sent again */
};

static struct recovery recovery_get(const struct tcp_pcb *pcb) {
    const uintptr_t both = (uintptr_t)tcp_ext_arg_get(pcb, state_id);
    return (struct recovery){.until = (uint32_t)(both >> 32), .sent_to = (uint32_t)both};
}

static bool is_on(const struct recovery *r) {
    return (r->until | r->sent_to) != 0;
}

static void recovery_set(struct tcp_pcb *pcb, struct recovery r) {
    tcp_ext_arg_set(pcb, state_id, (void *)((uintptr_t)r.until << 32 | r.sent_to));
}

/* What a peer has behind the number that it acknowledges. */
struct sacked {
    uint32_t first; /* where the first of it begins */
    uint32_t bytes; /* all of it */
};

/* Blocks behind what was sent, or before what is acknowledged (duplicates, RFC 2883), say nothing here. */
static void read_blocks(struct sacked *sacked, const struct tcp_pcb *pcb, uint32_t ackno,
                        const uint8_t *block, unsigned count) {
    for (; count > 0; count--, block += SACK_BLOCK_LEN) {
        const uint32_t left = ether_be32(block), right = ether_be32(block + 4);
        if (!TCP_SEQ_GT(left, ackno) || !TCP_SEQ_GT(right, left) ||
            TCP_SEQ_GT(right, pcb->snd_nxt)) {
            continue;
        }
        if (sacked->bytes == 0 || TCP_SEQ_LT(left, sacked->first)) {
            sacked->first = left;
        }
        sacked->bytes += right - left;
    }
}

static struct sacked read_options(const struct tcp_pcb *pcb, uint32_t ackno,
                                  const uint8_t *options, u16_t len) {
    struct sacked sacked = {0};
    const uint8_t *option = tcp_option_find(options, len, TCP_OPTION_SACK);
    if (option != NULL) {
        read_blocks(&sacked, pcb, ackno, option + 2, (option[1] - 2u) / SACK_BLOCK_LEN);
    }
    return sacked;
}

/* Takes segments that the device is done with out of its ring: lwIP sends none again that are in there. */
static void reclaim_sent(void) {
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        netif_virtio_reclaim(nic);
    }
}

static uint32_t seq_of(const struct tcp_seg *seg) {
    return lwip_ntohl(seg->tcphdr->seqno);
}

/* Puts a segment into a list in its order. */
static void insert(struct tcp_seg **list, struct tcp_seg *seg) {
    while (*list != NULL && TCP_SEQ_LT(seq_of(*list), seq_of(seg))) {
        list = &(*list)->next;
    }
    seg->next = *list;
    *list = seg;
}

/* Moves the segments from `from` to `to` to those that wait to be sent. Returns where the last one ends. */
static uint32_t take(struct tcp_pcb *pcb, uint32_t from, uint32_t to) {
    struct tcp_seg **link = &pcb->unacked;
    while (*link != NULL && TCP_SEQ_LEQ(seq_of(*link) + TCP_TCPLEN(*link), to)) {
        struct tcp_seg *seg = *link;
        if (TCP_SEQ_LT(seq_of(seg), from) || seg->p->ref != 1) {
            link = &seg->next;
            continue;
        }
        *link = seg->next;
        insert(&pcb->unsent, seg);
        pcb->rttest = 0; /* the time of its acknowledgement says nothing (Karn) */
        from = seq_of(seg) + TCP_TCPLEN(seg);
        tcp_recovery_counters.resent++;
    }
    return from;
}

/* Moves what was not sent back, and returns where it begins, or `sent_to` when there is none. It must not stay:
 * tcp_write() adds data to the last segment that waits, taking it for the end of the stream. */
static uint32_t take_back(struct tcp_pcb *pcb, uint32_t sent_to) {
    while (pcb->unsent != NULL && TCP_SEQ_LT(seq_of(pcb->unsent), pcb->snd_nxt)) {
        struct tcp_seg *seg = pcb->unsent;
        pcb->unsent = seg->next;
        insert(&pcb->unacked, seg);
        sent_to = TCP_SEQ_LT(seq_of(seg), sent_to) ? seq_of(seg) : sent_to;
        tcp_recovery_counters.resent--;
    }
    return sent_to;
}

/* Sends what lies between the two again, as far as the windows allow. Returns where it ends. */
static uint32_t resend(struct tcp_pcb *pcb, uint32_t from, uint32_t to) {
    const uint32_t sent_to = take(pcb, from, to);
    tcp_output(pcb);
    return take_back(pcb, sent_to);
}

/* Reports of the number that a connection waits for, and when the first one came. */
struct reports {
    uint32_t count;
    uint32_t since_ms;
};

static struct reports reports_get(const struct tcp_pcb *pcb) {
    const uintptr_t both = (uintptr_t)tcp_ext_arg_get(pcb, reports_id);
    return (struct reports){.count = (uint32_t)(both >> 32), .since_ms = (uint32_t)both};
}

static void reports_set(struct tcp_pcb *pcb, struct reports reports) {
    tcp_ext_arg_set(pcb, reports_id, (void *)((uintptr_t)reports.count << 32 | reports.since_ms));
}

/* Whether the number that is acknowledged is lost, by this and the reports before. */
static bool is_lost(struct tcp_pcb *pcb, uint32_t ackno, const struct sacked *sacked) {
    struct reports reports = reports_get(pcb);
    if (ackno != pcb->lastack || reports.count == 0) {
        reports = (struct reports){.since_ms = sys_now()};
    }
    reports.count++;
    reports_set(pcb, reports);
    const bool is_long = sacked->bytes > LONG_SEGMENTS * (uint32_t)pcb->mss;
    return reports.count >= (uint32_t)(is_long ? REPORTS_LONG : REPORTS_SHORT);
}

/* Halves the window, as lwIP does at a loss (RFC 5681, 3.2). */
static struct recovery begin(struct tcp_pcb *pcb, uint32_t ackno) {
    tcp_recovery_counters.recoveries++;
    reclaim_sent();
    if (!(pcb->flags & TF_INFR)) {
        pcb->ssthresh = LWIP_MAX(LWIP_MIN(pcb->cwnd, pcb->snd_wnd) / 2, 2u * pcb->mss);
        pcb->cwnd = pcb->ssthresh + 3u * pcb->mss;
        pcb->rtime = 0;
        tcp_set_flags(pcb, TF_INFR);
    }
    return (struct recovery){.until = pcb->snd_nxt, .sent_to = ackno};
}

void tcp_recovery_init(void) {
    state_id = tcp_ext_arg_alloc_id();
    reports_id = tcp_ext_arg_alloc_id();
}

void tcp_recovery_input(struct tcp_pcb *pcb, const struct tcp_hdr *header, u16_t options_len) {
    const uint32_t ackno = header->ackno;
    if (pcb->state < ESTABLISHED || LIKELY(pcb->unacked == NULL) || (pcb->flags & TF_RTO) ||
        !(TCPH_FLAGS(header) & TCP_ACK) || !TCP_SEQ_BETWEEN(ackno, pcb->lastack, pcb->snd_nxt)) {
        return;
    }
    struct recovery r = recovery_get(pcb);
    if (is_on(&r) && TCP_SEQ_GEQ(ackno, r.until)) {
        recovery_set(pcb, (struct recovery){0});
        r = (struct recovery){0};
    }
    const struct sacked sacked =
        read_options(pcb, ackno, (const uint8_t *)(header + 1), options_len);
    if (LIKELY(sacked.bytes == 0)) {
        reports_set(pcb, (struct reports){0});
        return;
    }
    if (!is_on(&r)) {
        if (!is_lost(pcb, ackno, &sacked)) {
            waiting = true;
            return;
        }
        r = begin(pcb, ackno);
    }
    const uint32_t from = TCP_SEQ_GT(r.sent_to, ackno) ? r.sent_to : ackno;
    r.sent_to = resend(pcb, from, sacked.first);
    recovery_set(pcb, r);
}

void tcp_recovery_tick(void) {
    if (LIKELY(!waiting)) {
        return;
    }
    const uint32_t now_ms = sys_now();
    waiting = false;
    for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb != NULL; pcb = pcb->next) {
        const struct reports reports = reports_get(pcb);
        const struct recovery r = recovery_get(pcb);
        if (reports.count == 0 || is_on(&r) || pcb->unacked == NULL || (pcb->flags & TF_RTO)) {
            continue;
        }
        if (now_ms - reports.since_ms < REORDER_MS) {
            waiting = true;
            continue;
        }
        struct recovery begun = begin(pcb, pcb->lastack);
        begun.sent_to = resend(pcb, pcb->lastack, pcb->lastack + pcb->mss);
        recovery_set(pcb, begun);
    }
}
