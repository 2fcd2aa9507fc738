/* The twin of lbcore.l4.xdp: the same maps. MODES is told on the command line, as one family of modes. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define NUMBER(name, value) int(*name)[value]
#define TYPE(name, type) typeof(type) *name
#define LOOSE
#define LINK(n) ((n) & 31)
#define FAR(n) ((n) & 4095)
/* The verifier is to know no more of it than that, else it follows every way of parsing to the end. */
#define SETTLE(n, below) asm volatile("%0 &= %1" : "+r"(n) : "i"(below - 1))
#define CONTEXT struct xdp_md

#include "core.h"

enum { HASH = 1, ARRAY, PERCPU_ARRAY = 6, LRU_HASH = 9 };
enum { RINGS = 64, RING_SIZE = 65537, BACKENDS = 4096 };

struct xdp_md {
    u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

static void *(*const map_lookup_elem)(void *, const void *) = (void *)1;
static long (*const map_update_elem)(void *, const void *, const void *, u64) = (void *)2;
static long (*const map_delete_elem)(void *, const void *) = (void *)3;
static u64 (*const ktime_get_ns)(void) = (void *)5;
static long (*const adjust_head)(struct xdp_md *, int) = (void *)44;

SEC("license") char licence[] = "GPL";

struct vip_key {
    struct address address;
    u64 service;
};

struct count {
    u64 packets, bytes;
};

#define MAP(name, kind, entries, key_type, value_type)                                                                 \
    struct {                                                                                                           \
        NUMBER(type, kind);                                                                                            \
        NUMBER(max_entries, entries);                                                                                  \
        TYPE(key, key_type);                                                                                           \
        TYPE(value, value_type);                                                                                       \
    } name SEC(".maps")

MAP(settings, ARRAY, 1, u32, struct settings);
MAP(vips, HASH, 1024, struct vip_key, struct service);
MAP(rings, ARRAY, RINGS * RING_SIZE, u32, u32);
MAP(backends, ARRAY, BACKENDS, u32, struct backend);
MAP(server_ids, HASH, BACKENDS * 4, u32, u32);
MAP(established, LRU_HASH, 1 << 17, struct key, struct entry);
MAP(attempts, LRU_HASH, 1 << 16, struct key, struct entry);
MAP(returns, LRU_HASH, 1 << 17, struct key, struct way);
MAP(vip_counters, PERCPU_ARRAY, 2 * RINGS, u32, struct count);
MAP(backend_count, PERCPU_ARRAY, BACKENDS, u32, struct count);
MAP(reason_counters, PERCPU_ARRAY, 16, u32, u64);

INLINE struct cursor packet(struct xdp_md *context) {
    return (struct cursor){(u8 *)(long)context->data, (u8 *)(long)context->data_end};
}

INLINE int grow_head(struct xdp_md *context, int n) { return !adjust_head(context, -n); }

INLINE u64 now(struct tables *t) { return ktime_get_ns(); }

INLINE struct settings *settings_of(struct tables *t) {
    u32 key = 0;
    return map_lookup_elem(&settings, &key);
}

INLINE struct service *vip(struct tables *t, const struct address *address, u32 service) {
    struct vip_key key = {*address, service};
    return map_lookup_elem(&vips, &key);
}

INLINE struct backend *backend(struct tables *t, u32 number) { return map_lookup_elem(&backends, &number); }

INLINE u32 ring(struct tables *t, u32 number, u32 position) {
    u32 key = number * RING_SIZE + position, *slot = map_lookup_elem(&rings, &key);
    return slot ? *slot : 0;
}

INLINE u32 server(struct tables *t, u32 id) {
    u32 *number = map_lookup_elem(&server_ids, &id);
    return number ? *number : 0;
}

INLINE struct entry *known(struct tables *t, u32 hash, const struct key *key) {
    return map_lookup_elem(&established, key);
}

INLINE struct entry *attempt(struct tables *t, u32 hash, const struct key *key) {
    return map_lookup_elem(&attempts, key);
}

INLINE void establish(struct tables *t, u32 hash, const struct key *key, u64 when, u64 backend) {
    struct entry entry = {when, backend};
    map_update_elem(&established, key, &entry, 0);
}

INLINE void try_out(struct tables *t, u32 hash, const struct key *key, u64 when, u64 backend) {
    struct entry entry = {when, backend};
    map_update_elem(&attempts, key, &entry, 0);
}

INLINE void forget_attempt(struct tables *t, const struct key *key, struct entry *entry) {
    map_delete_elem(&attempts, key);
}

INLINE struct way *way_back(struct tables *t, u32 hash, const struct key *key) { return map_lookup_elem(&returns, key); }

INLINE void remember_way(struct tables *t, u32 hash, const struct key *key, const struct way *way, u64 when) {
    map_update_elem(&returns, key, way, 0);
}

/* Nobody else counts in this processor's copy. */
INLINE void count(struct count *c, u32 size) {
    if (c) {
        c->packets++;
        c->bytes += size;
    }
}

INLINE void count_vip(struct tables *t, u32 number, u32 reply, u32 size) {
    u32 key = 2 * number + reply;
    count(map_lookup_elem(&vip_counters, &key), size);
}

INLINE void count_backend(struct tables *t, u32 number, u32 size) {
    count(map_lookup_elem(&backend_count, &number), size);
}

INLINE void count_reason(struct tables *t, u32 reason) {
    u64 *number = map_lookup_elem(&reason_counters, &reason);
    if (number)
        ++*number;
}

SEC("xdp") int balance(struct xdp_md *context) { return forward(context, 0); }
