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

XDP count_protocols(struct xdp_md *context) {
    struct cursor p = packet(context);
    struct link link;
    if (parse_ethernet(&p, &link) || link.type != IPV4 || parse_ipv4(&p))
        return PASS;
    struct ipv4 *ip = (struct ipv4 *)p.at;
    count(&protocols, ip->protocol);
    if ((ip->protocol != TCP && ip->protocol != UDP) || ntohs(ip->fragment) & FRAGMENT_OFFSET)
        return PASS;
    p = behind(&p, ip);
    if (need(&p, 4))
        count(&ports, ntohs(((u16 *)p.at)[1]));
    return PASS;
}
