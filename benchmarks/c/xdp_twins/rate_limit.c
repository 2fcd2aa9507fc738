#include "twin.h"

enum { RATE = 100, BURST = 10, TOKEN = 1000000000 / RATE, FULL = BURST * TOKEN };

struct bucket {
    u64 when, credit;
};

struct {
    NUMBER(type, LRU_HASH);
    NUMBER(max_entries, 65536);
    TYPE(key, u32);
    TYPE(value, struct bucket);
} buckets SEC(".maps");

XDP rate_limit(struct xdp_md *context) {
    struct cursor p = packet(context);
    struct link link;
    if (parse_ethernet(&p, &link) || link.type != IPV4 || parse_ipv4(&p))
        return PASS;
    u32 source = ((struct ipv4 *)p.at)->source;
    s64 now = ktime_get_ns(), credit = FULL;
    struct bucket *bucket = map_lookup_elem(&buckets, &source);
    if (bucket) {
        s64 waited = now - bucket->when;
        if (waited < 0) { /* another processor looked after this one had read the clock */
            now = bucket->when;
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
    struct bucket changed = {now, credit};
#ifdef IN_PLACE
    if (bucket) {
        *bucket = changed;
        return verdict;
    }
#endif
    map_update_elem(&buckets, &source, &changed, ANY);
    return verdict;
}
