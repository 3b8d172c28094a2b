#include "net/tcp_source_sink.h"

#include <string.h>

#include "lib/assert.h"
#include "lwip/pbuf.h"
#include "net/tcp_app.h"

enum {
    DISCARD_PORT = 9,
    CHARGEN_PORT = 19,
    CHARGEN_FIRST = ' ',
    CHARGEN_CHARS = 95, /* the printable ones */
    CHARGEN_LINE = 72,
    CHARGEN_PERIOD = CHARGEN_CHARS * (CHARGEN_LINE + 2),
    CHARGEN_OUTSTANDING = 64 * 1024, /* many readers share the segments fairly ... */
    CHARGEN_READERS = 4,             /* ... but so few may have as much as TCP takes */
    CHARGEN_POLL_TICKS = 1,
};

/* One period of the pattern, twice: any piece up to a period long lies in one run. */
static uint8_t chargen_pattern[2 * CHARGEN_PERIOD];

static void chargen_init(void) {
    uint8_t *out = chargen_pattern;
    for (unsigned line = 0; line < 2 * CHARGEN_CHARS; line++) {
        for (unsigned i = 0; i < CHARGEN_LINE; i++) {
            *out++ = (uint8_t)(CHARGEN_FIRST + (line + i) % CHARGEN_CHARS);
        }
        *out++ = '\r';
        *out++ = '\n';
    }
}

void tcp_source_sink_pattern(uint8_t *out, size_t len) {
    ASSERT(len <= CHARGEN_PERIOD);
    memcpy(out, chargen_pattern, len);
}

/* The connection's argument is its position in the pattern. */
static void chargen_send(struct tcp_pcb *pcb, uintptr_t position) {
    for (;;) {
        const uint32_t outstanding = pcb->snd_lbb - pcb->lastack;
        const uint32_t most =
            tcp_app_counters.open <= CHARGEN_READERS ? TCP_SND_BUF : CHARGEN_OUTSTANDING;
        const uint32_t share = outstanding < most ? most - outstanding : 0;
        const uint32_t room = LWIP_MIN(share, tcp_app_send_room(pcb));
        const uint16_t len = (uint16_t)LWIP_MIN(room, CHARGEN_PERIOD);
        if (len == 0 || tcp_write(pcb, chargen_pattern + position, len, 0) != ERR_OK) {
            break;
        }
        position = (position + len) % CHARGEN_PERIOD;
    }
    tcp_arg(pcb, (void *)position);
    tcp_output(pcb);
}

static err_t chargen_acknowledged(void *arg, struct tcp_pcb *pcb, u16_t len) {
    tcp_app_counters.generated_bytes += len;
    chargen_send(pcb, (uintptr_t)arg);
    return ERR_OK;
}

static err_t chargen_retry(void *arg, struct tcp_pcb *pcb) {
    chargen_send(pcb, (uintptr_t)arg);
    return ERR_OK;
}

static err_t discard_received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err) {
    (void)arg;
    (void)err;
    if (p == NULL) {
        return tcp_app_close(pcb);
    }
    tcp_app_counters.received_bytes += p->tot_len;
    tcp_app_counters.discarded_bytes += p->tot_len;
    tcp_recved(pcb, p->tot_len);
    pbuf_free(p);
    return ERR_OK;
}

static err_t discard_accept(void *arg, struct tcp_pcb *pcb, err_t err) {
    (void)arg;
    if (err != ERR_OK || pcb == NULL) {
        tcp_app_counters.refused++;
        return ERR_MEM;
    }
    tcp_app_set_options(pcb);
    tcp_arg(pcb, NULL);
    tcp_recv(pcb, discard_received);
    tcp_err(pcb, tcp_app_error);
    tcp_app_counters.accepted++;
    tcp_app_counters.open++;
    return ERR_OK;
}

static err_t chargen_accept(void *arg, struct tcp_pcb *pcb, err_t err) {
    const err_t result = discard_accept(arg, pcb, err);
    if (result == ERR_OK) {
        tcp_sent(pcb, chargen_acknowledged);
        tcp_poll(pcb, chargen_retry, CHARGEN_POLL_TICKS);
        chargen_send(pcb, 0);
    }
    return result;
}

bool tcp_source_sink_start(void) {
    chargen_init();
    return tcp_app_listen(DISCARD_PORT, discard_accept) &&
           tcp_app_listen(CHARGEN_PORT, chargen_accept);
}
