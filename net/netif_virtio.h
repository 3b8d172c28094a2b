/* lwIP network interfaces over virtio-net, without copies in either direction.
 *
 * Received: lwIP's packet header lives in the owner area of the packet buffer, so that the buffer
 * is the lwIP packet; freeing the one gives back the other. Only when so few buffers are left that
 * the receive ring could not be filled, a frame is copied out and its buffer goes back at once.
 *
 * Sent: each piece of lwIP's packet becomes a segment of the frame. The packet is held until the
 * device is done with it. When the ring is full, frames wait in a queue of fixed size, and no
 * frame is received before that queue has drained: overload is then dropped by the device, not
 * here. */
#ifndef NET_NETIF_VIRTIO_H
#define NET_NETIF_VIRTIO_H

#include "lib/pktbuf.h"
#include "lwip/netif.h"

/* Adds the lwIP interface of net_devs[nic], without addresses and not yet up. Call once for each
 * device, in order. */
struct netif *netif_virtio_add(unsigned nic);

struct netif *netif_virtio_get(unsigned nic);

/* One pass: takes back what was sent, hands up to a burst of received frames to lwIP. What lwIP
 * answers is visible to the device only after netif_virtio_flush(). Returns the frames received. */
unsigned netif_virtio_poll(unsigned nic);

void netif_virtio_flush(unsigned nic);

/* From now on a workload receives and sends bursts itself (drivers/virtio_net.h), and
 * netif_virtio_poll() no longer receives. What it sends with net_tx_burst() goes back to the pool of
 * its buffers by itself. Where blocked() is true it will not receive from that NIC now, so that there is
 * no reason to be woken up by its frames; NULL: it always will. */
void netif_virtio_set_raw(bool (*blocked)(unsigned nic));

/* Hands a received frame to lwIP, as netif_virtio_poll() does; it is no longer the caller's. */
void netif_virtio_input(unsigned nic, struct pktbuf *frame);

/* Takes back everything that was sent, then sends what lwIP has waiting. */
void netif_virtio_reclaim(unsigned nic);

/* Looks after the device (reads its registers): follows the link, restarts it when needed, announces
 * where we are when the device asks for it. What is sent needs netif_virtio_flush(). */
void netif_virtio_service(unsigned nic);

/* Before a sleep: net_arm() with what waits to be sent. True: there is work already. */
bool netif_virtio_arm(unsigned nic);

/* Unicast frames for another station, which promiscuous devices deliver; dropped. */
uint64_t netif_virtio_not_for_us(unsigned nic);

/* Frames without the tag of vlan=, and without vlan= all that have a tag; dropped. */
uint64_t netif_virtio_wrong_vlan(unsigned nic);

/* Segments and datagrams that left in the frame of one before them, for the device to cut. */
uint64_t netif_virtio_tx_joined(unsigned nic);

/* Acknowledgements of TCP that were not sent, since a later one of the same pass says more. */
uint64_t netif_virtio_acks_replaced(unsigned nic);

/* Frames that wait for room in the transmit ring. */
uint64_t netif_virtio_backlog(unsigned nic);

#endif
