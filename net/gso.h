/* Frames that stand for several packets (5.1.6.2, 5.1.6.4): of what kind the device cuts them, or leaves them
 * uncut. Bits of a set. */
#ifndef NET_GSO_H
#define NET_GSO_H

enum {
    GSO_TCP4 = 1 << 0, /* HOST_TSO4, GUEST_TSO4 */
    GSO_TCP6 = 1 << 1,
    GSO_UDP4 = 1 << 2, /* HOST_USO, GUEST_USO4 */
    GSO_UDP6 = 1 << 3, /* HOST_USO, GUEST_USO6 */
    GSO_ALL = GSO_TCP4 | GSO_TCP6 | GSO_UDP4 | GSO_UDP6,
};

#endif
