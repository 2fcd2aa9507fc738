/* What the twins share: the few words of BPF that they need, so that no header of the machine's is read, and the
 * parsers of lbcore.wire as C has them. The order of the checks is the same, for the verdict says which one failed.
 *
 * Packets are read through structs, as the kernel's own samples do. A header is asked for once, by `need`, and a cursor
 * that has gone a computed distance is asked again.
 */
#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define NUMBER(name, value) int(*name)[value]
#define TYPE(name, type) typeof(type) *name
#define XDP SEC("xdp") int

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

enum { DROP = 1, PASS, TX };
enum { PERCPU_ARRAY = 6, LRU_HASH = 9, LPM_TRIE = 11, DEVMAP = 14 };
enum { ANY, NOEXIST, NO_PREALLOC = 1 };

struct xdp_md {
    u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

static void *(*const map_lookup_elem)(void *, const void *) = (void *)1;
static long (*const map_update_elem)(void *, const void *, const void *, u64) = (void *)2;
static u64 (*const ktime_get_ns)(void) = (void *)5;
static long (*const redirect_map)(void *, u32, u64) = (void *)51;

SEC("license") char licence[] = "GPL";

#define ntohs __builtin_bswap16
#define ntohl __builtin_bswap32
#define htons __builtin_bswap16

struct cursor {
    u8 *at, *end;
};

INLINE struct cursor packet(struct xdp_md *context) {
    return (struct cursor){(u8 *)(long)context->data, (u8 *)(long)context->data_end};
}

INLINE int need(struct cursor *p, u64 n) { return p->at + n <= p->end; }

/* ---- lbcore.wire.verdict ---- */

enum { OK, TRUNCATED, BAD_VERSION, BAD_HEADER_LENGTH, BAD_TOTAL_LENGTH, BAD_OPTION, TOO_MANY_HEADERS };

/* ---- lbcore.wire.ethernet ---- */

enum { IPV4 = 0x0800, IPV6 = 0x86DD, VLAN = 0x8100, PROVIDER_VLAN = 0x88A8, UNTAGGED = 0xFFFF };

struct ethernet {
    u8 destination[6], source[6];
    u16 type;
};

struct tag {
    u16 vlan, type;
};

struct link {
    u16 type, vlan;
};

INLINE int is_tag(u16 type) { return type == VLAN || type == PROVIDER_VLAN; }

/* Reads the header and up to two tags; the cursor is behind them then. */
INLINE int parse_ethernet(struct cursor *p, struct link *link) {
    struct ethernet *header = (struct ethernet *)p->at;
    if (!need(p, sizeof *header))
        return TRUNCATED;
    link->type = ntohs(header->type);
    link->vlan = UNTAGGED;
    p->at += sizeof *header;
    for (int i = 0; i < 2 && is_tag(link->type); i++) {
        struct tag *tag = (struct tag *)p->at;
        if (!need(p, sizeof *tag))
            return TRUNCATED;
        link->vlan = ntohs(tag->vlan);
        link->type = ntohs(tag->type);
        p->at += sizeof *tag;
    }
    return is_tag(link->type) ? TOO_MANY_HEADERS : OK;
}

/* ---- lbcore.wire.ipv4 ---- */

enum { TCP = 6, UDP = 17, FRAGMENT_OFFSET = 0x1FFF, MORE_FRAGMENTS = 0x2000 };

struct ipv4 {
    u8 version_length, tos;
    u16 total_length, identification, fragment;
    u8 ttl, protocol;
    u16 checksum;
    u32 source, destination;
};

/* Checks the header; the cursor stays on it. */
INLINE int parse_ipv4(struct cursor *p) {
    struct ipv4 *ip = (struct ipv4 *)p->at;
    if (!need(p, sizeof *ip))
        return TRUNCATED;
    u32 length = (ip->version_length & 15) * 4, total = ntohs(ip->total_length);
    if (ip->version_length >> 4 != 4)
        return BAD_VERSION;
    if (length < sizeof *ip)
        return BAD_HEADER_LENGTH;
    if (!need(p, length))
        return TRUNCATED;
    return total < length || total > p->end - p->at ? BAD_TOTAL_LENGTH : OK;
}

/* The cursor behind a header that was checked. */
INLINE struct cursor behind(struct cursor *p, struct ipv4 *ip) {
    return (struct cursor){p->at + (ip->version_length & 15) * 4, p->end};
}

/* ---- lbcore.wire.ipv6 ---- */

enum { HOP_BY_HOP, ROUTING = 43, FRAGMENT, AUTHENTICATION = 51, DESTINATION = 60, MOBILITY = 135, HIP = 139,
       SHIM6, MAX_EXTENSIONS = 6 };

struct ipv6 {
    u32 version_class_flow;
    u16 payload_length;
    u8 next_header, hop_limit;
    u32 source[4], destination[4];
};

struct extension {
    u8 next_header, length;
    u16 fragment;
    u32 identification;
};

struct transport {
    u32 protocol, fragment_offset;
};

INLINE int is_extension(u32 protocol) {
    switch (protocol) {
    case HOP_BY_HOP: case ROUTING: case FRAGMENT: case AUTHENTICATION: case DESTINATION: case MOBILITY: case HIP:
    case SHIM6:
        return 1;
    }
    return 0;
}

/* Checks the header and walks the extensions; the cursor is behind them then. */
INLINE int parse_ipv6(struct cursor *p, struct transport *found) {
    struct ipv6 *ip = (struct ipv6 *)p->at;
    if (!need(p, sizeof *ip))
        return TRUNCATED;
    u32 total = ntohs(ip->payload_length) + sizeof *ip, length = sizeof *ip;
    if (ntohl(ip->version_class_flow) >> 28 != 6)
        return BAD_VERSION;
    if (total > p->end - p->at)
        return BAD_TOTAL_LENGTH;
    *found = (struct transport){ip->next_header, 0};
    p->at += sizeof *ip;
    for (int i = 0; i < MAX_EXTENSIONS; i++) {
        if (!is_extension(found->protocol) || found->fragment_offset)
            return OK;
        struct extension *here = (struct extension *)p->at;
        if (!need(p, sizeof *here))
            return TRUNCATED;
        u32 size = (here->length + 1) * 8;
        if (found->protocol == FRAGMENT) {
            found->fragment_offset = ntohs(here->fragment) & 0xFFF8;
            size = 8;
        } else if (found->protocol == AUTHENTICATION) {
            size = (here->length + 2) * 4;
        }
        found->protocol = here->next_header;
        length += size;
        if (length > total)
            return TRUNCATED;
        p->at += size;
    }
    return is_extension(found->protocol) && !found->fragment_offset ? TOO_MANY_HEADERS : OK;
}

/* ---- counters, as lbcore.ebpf.maps has them ---- */

/* Nobody else counts in this processor's copy. */
INLINE void count(void *percpu_array, u32 key) {
    u64 *number = map_lookup_elem(percpu_array, &key);
    if (number)
        *number += 1;
}
