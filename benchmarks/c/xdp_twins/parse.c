#include "twin.h"

struct key {
    u16 type, vlan, protocol, port;
};

struct {
    NUMBER(type, LRU_HASH);
    NUMBER(max_entries, 4096);
    TYPE(key, struct key);
    TYPE(value, u64);
} traffic SEC(".maps");

struct {
    NUMBER(type, PERCPU_ARRAY);
    NUMBER(max_entries, 16);
    TYPE(key, u32);
    TYPE(value, u64);
} unread SEC(".maps");

INLINE u16 destination_port(struct cursor *p, u32 protocol, u32 fragment_offset) {
    if ((protocol == TCP || protocol == UDP) && !fragment_offset && need(p, 4))
        return ntohs(((u16 *)p->at)[1]);
    return 0;
}

INLINE void count_traffic(struct link *link, u16 protocol, u16 port) {
    struct key key = {link->type, link->vlan, protocol, port};
    u64 one = 1, *number = map_lookup_elem(&traffic, &key);
    if (!number) {
        if (!map_update_elem(&traffic, &key, &one, NOEXIST))
            return;
        number = map_lookup_elem(&traffic, &key); /* another processor was quicker */
    }
    if (number)
        __sync_fetch_and_add(number, 1);
}

XDP parse(struct xdp_md *context) {
    struct cursor p = packet(context);
    struct link link;
    int verdict = parse_ethernet(&p, &link);
    if (!verdict && link.type == IPV4) {
        verdict = parse_ipv4(&p);
        if (!verdict) {
            struct ipv4 *ip = (struct ipv4 *)p.at;
            p = behind(&p, ip);
            count_traffic(
                &link, ip->protocol, destination_port(&p, ip->protocol, ntohs(ip->fragment) & FRAGMENT_OFFSET));
        }
    } else if (!verdict && link.type == IPV6) {
        struct transport transport;
        verdict = parse_ipv6(&p, &transport);
        if (!verdict)
            count_traffic(
                &link, transport.protocol, destination_port(&p, transport.protocol, transport.fragment_offset));
    }
    if (verdict)
        count(&unread, verdict);
    return PASS;
}
