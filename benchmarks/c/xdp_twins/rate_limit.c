#include "twin.h"

enum { RATE = 100, BURST = 10, TOKEN = 1000000000 / RATE, FULL = BURST * TOKEN };

struct bucket {
    u64 seen, credit;
};

struct source {
    u32 words[4];
};

struct {
    NUMBER(type, LRU_HASH);
    NUMBER(max_entries, 65536);
    TYPE(key, struct source);
    TYPE(value, struct bucket);
} buckets SEC(".maps");

XDP rate_limit(struct xdp_md *context) {
    struct cursor p = packet(context);
    struct link link;
    if (parse_ethernet(&p, &link))
        return DROP;
    struct source source = {};
    if (link.type == IPV4) {
        if (parse_ipv4(&p))
            return DROP;
        source.words[2] = 0xFFFF0000; /* ::ffff:a.b.c.d, in the order of the wire */
        source.words[3] = ((struct ipv4 *)p.at)->source;
    } else if (link.type == IPV6) {
        struct ipv6 *ip = (struct ipv6 *)p.at;
        struct transport transport;
        if (parse_ipv6(&p, &transport))
            return DROP;
        source.words[0] = ip->source[0];
        source.words[1] = ip->source[1];
    } else {
        return PASS;
    }
    s64 now = ktime_get_ns(), credit = FULL;
    struct bucket *bucket = map_lookup_elem(&buckets, &source);
    if (bucket) {
        s64 waited = now - bucket->seen;
        if (waited < 0) { /* another processor looked after this one had read the clock */
            now = bucket->seen;
            waited = 0;
        }
        if (waited < FULL) {
            credit = bucket->credit + waited;
            credit = credit < FULL ? credit : FULL;
        }
    }
    int verdict = DROP;
    if (credit >= TOKEN) {
        credit -= TOKEN;
        verdict = PASS;
    }
    if (bucket) {
        bucket->seen = now;
        bucket->credit = credit;
    } else {
        struct bucket fresh = {now, credit};
        map_update_elem(&buckets, &source, &fresh, ANY);
    }
    return verdict;
}
