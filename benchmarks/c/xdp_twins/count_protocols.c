#include "twin.h"

struct {
    NUMBER(type, PERCPU_ARRAY);
    NUMBER(max_entries, 256);
    TYPE(key, u32);
    TYPE(value, u64);
} protocols SEC(".maps");

struct {
    NUMBER(type, PERCPU_ARRAY);
    NUMBER(max_entries, 1 << 16);
    TYPE(key, u32);
    TYPE(value, u64);
} ports SEC(".maps");

INLINE void count_one(struct cursor p, u32 protocol, u32 fragment_offset) {
    count(&protocols, protocol);
    if ((protocol == TCP || protocol == UDP) && !fragment_offset && need(&p, 4))
        count(&ports, ntohs(((u16 *)p.at)[1]));
}

XDP count_protocols(struct xdp_md *context) {
    struct cursor p = packet(context);
    struct link link;
    struct transport transport;
    if (parse_ethernet(&p, &link))
        return PASS;
    if (link.type == IPV4) {
        if (parse_ipv4(&p))
            return PASS;
        struct ipv4 *ip = (struct ipv4 *)p.at;
        count_one(behind(&p, ip), ip->protocol, ntohs(ip->fragment) & FRAGMENT_OFFSET);
    } else if (link.type == IPV6 && !parse_ipv6(&p, &transport)) {
        count_one(p, transport.protocol, transport.fragment_offset);
    }
    return PASS;
}
