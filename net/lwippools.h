/* The pools behind lwIP's mem_malloc(). Included several times, so without a guard.
 *
 *   192    a TCP header in front of referenced data; control segments, ARP, small frames copied
 *   1664   a full frame
 *   16640  answers to large ICMPv6 echo requests; a device may be slow to give them back */
LWIP_MALLOC_MEMPOOL_START
LWIP_MALLOC_MEMPOOL(6144, 192)
LWIP_MALLOC_MEMPOOL(256, 1664)
LWIP_MALLOC_MEMPOOL(16, 16640)
LWIP_MALLOC_MEMPOOL_END
