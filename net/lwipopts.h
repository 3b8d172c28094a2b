/* lwIP's configuration. Everything that is not named here has lwIP's default.
 *
 * Memory: all static, about 3 MiB in `.bss.large`. Sizes follow from what must go on at once:
 *
 *   1024 connections of the workload and 128 more for HTTP, iperf and closing ones
 *   4096 TCP segments on their way; each has a header (pool of 192 bytes) and points to its data
 *   384 full frames copied out of packet buffers when those run low */
#ifndef NET_LWIPOPTS_H
#define NET_LWIPOPTS_H

/* The system: one poll loop, no threads, no interrupts. */
#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_SOCKET 0
#define LWIP_NETCONN 0
#define LWIP_RAW 1 /* echo replies for app=ping */
#define LWIP_DNS 0

/* Memory: pools only, so that every allocation takes the same short time. See lwippools.h for the
 * pools behind mem_malloc(). */
#define MEM_ALIGNMENT 8
#define MEM_USE_POOLS 1
#define MEM_USE_POOLS_TRY_BIGGER_POOL 1
#define MEMP_USE_CUSTOM_POOLS 1
#define MEMP_NUM_TCP_PCB 1152
#define MEMP_NUM_TCP_PCB_LISTEN 8
#define MEMP_NUM_TCP_SEG 4096
#define MEMP_NUM_UDP_PCB 16
#define MEMP_NUM_PBUF 4096 /* references to data: one for each TCP segment */
#define MEMP_NUM_REASSDATA 16
#define MEMP_NUM_FRAG_PBUF 256
#define MEMP_NUM_ARP_QUEUE 64
#define MEMP_NUM_ND6_QUEUE 64
#define MEMP_NUM_MLD6_GROUP 48
#define MEMP_NUM_SYS_TIMEOUT (LWIP_NUM_SYS_TIMEOUT_INTERNAL + 4)
#define PBUF_POOL_SIZE 384
#define PBUF_POOL_BUFSIZE 1632

/* What checksums lwIP makes and checks changes with the device and with each frame. */
#define LWIP_CHECKSUM_CTRL_PER_NETIF 1

/* Room in front of the Ethernet header for the virtio header (12 bytes). */
#define PBUF_LINK_ENCAPSULATION_HLEN 16
#define LWIP_SUPPORT_CUSTOM_PBUF 1
#define LWIP_NETIF_TX_SINGLE_PBUF 0

/* Interfaces */
#define LWIP_ARP 1
#define LWIP_ETHERNET 1
#define LWIP_SINGLE_NETIF 0
#define LWIP_HAVE_LOOPIF 0
#define LWIP_NETIF_LOOPBACK 0
#define LWIP_NETIF_HOSTNAME 1
#define LWIP_NETIF_EXT_STATUS_CALLBACK 1
#define LWIP_NETIF_HWADDRHINT 1
#define ETHARP_SUPPORT_VLAN 1
#define ARP_TABLE_SIZE 64
#define ARP_QUEUEING 1
#define ARP_QUEUE_LEN 48 /* all fragments of a datagram of 64 KiB */
#define ETHARP_TABLE_MATCH_NETIF 1

/* IPv4 */
#define LWIP_IPV4 1
#define IP_FORWARD 0
#define IP_REASSEMBLY 1
#define IP_FRAG 1
#define IP_REASS_MAX_PBUFS 192 /* four datagrams of 64 KiB */
#define LWIP_ICMP 1
#define LWIP_BROADCAST_PING 0
#define LWIP_MULTICAST_PING 0
#define LWIP_IGMP 0
#define LWIP_DHCP 1
#define LWIP_ACD 0
#define LWIP_DHCP_DOES_ACD_CHECK 0 /* it would hold the address back for seconds */
#define LWIP_AUTOIP 0

/* IPv6 */
#define LWIP_IPV6 1
#define LWIP_IPV6_FORWARD 0
#define LWIP_IPV6_FRAG 1
#define LWIP_IPV6_REASS 1
#define IPV6_FRAG_COPYHEADER 1 /* our pointers do not fit into a fragment header */
#define LWIP_IPV6_MLD 1
#define LWIP_IPV6_AUTOCONFIG 1
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 1
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 1
#define LWIP_IPV6_DHCP6 0
#define LWIP_IPV6_NUM_ADDRESSES 4
#define LWIP_ND6_NUM_NEIGHBORS 32
#define LWIP_ND6_NUM_DESTINATIONS 32
#define LWIP_ND6_NUM_PREFIXES 8
#define LWIP_ND6_NUM_ROUTERS 4
#define LWIP_ND6_QUEUEING 1
#define LWIP_ICMP6 1

/* UDP and TCP */
#define LWIP_UDP 1
#define LWIP_TCP 1
#define TCP_MSS 1460
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 3
#define TCP_WND (256 * 1024)
#define TCP_SND_BUF (255 * 1024) /* httpd keeps it in 16 bits: 256 KiB would look like none */
#define TCP_SND_QUEUELEN ((4 * TCP_SND_BUF + TCP_MSS - 1) / TCP_MSS)
#define TCP_SNDLOWAT 16384
#define TCP_QUEUE_OOSEQ 1
#define TCP_OOSEQ_MAX_PBUFS 192 /* a full window of full segments */
#define LWIP_TCP_SACK_OUT 1
#define LWIP_TCP_TIMESTAMPS 1
#define TCP_LISTEN_BACKLOG 1
#define TCP_DEFAULT_LISTEN_BACKLOG 220 /* five ports: half-open ones leave room for others */
#define LWIP_TCP_RTO_TIME 1000 /* before a round trip was measured (RFC 6298) */
#define LWIP_TCP_PCB_NUM_EXT_ARGS 2 /* of net/tcp_recovery.c */
#define LWIP_TCP_KEEPALIVE 1
#define TCP_MSL 30000
#define LWIP_RANDOMIZE_INITIAL_LOCAL_PORTS 1

/* Late acknowledgements go out after 100 ms instead of 250, lost tails are sent again after some
 * 500 ms instead of 1500. The unit of tcp_poll() becomes 200 ms with it. */
#define TCP_TMR_INTERVAL 100

#define LWIP_HOOK_FILENAME "net/lwip_hooks.h"
#define LWIP_HOOK_TCP_ISN(local_ip, local_port, remote_ip, remote_port)                            \
    lwip_hooks_tcp_isn(local_ip, local_port, remote_ip, remote_port)
#define LWIP_HOOK_IP4_INPUT(p, netif) time_wait_input(p, netif)
#define LWIP_HOOK_IP6_INPUT(p, netif) time_wait_input(p, netif)
#define LWIP_HOOK_TCP_INPACKET_PCB(pcb, header, options_len, first_len, second, p)                 \
    lwip_hooks_tcp_in(pcb, header, first_len)
#define LWIP_HOOK_VLAN_SET(netif, p, src, dst, type) lwip_hooks_vlan(netif)
#define LWIP_HOOK_IP4_ROUTE_SRC(src, dest) lwip_hooks_ip4_route(src, dest)

/* Web server: files come from net/http_status.c with their headers. What it renders for a
 * request is given back as soon as it was handed to TCP, so TCP copies it; the page itself is
 * constant. */
#define LWIP_HTTPD_CUSTOM_FILES 1
#define LWIP_HTTPD_FILE_EXTENSION 1
#define LWIP_HTTPD_DYNAMIC_HEADERS 0
#define LWIP_HTTPD_DYNAMIC_FILE_READ 0
#define LWIP_HTTPD_SUPPORT_EXTSTATUS 1
#define LWIP_HTTPD_SUPPORT_REQUESTLIST 1
#define LWIP_HTTPD_REQ_QUEUELEN 48 /* packets of one request: clients may send single bytes */
#define LWIP_HTTPD_MAX_REQ_LENGTH 4095
#define HTTPD_FSDATA_FILE "net/fsdata_none.h"
#define HTTPD_LIMIT_SENDING_TO_2MSS 0
#define HTTPD_USE_MEM_POOL 1
#define MEMP_NUM_PARALLEL_HTTPD_CONNS 64
#define HTTPD_TCP_PRIO TCP_PRIO_NORMAL
#define HTTPD_POLL_INTERVAL 10 /* 2 s, four times: then an idle client is closed */
#define HTTP_IS_DATA_VOLATILE(hs)                                                                  \
    ((hs)->handle != NULL && (hs)->handle->pextension != NULL ? TCP_WRITE_FLAG_COPY : 0)

#define LWIPERF_TCP_MAX_IDLE_SEC 25 /* units of 400 ms: 10 s */

/* Counters: shown in the statistics of the workload */
#define LWIP_STATS 1
#define LWIP_STATS_LARGE 1
#define LWIP_STATS_DISPLAY 0
#define ICMP6_STATS 1
#define IP6_STATS 1
#define IP6_FRAG_STATS 1
#define ND6_STATS 1
#define MEMP_STATS 1
#define SYS_STATS 0

#endif
