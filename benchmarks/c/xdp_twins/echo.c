#include "twin.h"

enum { PORT = 7, GROUP = 1 };

struct udp {
    u16 source, destination, length, checksum;
};

XDP echo(struct xdp_md *context) {
    struct cursor p = packet(context);
    struct ethernet *frame = (struct ethernet *)p.at;
    struct link link;
    if (parse_ethernet(&p, &link) || link.type != IPV4 || frame->destination[0] & GROUP)
        return PASS;
    if (parse_ipv4(&p))
        return PASS;
    struct ipv4 *ip = (struct ipv4 *)p.at;
    if (ip->protocol != UDP || ntohs(ip->fragment) & (MORE_FRAGMENTS | FRAGMENT_OFFSET))
        return PASS;
    p = behind(&p, ip);
    struct udp *udp = (struct udp *)p.at;
    if (!need(&p, sizeof *udp) || ntohs(udp->length) < sizeof *udp || ntohs(udp->length) > p.end - p.at)
        return PASS;
    if (udp->destination != htons(PORT) || udp->source == htons(PORT))
        return PASS;
    /* Two words for six bytes. Where they are not aligned, the processor does not mind. */
    u8 *to = frame->destination, *from = frame->source;
    u16 high = *(u16 *)to;
    u32 low = *(u32 *)(to + 2), address = ip->source;
    *(u16 *)to = *(u16 *)from;
    *(u32 *)(to + 2) = *(u32 *)(from + 2);
    *(u16 *)from = high;
    *(u32 *)(from + 2) = low;
    ip->source = ip->destination;
    ip->destination = address;
    udp->destination = udp->source;
    udp->source = htons(PORT);
    return TX;
}
