/* How virtio-net devices interrupt (4.1.5.1.2, 4.1.5.3, 4.1.4.5, 4.2.3.4), and arming before a sleep.
 *
 * The control queue is always polled and has no vector. */
#include "drivers/irq.h"
#include "drivers/net_parts.h"
#include "lib/err.h"
#include "lib/wait.h"

enum { ENTRIES_MAX = 3 };

static bool is_mmio(const struct net_dev *nd) {
    return nd->dev.transport == &virtio_mmio_transport;
}

/* A line that is shared with others or not: ring 3 asks the device and acknowledges. */
static bool has_line(const struct net_dev *nd) {
    return nd->irq.kind == NET_IRQ_INTX || nd->irq.kind == NET_IRQ_LINE;
}

/* --- set-up ------------------------------------------------------------------------------------ */

/* Gives queues and configuration changes their MSI-X entries: each its own, or fewer when table or
 * vectors do not suffice. */
static bool msix_assign(struct net_dev *nd) {
    uint8_t vectors[ENTRIES_MAX];
    struct net_irq *irq = &nd->irq;
    uint16_t entries = 0;
    while (entries < ENTRIES_MAX && entries < irq->msix.count &&
           (vectors[entries] = irq_vector_alloc()) != 0) {
        msix_set(&irq->msix, entries, vectors[entries]);
        entries++;
    }
    if (entries == 0) {
        return false;
    }
    irq->kind = NET_IRQ_MSIX;
    irq->entries = entries;
    irq->config_entry = (uint16_t)(entries - 1);
    nd->rx.msix_entry = 0;
    nd->tx.msix_entry = entries == 3 ? 1 : 0;
    nd->rx.vector = vectors[0];
    nd->tx.vector = vectors[nd->tx.msix_entry];
    irq->config_vector = vectors[irq->config_entry];
    msix_enable(&irq->msix);
    return true;
}

/* Everything through the first entry, which is set up already. */
static void msix_share(struct net_dev *nd) {
    nd->irq.entries = 1;
    nd->irq.config_entry = nd->tx.msix_entry = nd->rx.msix_entry;
    nd->irq.config_vector = nd->tx.vector = nd->rx.vector;
}

static bool line_assign(struct net_dev *nd) {
    const bool usable =
        is_mmio(nd) ? irq_line_enable(&nd->mmio.slot.line, nd->dev.address) == ERR_OK
                    : nd->pci.isr.base != 0 && irq_intx_enable(&nd->pci.pci) == ERR_OK;
    if (!usable) {
        return false;
    }
    nd->irq.kind = is_mmio(nd) ? NET_IRQ_LINE : NET_IRQ_INTX;
    nd->irq.config_entry = nd->rx.msix_entry = nd->tx.msix_entry = VIRTIO_MSI_NO_VECTOR;
    nd->irq.config_vector = nd->rx.vector = nd->tx.vector = WAIT_VECTOR_INTX;
    nd->irq.config_seen = wait_vector_count(WAIT_VECTOR_INTX);
    return true;
}

int net_irq_init(struct net_dev *nd, const struct config *cfg) {
    nd->irq = (struct net_irq){.config_entry = VIRTIO_MSI_NO_VECTOR};
    nd->rx.msix_entry = nd->tx.msix_entry = VIRTIO_MSI_NO_VECTOR;
    if (nd->mode == CONFIG_MODE_POLL) {
        return ERR_OK;
    }
    if (is_mmio(nd)) {
        if (line_assign(nd)) {
            return ERR_OK;
        }
        NET_ERROR(nd, "mode=%s: the device cannot interrupt", config_mode_name(nd->mode));
        return ERR_CONFIG;
    }
    if (cfg->intx == 0 && msix_init(&nd->irq.msix, &nd->pci.pci) == ERR_OK && msix_assign(nd)) {
        return ERR_OK;
    }
    if (line_assign(nd)) {
        return ERR_OK;
    }
    NET_ERROR(nd, "mode=%s: the device can interrupt neither by %sINTx", config_mode_name(nd->mode),
              cfg->intx == 0 ? "MSI-X nor by " : "");
    return ERR_CONFIG;
}

bool net_irq_fewer(struct net_dev *nd) {
    if (nd->irq.kind != NET_IRQ_MSIX) {
        return false;
    }
    if (nd->irq.entries > 1) {
        msix_share(nd);
        return true;
    }
    msix_disable(&nd->irq.msix);
    return line_assign(nd);
}

void net_irq_stop(struct net_dev *nd) {
    if (nd->irq.kind == NET_IRQ_MSIX) {
        msix_disable(&nd->irq.msix);
    }
    if (nd->irq.kind == NET_IRQ_LINE) {
        irq_line_disable(&nd->mmio.slot.line);
    }
    if (is_mmio(nd)) {
        return;
    }
    const uint16_t command = pci_read16(&nd->pci.pci, PCI_COMMAND);
    pci_write16(&nd->pci.pci, PCI_COMMAND, command | PCI_COMMAND_INTX_DISABLE);
}

int net_irq_start(struct net_dev *nd) {
    return nd->irq.kind == NET_IRQ_MSIX ? virtio_dev_config_vector(&nd->dev, nd->irq.config_entry)
                                        : ERR_OK;
}

const char *net_irq_name(const struct net_dev *nd) {
    switch (nd->irq.kind) {
    case NET_IRQ_NONE:
        break;
    case NET_IRQ_MSIX:
        return "msix";
    case NET_IRQ_INTX:
        return "intx";
    case NET_IRQ_LINE:
        return "line";
    }
    return "none";
}

/* --- at run time ------------------------------------------------------------------------------- */

static bool arm(struct net_queue *queue, uint16_t count) {
    const bool work = vq_event_on_after(&queue->vq, queue->vq.layout, count);
    queue->stats.rechecks_hit += work;
    return work;
}

bool net_arm(struct net_dev *nd, bool rx, bool tx) {
    bool work = rx && arm(&nd->rx, 1);
    if (tx) {
        const uint16_t half = vq_pending_count(&nd->tx.vq, nd->tx.vq.layout) / 2;
        work = arm(&nd->tx, half) || work;
    }
    return work;
}

void net_disarm(struct net_dev *nd) {
    vq_event_off(&nd->rx.vq, nd->rx.vq.layout);
    vq_event_off(&nd->tx.vq, nd->tx.vq.layout);
}

static void queue_count(struct net_queue *queue, bool slept) {
    const uint32_t now = wait_vector_count(queue->vector);
    const uint32_t more = now - queue->vector_seen;
    queue->vector_seen = now;
    queue->stats.interrupts += more;
    queue->stats.wakeups += more != 0 && slept;
}

/* True when the configuration may have changed. */
static bool msix_take(struct net_dev *nd, bool slept) {
    const uint32_t config = wait_vector_count(nd->irq.config_vector);
    const bool changed = config != nd->irq.config_seen;
    nd->irq.config_seen = config;
    queue_count(&nd->rx, slept);
    if (nd->tx.vector != nd->rx.vector) {
        queue_count(&nd->tx, slept);
    }
    return changed;
}

/* The status does not say which queue it was: counted for the receive queue, which nearly always it
 * is, unless only the transmit queue has work. */
static bool line_take(struct net_dev *nd, bool slept) {
    const uint8_t isr = virtio_dev_take_isr(&nd->dev);
    if (isr & VIRTIO_ISR_QUEUE) {
        nd->rx.stats.interrupts++;
        nd->rx.stats.wakeups += slept;
    }
    return isr & VIRTIO_ISR_CONFIG;
}

unsigned net_interrupts_take(bool slept) {
    static uint64_t seen;
    static uint32_t intx_seen;
    unsigned changed = 0;
    if (LIKELY(wait_interrupts() == seen)) {
        return 0;
    }
    seen = wait_interrupts();
    const uint32_t intx = wait_vector_count(WAIT_VECTOR_INTX);
    for (unsigned i = 0; i < net_dev_count; i++) {
        struct net_dev *nd = &net_devs[i];
        if (nd->irq.kind == NET_IRQ_MSIX) {
            changed |= (unsigned)msix_take(nd, slept) << i;
        } else if (has_line(nd) && intx != intx_seen) {
            changed |= (unsigned)line_take(nd, slept) << i;
        }
    }
    if (intx != intx_seen) {
        intx_seen = intx;
        irq_intx_ack();
    }
    return changed;
}
