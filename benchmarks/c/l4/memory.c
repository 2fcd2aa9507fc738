/* The twin of lbcore.l4.forwarder: the same tables in the same memory, batch by batch. */
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define INLINE static inline __attribute__((always_inline))
#define LOOSE __attribute__((may_alias, aligned(1)))
#define LINK(n) (n)
#define FAR(n) (n)
#define SETTLE(n, below)
#define CONTEXT struct context
#define MODES 63

#include "core.h"

struct context {
    u8 *start, *end, *lowest;
};

struct row {
    struct key key;
    struct entry entry;
    u64 spare;
};

struct flow_table {
    struct row *rows;
    u8 *tags;
    s64 *counts;
    u64 size;
};

struct vip_key {
    struct address address;
    u64 service;
};

struct count {
    s64 packets, bytes;
};

struct identity {
    s64 id, backend;
};

/* In the order in which benchmarks.l4_twins fills it. */
struct tables {
    struct settings *settings;
    struct vip_key *vip_keys;
    struct service *vip_values;
    u64 vips;
    u32 *rings;
    u64 ring_size;
    struct backend *backends;
    u64 backend_count;
    struct identity *server_ids;
    u64 server_count;
    struct flow_table established, attempts, returns;
    struct way *ways;
    u64 *clock;
    struct count *vip_counters, *backend_counters;
    s64 *reason_counters;
};

enum { WAYS = 8 };
#define GOLDEN 0x9E3779B97F4A7C15ull

INLINE struct cursor packet(struct context *context) { return (struct cursor){context->start, context->end}; }

INLINE int grow_head(struct context *context, int n) {
    if (context->start - n < context->lowest)
        return 0;
    context->start -= n;
    return 1;
}

/* ------------------------------------------------------------------------------------------------------- flow table */

INLINE u64 home_of(const struct flow_table *t, u32 hash) { return (hash * GOLDEN >> 32) & (t->size - 1); }

INLINE u8 tag_of(u32 hash) { return (hash & 0x7F) | 0x80; }

INLINE int same_key(const struct key *a, const struct key *b) {
    return a->source_high == b->source_high && a->source_low == b->source_low &&
           a->destination_high == b->destination_high && a->destination_low == b->destination_low && a->rest == b->rest;
}

INLINE s64 find(const struct flow_table *t, u32 hash, const struct key *key) {
    u64 home = home_of(t, hash);
    u8 tag = tag_of(hash);
    for (u64 i = 0; i < WAYS; i++)
        if (t->tags[home ^ i] == tag && same_key(&t->rows[home ^ i].key, key))
            return home ^ i;
    return -1;
}

/* Not inlined: a new flow is rare. */
static __attribute__((noinline)) s64 make(struct flow_table *t, u32 hash, const struct key *key, s64 when, s64 idle) {
    u64 home = home_of(t, hash), victim = home;
    s64 oldest = when + 1;
    t->counts[0]++;
    for (u64 i = 0; i < WAYS; i++) {
        u64 row = home ^ i;
        if (!t->tags[row]) {
            victim = row;
            goto found;
        }
        if ((s64)t->rows[row].entry.seen < oldest) {
            victim = row;
            oldest = t->rows[row].entry.seen;
        }
    }
    t->counts[when - oldest > idle ? 1 : 2]++;
found:
    t->tags[victim] = tag_of(hash);
    t->rows[victim].key = *key;
    return victim;
}

INLINE s64 put(struct flow_table *t, u32 hash, const struct key *key, u64 when, u64 idle, u64 backend) {
    s64 row = find(t, hash, key);
    if (row < 0)
        row = make(t, hash, key, when, idle);
    t->rows[row].entry = (struct entry){when, backend};
    return row;
}

/* ----------------------------------------------------------------------------------------------------------- tables */

INLINE u64 now(struct tables *t) { return *t->clock; }

INLINE struct settings *settings_of(struct tables *t) { return t->settings; }

INLINE struct service *vip(struct tables *t, const struct address *a, u32 service) {
    u64 mask = t->vips - 1;
    u64 at = ((a->high ^ a->high >> 29 ^ a->low ^ (u64)service << 40) * GOLDEN >> 32) & mask;
    for (u64 i = 0; i <= mask; i++, at = (at + 1) & mask) {
        struct vip_key *key = &t->vip_keys[at];
        if (key->address.high == a->high && key->address.low == a->low && key->service == service)
            return &t->vip_values[at];
        if (key->service == ~0ull)
            break;
    }
    return 0;
}

INLINE struct backend *backend(struct tables *t, u32 number) {
    return &t->backends[number < t->backend_count ? number : 0];
}

INLINE u32 ring(struct tables *t, u32 number, u32 position) { return t->rings[number * t->ring_size + position]; }

INLINE u32 server(struct tables *t, u32 id) {
    u64 low = 0, high = t->server_count;
    while (low < high) {
        u64 middle = (low + high) / 2;
        if (t->server_ids[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < t->server_count && t->server_ids[low].id == id ? t->server_ids[low].backend : 0;
}

INLINE struct entry *known(struct tables *t, u32 hash, const struct key *key) {
    s64 row = find(&t->established, hash, key);
    return row < 0 ? 0 : &t->established.rows[row].entry;
}

INLINE struct entry *attempt(struct tables *t, u32 hash, const struct key *key) {
    s64 row = find(&t->attempts, hash, key);
    return row < 0 ? 0 : &t->attempts.rows[row].entry;
}

INLINE void establish(struct tables *t, u32 hash, const struct key *key, u64 when, u64 backend) {
    put(&t->established, hash, key, when, t->settings->idle, backend);
}

INLINE void try_out(struct tables *t, u32 hash, const struct key *key, u64 when, u64 backend) {
    put(&t->attempts, hash, key, when, t->settings->idle, backend);
}

INLINE void forget_attempt(struct tables *t, const struct key *key, struct entry *entry) {
    t->attempts.tags[(struct row *)((u8 *)entry - sizeof(struct key)) - t->attempts.rows] = 0;
}

INLINE struct way *way_back(struct tables *t, u32 hash, const struct key *key) {
    s64 row = find(&t->returns, hash, key);
    if (row < 0)
        return 0;
    t->returns.rows[row].entry.seen = *t->clock;
    return &t->ways[row];
}

INLINE void remember_way(struct tables *t, u32 hash, const struct key *key, const struct way *way, u64 when) {
    t->ways[put(&t->returns, hash, key, when, t->settings->idle, 0)] = *way;
}

INLINE void count(struct count *c, u32 size) {
    c->packets++;
    c->bytes += size;
}

INLINE void count_vip(struct tables *t, u32 number, u32 reply, u32 size) {
    count(&t->vip_counters[2 * number + reply], size);
}

INLINE void count_backend(struct tables *t, u32 number, u32 size) { count(&t->backend_counters[number], size); }

INLINE void count_reason(struct tables *t, u32 reason) { t->reason_counters[reason]++; }

/* ------------------------------------------------------------------------------------------------------------ batch */

/* Ask for the rows that the packet of a context will need, and do not wait. */
INLINE void look_ahead(struct context *context, struct tables *t) {
    struct flow flow;
    parse(packet(context), &flow);
    if (flow.reason != FORWARDED)
        return;
    struct service *service = vip(t, &flow.destination, flow.destination_port << 8 | flow.protocol);
    if (!service)
        service = vip(t, &flow.destination, flow.protocol);
    struct flow_table *table = service ? &t->established : &t->returns;
    if (service)
        tell_apart(&flow, service->flags);
    u64 home = home_of(table, service ? hash_of(&flow, t->settings) : hash_of_reply(&flow, t->settings));
    __builtin_prefetch(&table->tags[home]);
    __builtin_prefetch(&table->rows[home]);
    if (!service)
        __builtin_prefetch(&t->ways[home]);
}

INLINE struct context context_of(u8 *row, s64 start, s64 length) {
    return (struct context){row + start, row + start + length, row};
}

/* lead: how many packets to look ahead; 0: not at all. */
void forward_batch(u8 *frames, s64 width, s64 n, s64 *starts, s64 *lengths, u8 *verdicts, struct tables *t, s64 lead) {
    for (s64 i = 0; i < n; i++) {
        if (lead && i + lead < n) {
            struct context later = context_of(frames + (i + lead) * width, starts[i + lead], lengths[i + lead]);
            look_ahead(&later, t);
        }
        u8 *row = frames + i * width;
        struct context context = context_of(row, starts[i], lengths[i]);
        verdicts[i] = forward(&context, t);
        starts[i] = context.start - row;
        lengths[i] = context.end - context.start;
    }
}
