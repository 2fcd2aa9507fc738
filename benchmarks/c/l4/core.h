/* The balancer of lbcore.l4 as one would write it in C: core.c of a twin, over whatever tables and packets the file that
 * includes this one has. It brings the types u8 to u64, INLINE, LOOSE (how a word at any address is declared), LINK and
 * FAR (an offset that is known to be small, where somebody wants to know), SETTLE (the same where ways of parsing meet),
 * CONTEXT, MODES, and these:
 *
 *   struct cursor packet(CONTEXT *);  int grow_head(CONTEXT *, int n);  u64 now(struct tables *);
 *   struct settings *settings_of(t);     struct service *vip(t, struct address *, u32 service);
 *   struct backend *backend(t, u32);  u32 ring(t, u32 number, u32 position);  u32 server(t, u32 id);
 *   struct entry *known(t, hash, key), *attempt(t, hash, key);
 *   void establish(t, hash, key, when, backend), try_out(...);  void forget_attempt(t, key, struct entry *);
 *   struct way *way_back(t, hash, key);  void remember_way(t, hash, key, struct way *, when);
 *   void count_vip(t, number, reply, size), count_backend(t, number, size), count_reason(t, reason);
 *
 * What C does as C does: an entry is a pointer and is changed where it is, a backend is looked up once, nothing is
 * copied. The order of the checks is lbcore's, for the reason says which one failed.
 */
#define swap16 __builtin_bswap16
#define swap32 __builtin_bswap32
#define swap64 __builtin_bswap64

typedef u16 LOOSE loose16;
typedef u32 LOOSE loose32;
typedef u64 LOOSE loose64;

INLINE u32 get16(const u8 *p) { return swap16(*(const loose16 *)p); }
INLINE u32 get32(const u8 *p) { return swap32(*(const loose32 *)p); }
INLINE u64 get64(const u8 *p) { return swap64(*(const loose64 *)p); }
INLINE void put16(u8 *p, u16 x) { *(loose16 *)p = swap16(x); }
INLINE void put32(u8 *p, u32 x) { *(loose32 *)p = swap32(x); }
INLINE void put64(u8 *p, u64 x) { *(loose64 *)p = swap64(x); }
INLINE u64 mac_at(const u8 *p) { return (u64)get16(p) << 32 | get32(p + 2); }
INLINE void put_mac(u8 *p, u64 mac) { put16(p, mac >> 32); put32(p + 2, mac); }

struct cursor {
    u8 *at, *end;
};

INLINE int need(struct cursor p, u64 n) { return p.at + n <= p.end; }
INLINE struct cursor advance(struct cursor p, u64 n) { return (struct cursor){p.at + n, p.end}; }

enum { DROP = 1, PASS, TX };
enum { FORWARDED, REPLY, ECHO, NOT_IP, NOT_OURS, TRUNCATED, MALFORMED, OPTIONS, FRAGMENT, TTL, TOO_BIG, NO_BACKEND,
       NO_ROOM, NO_PORT, FAMILY };
enum { NAT, FULL_NAT, DSR, IPIP, GRE, GUE, MODE = 7 };
enum { BY_DESTINATION_PORT = 8, IGNORE_SOURCE_PORT = 16, QUIC = 32, ANY_PORT = 64, AS_KATRAN = 128 };
enum { GONE, DRAINING, ACTIVE };
enum { SYN = 1, QUOTED = 2 };
enum { ICMP = 1, PROTO_IPIP = 4, TCP = 6, UDP = 17, PROTO_IPV6 = 41, PROTO_GRE = 47, ICMP6 = 58 };
enum { ETHER = 14, IPV4 = 20, IPV6 = 40, ICMP_HEADER = 8, LONGEST_LINK = 22, HOPS = 64 };
enum { TYPE4 = 0x0800, TYPE6 = 0x86DD, VLAN = 0x8100, PROVIDER_VLAN = 0x88A8 };
enum { PORTS = 64512, FIRST_PORT = 1024, TRIES = 8 };
#define MAPPED 0xFFFF00000000ull
#define TRACK (1u << 31)
#define NOTED 1000000000ull
#define TRANSLATING (1 << NAT | 1 << FULL_NAT)
#define TUNNELS (1 << IPIP | 1 << GRE | 1 << GUE)

struct address {
    u64 high, low;
};

struct settings {
    u64 gateway, max_frame, source4, source6_high, source6_low, spread4, spread6_high, gue_port, seed, seed6, ring_size,
        idle, ethernet;
};

struct service {
    u64 number, flags;
};

struct backend {
    u64 state;
    struct address address;
    u64 ethernet, port;
};

struct key {
    u64 source_high, source_low, destination_high, destination_low, rest;
};

struct entry {
    u64 seen, backend;
};

struct way {
    struct address vip, client;
    u64 ports, ethernet;
};

struct flow {
    u32 reason, link, version, transport, length, tos, ttl, protocol;
    struct address source, destination;
    u32 source_port, destination_port, flags;
};

struct tables;
CONTEXT;
INLINE struct cursor packet(CONTEXT *context);
INLINE int grow_head(CONTEXT *context, int n);
INLINE u64 now(struct tables *t);
INLINE struct settings *settings_of(struct tables *t);
INLINE struct service *vip(struct tables *t, const struct address *address, u32 service);
INLINE struct backend *backend(struct tables *t, u32 number);
INLINE u32 ring(struct tables *t, u32 number, u32 position);
INLINE u32 server(struct tables *t, u32 id);
INLINE struct entry *known(struct tables *t, u32 hash, const struct key *key);
INLINE struct entry *attempt(struct tables *t, u32 hash, const struct key *key);
INLINE void establish(struct tables *t, u32 hash, const struct key *key, u64 when, u64 backend);
INLINE void try_out(struct tables *t, u32 hash, const struct key *key, u64 when, u64 backend);
INLINE void forget_attempt(struct tables *t, const struct key *key, struct entry *entry);
INLINE struct way *way_back(struct tables *t, u32 hash, const struct key *key);
INLINE void remember_way(struct tables *t, u32 hash, const struct key *key, const struct way *way, u64 when);
INLINE void count_vip(struct tables *t, u32 number, u32 reply, u32 size);
INLINE void count_backend(struct tables *t, u32 number, u32 size);
INLINE void count_reason(struct tables *t, u32 reason);

/* ------------------------------------------------------------------------------------------------------- checksums */

INLINE u32 fold(u32 total) {
    total = (total & 0xFFFF) + (total >> 16);
    return (total & 0xFFFF) + (total >> 16);
}

INLINE u32 finish(u32 total) { return fold(total) ^ 0xFFFF; }

INLINE u32 words32(u32 x) { return (x >> 16) + (x & 0xFFFF); }

INLINE u32 words64(u64 x) { return words32(x >> 32) + words32(x); }

/* `bytes` is even. */
INLINE u32 sum(const u8 *p, u32 bytes) {
    u32 total = 0;
    for (u32 i = 0; i < bytes; i += 2)
        total += get16(p + i);
    return total;
}

INLINE u32 difference(const struct address *old, const struct address *new) {
    return words64(~old->high) + words64(~old->low) + words64(new->high) + words64(new->low);
}

INLINE u32 difference32(u32 old, u32 new) { return words32(~old) + words32(new); }

/* ------------------------------------------------------------------------------------------------------------ hash */

INLINE u32 rotate(u32 x, u32 n) { return x << n | x >> (32 - n); }

#define FINAL(a, b, c)                                                                                                 \
    c ^= b, c -= rotate(b, 14), a ^= c, a -= rotate(c, 11), b ^= a, b -= rotate(a, 25), c ^= b, c -= rotate(b, 16),    \
        a ^= c, a -= rotate(c, 4), b ^= a, b -= rotate(a, 14), c ^= b, c -= rotate(b, 24)
#define MIX(a, b, c)                                                                                                   \
    a -= c, a ^= rotate(c, 4), c += b, b -= a, b ^= rotate(a, 6), a += c, c -= b, c ^= rotate(b, 8), b += a, a -= c,   \
        a ^= rotate(c, 16), c += b, b -= a, b ^= rotate(a, 19), a += c, c -= b, c ^= rotate(b, 4), b += a

INLINE u32 jhash2(u32 x, u32 y, u32 seed) {
    u32 base = 0xDEADBEEF + 8 + seed, a = base + x, b = base + y, c = base;
    FINAL(a, b, c);
    return c;
}

INLINE u32 jhash4(u32 x, u32 y, u32 z, u32 w, u32 seed) {
    u32 base = 0xDEADBEEF + 16 + seed, a = base + x, b = base + y, c = base + z;
    MIX(a, b, c);
    a += w;
    FINAL(a, b, c);
    return c;
}

INLINE u32 jhash3(u32 x, u32 y, u32 z, u32 seed) {
    u32 base = 0xDEADBEEF + 12 + seed, a = base + x, b = base + y, c = base + z;
    FINAL(a, b, c);
    return c;
}

INLINE u32 word_of(const struct address *a, u32 version, const struct settings *s) {
    if (version != 6)
        return swap32(a->low);
    return jhash4(swap32(a->high >> 32), swap32(a->high), swap32(a->low >> 32), swap32(a->low), s->seed6);
}

INLINE u32 hash_of(const struct flow *flow, const struct settings *s) {
    return jhash2(word_of(&flow->source, flow->version, s),
                  swap32(flow->source_port << 16 | flow->destination_port), s->seed);
}

INLINE u32 hash_of_reply(const struct flow *flow, const struct settings *s) {
    return jhash3(word_of(&flow->source, flow->version, s), word_of(&flow->destination, flow->version, s),
                  swap32(flow->source_port << 16 | flow->destination_port), s->seed);
}

INLINE struct key key_of(const struct flow *flow) {
    u64 rest = (u64)flow->source_port << 32 | flow->destination_port << 16 | flow->protocol;
    return (struct key){flow->source.high, flow->source.low, flow->destination.high, flow->destination.low, rest};
}

/* ------------------------------------------------------------------------------------------------------------ parse */

INLINE void parse_ports(struct cursor p, s64 left, struct flow *flow) {
    if (flow->protocol != TCP && flow->protocol != UDP) {
        flow->reason = NOT_OURS;
        return;
    }
    if (flow->flags & QUOTED)
        return;
    flow->reason = TRUNCATED;
    if (flow->protocol == TCP) {
        if (left < 20 || !need(p, 20))
            return;
        flow->flags = (p.at[13] & 0x12) == 0x02 ? SYN : 0;
    } else if (left < 8 || !need(p, 8)) {
        return;
    }
    flow->reason = FORWARDED;
    flow->source_port = get16(p.at);
    flow->destination_port = get16(p.at + 2);
}

INLINE void parse_ipv4(struct cursor p, struct flow *flow) {
    const u8 *ip = p.at;
    flow->version = 4;
    flow->source.low = flow->destination.low = MAPPED;
    flow->transport = flow->link + IPV4;
    flow->reason = TRUNCATED;
    if (!need(p, IPV4))
        return;
    u32 header = (ip[0] & 15) * 4;
    flow->length = get16(ip + 2);
    flow->tos = ip[1];
    flow->ttl = ip[8];
    flow->protocol = ip[9];
    flow->source.low = MAPPED | get32(ip + 12);
    flow->destination.low = MAPPED | get32(ip + 16);
    flow->reason = MALFORMED;
    if (ip[0] >> 4 != 4 || header < IPV4)
        return;
    flow->reason = TRUNCATED;
    if (!need(p, header))
        return;
    flow->reason = MALFORMED;
    if (flow->length < header || flow->length > p.end - p.at)
        return;
    flow->reason = OPTIONS;
    if (header != IPV4)
        return;
    flow->reason = FRAGMENT;
    if (get16(ip + 6) & 0x3FFF)
        return;
    flow->reason = TTL;
    if (!flow->ttl)
        return;
    flow->reason = FORWARDED;
    struct cursor q = advance(p, IPV4);
    s64 left = flow->length - IPV4;
    if (flow->protocol == ICMP) {
        flow->reason = TRUNCATED;
        if (left < ICMP_HEADER || !need(q, ICMP_HEADER))
            return;
        u32 type = q.at[0];
        flow->reason = ECHO;
        if (type == 8)
            return;
        flow->reason = NOT_OURS;
        if (type != 3 && type != 11 && type != 12)
            return;
        flow->reason = TRUNCATED;
        if (left < ICMP_HEADER + IPV4 + 4 || !need(q, ICMP_HEADER + IPV4 + 4))
            return;
        flow->reason = MALFORMED;
        if (q.at[8] != 0x45 || get16(q.at + 14) & 0x1FFF)
            return;
        flow->reason = FORWARDED;
        flow->protocol = q.at[17];
        flow->flags = QUOTED;
        flow->destination.low = MAPPED | get32(q.at + 20);
        flow->source.low = MAPPED | get32(q.at + 24);
        flow->destination_port = get16(q.at + 28);
        flow->source_port = get16(q.at + 30);
    }
    parse_ports(q, left, flow);
}

INLINE int is_extension(u32 protocol) {
    switch (protocol) {
    case 0: case 43: case 44: case 51: case 60: case 135: case 139: case 140:
        return 1;
    }
    return 0;
}

INLINE void parse_ipv6(struct cursor p, struct flow *flow) {
    const u8 *ip = p.at;
    flow->version = 6;
    flow->reason = TRUNCATED;
    if (!need(p, IPV6))
        return;
    u32 first = get32(ip), header = IPV6, offset = 0, fragmented = 0;
    flow->length = get16(ip + 4) + IPV6;
    flow->tos = first >> 20 & 0xFF;
    flow->ttl = ip[7];
    flow->protocol = ip[6];
    flow->source = (struct address){get64(ip + 8), get64(ip + 16)};
    flow->destination = (struct address){get64(ip + 24), get64(ip + 32)};
    flow->reason = MALFORMED;
    if (first >> 28 != 6 || flow->length > p.end - p.at)
        return;
    struct cursor q = advance(p, IPV6);
    flow->reason = TRUNCATED;
    for (int i = 0; i < 6 && is_extension(flow->protocol) && !offset; i++) {
        if (!need(q, 8))
            return;
        u32 here = flow->protocol, size = (q.at[1] + 1) * 8;
        flow->protocol = q.at[0];
        if (here == 44) {
            offset = get16(q.at + 2) & 0xFFF8;
            fragmented = 1;
            size = 8;
        } else if (here == 51) {
            size = (q.at[1] + 2) * 4;
        }
        header += size;
        if (header > flow->length)
            return;
        q = advance(q, size);
    }
    flow->reason = MALFORMED;
    if (is_extension(flow->protocol) && !offset)
        return;
    flow->reason = FRAGMENT;
    if (fragmented)
        return;
    flow->reason = TTL;
    if (!flow->ttl)
        return;
    flow->reason = FORWARDED;
    flow->transport = flow->link + header;
    s64 left = (s64)flow->length - header;
    q = advance(p, FAR(header));
    if (flow->protocol == ICMP6) {
        flow->reason = TRUNCATED;
        if (left < ICMP_HEADER || !need(q, ICMP_HEADER))
            return;
        u32 type = q.at[0];
        flow->reason = ECHO;
        if (type == 128)
            return;
        flow->reason = NOT_OURS;
        if (type < 1 || type > 4)
            return;
        flow->reason = TRUNCATED;
        if (left < ICMP_HEADER + IPV6 + 4 || !need(q, ICMP_HEADER + IPV6 + 4))
            return;
        flow->reason = FORWARDED;
        flow->protocol = q.at[14];
        flow->flags = QUOTED;
        flow->destination = (struct address){get64(q.at + 16), get64(q.at + 24)};
        flow->source = (struct address){get64(q.at + 32), get64(q.at + 40)};
        flow->destination_port = get16(q.at + 48);
        flow->source_port = get16(q.at + 50);
    }
    parse_ports(q, left, flow);
}

INLINE int is_tag(u32 type) { return type == VLAN || type == PROVIDER_VLAN; }

INLINE void parse(struct cursor p, struct flow *flow) {
    *flow = (struct flow){.reason = NOT_IP, .link = ETHER};
    if (!need(p, ETHER))
        return;
    u32 type = get16(p.at + 12);
    struct cursor q = advance(p, ETHER);
    for (int i = 0; i < 2 && is_tag(type); i++) {
        if (!need(q, 4))
            return;
        type = get16(q.at + 2);
        flow->link += 4;
        q = advance(q, 4);
    }
    if (type == TYPE4)
        parse_ipv4(q, flow);
    else if (type == TYPE6)
        parse_ipv6(q, flow);
    SETTLE(flow->link, 32);
    SETTLE(flow->version, 8);
    SETTLE(flow->transport, 4096);
    SETTLE(flow->protocol, 256);
    SETTLE(flow->flags, 4);
}

/* ------------------------------------------------------------------------------------------------------------ link */

INLINE void readdress(u8 *p, u64 mac) {
    u64 own = mac_at(p);
    put_mac(p, mac);
    put_mac(p + 6, own);
}

INLINE int answer_echo(CONTEXT *context, const struct flow *flow) {
    struct cursor p = packet(context), q = advance(p, LINK(flow->link)), r = advance(p, FAR(flow->transport));
    if (!need(p, ETHER) || !need(r, ICMP_HEADER))
        return TRUNCATED;
    if (flow->version == 4) {
        if (!need(q, IPV4))
            return TRUNCATED;
        u32 source = get32(q.at + 12), old = get16(q.at + 8);
        put32(q.at + 12, get32(q.at + 16));
        put32(q.at + 16, source);
        q.at[8] = HOPS;
        put16(q.at + 10, finish((get16(q.at + 10) ^ 0xFFFF) + (old ^ 0xFFFF) + get16(q.at + 8)));
        r.at[0] = 0;
        put16(r.at + 2, fold(get16(r.at + 2) + (8 << 8)));
    } else {
        if (!need(q, IPV6))
            return TRUNCATED;
        struct address source = {get64(q.at + 8), get64(q.at + 16)};
        put64(q.at + 8, get64(q.at + 24));
        put64(q.at + 16, get64(q.at + 32));
        put64(q.at + 24, source.high);
        put64(q.at + 32, source.low);
        q.at[7] = HOPS;
        r.at[0] = 129;
        put16(r.at + 2, fold(get16(r.at + 2) + (0xFFFF ^ 1 << 8)));
    }
    readdress(p.at, mac_at(p.at + 6));
    return ECHO;
}

/* ---------------------------------------------------------------------------------------------------------- tunnels */

INLINE int is_ipv4(const struct address *a) { return !a->high && a->low >> 32 == 0xFFFF; }

/* What the packet adds up to, read from its headers; below 0 if they do not say. */
INLINE s64 inner_sum(CONTEXT *context, const struct flow *flow, u32 service) {
    struct cursor p = packet(context), q = advance(p, LINK(flow->link));
    u32 header, covered;
    if (flow->version == 4) {
        if (!need(q, IPV4))
            return -1;
        if (flow->flags & QUOTED && !(service & AS_KATRAN))
            return 0xFFFF;
        header = sum(q.at, IPV4);
        covered = sum(q.at + 12, 8) + q.at[9] + flow->length - IPV4;
    } else {
        if (!need(q, IPV6) || flow->transport - flow->link != IPV6)
            return -1;
        header = sum(q.at, IPV6);
        covered = sum(q.at + 8, 32) + flow->protocol + flow->length - IPV6;
        if (flow->flags & QUOTED)
            covered += 58 - flow->protocol;
    }
    if (flow->protocol == UDP && !(flow->flags & QUOTED) && !(service & AS_KATRAN)) {
        struct cursor r = advance(p, FAR(flow->transport));
        if (!need(r, 8) || !get16(r.at + 6))
            return -1;
    }
    return fold(header + (fold(covered) ^ 0xFFFF));
}

INLINE int encapsulate(CONTEXT *context, const struct flow *flow, u32 service, const struct backend *b, u64 mac,
                       const struct settings *s) {
    u32 mode = service & MODE, link = LINK(flow->link);
    u64 low = service & BY_DESTINATION_PORT ? 0 : flow->source.low;
    u32 port = service & IGNORE_SOURCE_PORT ? 0 : flow->source_port;
    int outer4 = is_ipv4(&b->address);
    u32 header = outer4 ? IPV4 : IPV6, between = mode == GUE ? 8 : mode == GRE ? 4 : 0;
    s64 inner = mode == GUE ? inner_sum(context, flow, service) : 0;
    if (!grow_head(context, header + between))
        return NO_ROOM;
    struct cursor p = packet(context), old = advance(p, header + between), q = advance(p, link);
    if (!need(p, LONGEST_LINK) || !need(old, LONGEST_LINK) || !need(q, IPV6 + 8))
        return NO_ROOM;
    u64 own = mac_at(old.at);
    u32 tags[3] = {get16(old.at + 12), get32(old.at + 14), get32(old.at + 18)};
    u32 type = outer4 ? TYPE4 : TYPE6;
    put_mac(p.at, mac);
    put_mac(p.at + 6, own);
    put16(p.at + 12, link == ETHER ? type : tags[0]);
    if (link == ETHER + 4) {
        put16(p.at + 14, tags[1] >> 16);
        put16(p.at + 16, type);
    } else if (link != ETHER) {
        put32(p.at + 14, tags[1]);
        put16(p.at + 18, tags[2] >> 16);
        put16(p.at + 20, type);
    }
    u32 protocol = mode == GRE ? PROTO_GRE : mode == GUE ? UDP : flow->version == 4 ? PROTO_IPIP : PROTO_IPV6;
    u32 total = header + between + flow->length, pseudo;
    u32 spread = (low & 0xFFFF) ^ (u16)swap16(port);
    if (outer4) {
        u32 source = mode == IPIP && s->spread4 ? s->spread4 << 16 | spread : s->source4;
        u32 first = 0x4500 | flow->tos, hops = HOPS << 8 | protocol, to = b->address.low;
        put16(q.at, first);
        put16(q.at + 2, total);
        put32(q.at + 4, 0);
        put16(q.at + 8, hops);
        put16(q.at + 10, finish(first + (total & 0xFFFF) + hops + words32(source) + words32(to)));
        put32(q.at + 12, source);
        put32(q.at + 16, to);
        pseudo = words32(source) + words32(to) + UDP + 8 + flow->length;
    } else {
        struct address source = {s->source6_high, s->source6_low};
        if (mode == IPIP && s->spread6_high)
            source = (struct address){s->spread6_high, (u32)low ^ (u64)port << 16};
        put32(q.at, 6u << 28 | flow->tos << 20);
        put16(q.at + 4, total - IPV6);
        q.at[6] = protocol;
        q.at[7] = HOPS;
        put64(q.at + 8, source.high);
        put64(q.at + 16, source.low);
        put64(q.at + 24, b->address.high);
        put64(q.at + 32, b->address.low);
        pseudo = words64(source.high) + words64(source.low) + words64(b->address.high) + words64(b->address.low) +
                 total - IPV6 + protocol;
    }
    struct cursor r = advance(q, header);
    if (mode == GRE) {
        put32(r.at, flow->version == 4 ? TYPE4 : TYPE6);
    } else if (mode == GUE) {
        u32 from = outer4 ? spread : ((low >> (flow->version == 6 ? 16 : 0)) & 0xFFFF) ^ port;
        u32 length = 8 + flow->length, value = 0;
        put16(r.at, from);
        put16(r.at + 2, s->gue_port);
        put16(r.at + 4, length);
        if (inner >= 0) {
            value = finish(inner + pseudo + from + s->gue_port + length);
            value = value ? value : 0xFFFF;
        }
        put16(r.at + 6, value);
    }
    return FORWARDED;
}

/* -------------------------------------------------------------------------------------------------------------- NAT */

struct ends {
    struct address source, destination;
    u32 ports;
};

INLINE void set_source(u8 *ip, u32 version, const struct address *a) {
    if (version == 4) {
        put32(ip + 12, a->low);
    } else {
        put64(ip + 8, a->high);
        put64(ip + 16, a->low);
    }
}

INLINE void set_destination(u8 *ip, u32 version, const struct address *a) {
    if (version == 4) {
        put32(ip + 16, a->low);
    } else {
        put64(ip + 24, a->high);
        put64(ip + 32, a->low);
    }
}

INLINE void hop(u8 *ip, u32 version, u32 moved) {
    if (version == 4) {
        u32 before = get16(ip + 8);
        ip[8] -= 1;
        put16(ip + 10, finish((get16(ip + 10) ^ 0xFFFF) + moved + (before ^ 0xFFFF) + get16(ip + 8)));
    } else {
        ip[7] -= 1;
    }
}

INLINE int translate_error(struct cursor p, struct cursor q, struct cursor r, const struct flow *flow,
                           const struct ends *old, const struct ends *new, u64 mac) {
    u32 version = flow->version, size = version == 4 ? IPV4 : IPV6;
    struct cursor quote = advance(r, ICMP_HEADER), quoted = advance(quote, size);
    if (!need(quoted, 4))
        return TRUNCATED;
    struct address from = version == 4 ? (struct address){0, MAPPED | get32(q.at + 12)}
                                       : (struct address){get64(q.at + 8), get64(q.at + 16)};
    u32 of_source = difference(&old->source, &new->source);
    u32 of_destination = difference(&old->destination, &new->destination);
    u32 moved = of_destination, inner = of_source + of_destination, changed = inner;
    if (from.high == old->source.high && from.low == old->source.low) {
        moved += of_source;
        set_source(q.at, version, &new->source);
    }
    set_destination(q.at, version, &new->destination);
    hop(q.at, version, moved);
    set_source(quote.at, version, &new->destination);
    set_destination(quote.at, version, &new->source);
    if (version == 4) {
        u32 before = get16(quote.at + 10);
        put16(quote.at + 10, finish((before ^ 0xFFFF) + inner));
        changed += (before ^ 0xFFFF) + get16(quote.at + 10);
    }
    u32 ports = difference32(old->ports, new->ports);
    put32(quoted.at, new->ports << 16 | new->ports >> 16);
    changed += ports;
    struct cursor mark = advance(quoted, flow->protocol == TCP ? 16 : 6);
    if (need(mark, 2)) {
        u32 before = get16(mark.at);
        if (before || flow->protocol == TCP) {
            put16(mark.at, finish((before ^ 0xFFFF) + inner + ports));
            changed += (before ^ 0xFFFF) + get16(mark.at);
        }
    }
    if (version == 6)
        changed += moved;
    put16(r.at + 2, finish((get16(r.at + 2) ^ 0xFFFF) + changed));
    readdress(p.at, mac);
    return FORWARDED;
}

INLINE int translate(CONTEXT *context, const struct flow *flow, const struct ends *new, u64 mac) {
    if (flow->ttl <= 1)
        return TTL;
    struct cursor p = packet(context), q = advance(p, LINK(flow->link)), r = advance(p, FAR(flow->transport));
    if (!need(p, ETHER) || (flow->version == 4 ? !need(q, IPV4) : !need(q, IPV6)) || !need(r, 8))
        return TRUNCATED;
    struct ends old = {flow->source, flow->destination, flow->source_port << 16 | flow->destination_port};
    if (flow->flags & QUOTED)
        return translate_error(p, q, r, flow, &old, new, mac);
    u32 moved = difference(&old.source, &new->source) + difference(&old.destination, &new->destination);
    u32 change = moved + difference32(old.ports, new->ports);
    put32(r.at, new->ports);
    if (flow->protocol == TCP) {
        if (need(r, 20))
            put16(r.at + 16, finish((get16(r.at + 16) ^ 0xFFFF) + change));
    } else if (get16(r.at + 6)) {
        u32 value = finish((get16(r.at + 6) ^ 0xFFFF) + change);
        put16(r.at + 6, value ? value : 0xFFFF);
    }
    set_source(q.at, flow->version, &new->source);
    set_destination(q.at, flow->version, &new->destination);
    hop(q.at, flow->version, moved);
    readdress(p.at, mac);
    return FORWARDED;
}

/* The flow of replies to an end. */
INLINE struct flow reply_flow(const struct flow *flow, const struct backend *b, u32 port, const struct address *to,
                              u32 to_port) {
    return (struct flow){.version = flow->version, .protocol = flow->protocol, .source = b->address, .destination = *to,
                         .source_port = port, .destination_port = to_port};
}

INLINE int same_way(const struct way *a, const struct way *b) {
    return a->client.high == b->client.high && a->client.low == b->client.low && a->vip.high == b->vip.high &&
           a->vip.low == b->vip.low && a->ports == b->ports;
}

INLINE int send_translated(CONTEXT *context, struct tables *t, const struct flow *flow, u32 number, u32 mode,
                           const struct backend *b, u64 mac, const struct settings *s) {
    if (is_ipv4(&b->address) != (flow->version == 4))
        return FAMILY;
    struct cursor p = packet(context);
    struct ends new = {flow->source, b->address, 0};
    u32 port = flow->source_port, backend_port = b->port ? b->port : flow->destination_port;
    struct way way = {flow->destination, flow->source,
                      (u64)number << 32 | flow->destination_port << 16 | flow->source_port,
                      need(p, ETHER) ? mac_at(p.at + 6) : 0};
    if (mode == NAT) {
        struct flow back = reply_flow(flow, b, backend_port, &new.source, port);
        u32 hash = hash_of_reply(&back, s);
        struct key key = key_of(&back);
        if (!(flow->flags & QUOTED) && !way_back(t, hash, &key))
            remember_way(t, hash, &key, &way, now(t));
    } else {
        new.source = flow->version == 4 ? (struct address){0, MAPPED | s->source4}
                                        : (struct address){s->source6_high, s->source6_low};
        u32 start = hash_of(flow, s);
        port = 0;
        for (u32 i = 0; i < TRIES && !port; i++) {
            u32 tried = FIRST_PORT + ((u64)start + i) % PORTS;
            struct flow back = reply_flow(flow, b, backend_port, &new.source, tried);
            u32 hash = hash_of_reply(&back, s);
            struct key key = key_of(&back);
            struct way *there = way_back(t, hash, &key);
            if (there && !same_way(there, &way))
                continue;
            if (!there && !(flow->flags & QUOTED))
                remember_way(t, hash, &key, &way, now(t));
            port = tried;
        }
        if (!port)
            return NO_PORT;
    }
    new.ports = port << 16 | backend_port;
    return translate(context, flow, &new, mac);
}

INLINE int reply(CONTEXT *context, struct tables *t, const struct flow *flow) {
    struct key key = key_of(flow);
    struct settings *s = settings_of(t);
    if (!s)
        return NOT_OURS;
    struct way *way = way_back(t, hash_of_reply(flow, s), &key);
    if (!way)
        return NOT_OURS;
    struct ends new = {way->vip, way->client, way->ports};
    u32 number = way->ports >> 32;
    int reason = translate(context, flow, &new, way->ethernet);
    if (reason != FORWARDED)
        return reason;
    count_vip(t, number, 1, flow->length);
    return REPLY;
}

/* ----------------------------------------------------------------------------------------------------------- choose */

INLINE u32 quic_number(const u8 *p) {
    switch (p[0] >> 6) {
    case 1:
        return get32(p) >> 14 & 0xFFFF;
    case 2:
        return get32(p) & 0xFFFFFF;
    case 3:
        return (u32)p[1] << 24 | get16(p + 2) << 8 | p[4];
    }
    return 0;
}

INLINE u32 server_id(struct cursor p) {
    if (!need(p, 9))
        return 0;
    if (!(p.at[0] & 0x80))
        return quic_number(p.at + 1);
    if ((p.at[0] & 0x30) <= 0x10 || !need(p, 14) || p.at[5] < 8)
        return 0;
    return quic_number(p.at + 6);
}

/* The backend of an entry, if the entry is to be believed. */
INLINE struct backend *believed(struct tables *t, const struct entry *entry, const struct flow *flow, u64 when,
                                const struct settings *s) {
    if (!entry || (flow->protocol != TCP && (s64)(when - entry->seen) > (s64)s->idle))
        return 0;
    struct backend *b = backend(t, entry->backend);
    return b && (b->state == ACTIVE || (b->state == DRAINING && !(flow->flags & SYN))) ? b : 0;
}

/* `flow` is as its service wants it told apart. */
INLINE struct backend *choose(CONTEXT *context, struct tables *t, const struct flow *flow, struct service *service,
                              const struct settings *s, u32 *chosen) {
    u32 hash = hash_of(flow, s);
    struct key key = key_of(flow);
    u64 when = now(t);
    if (service->flags & QUIC && flow->protocol == UDP && !(flow->flags & QUOTED)) {
        u32 id = server_id(advance(packet(context), FAR(flow->transport) + 8));
        u32 number = id ? server(t, id) : 0;
        if (number) {
            establish(t, hash, &key, when, number);
            *chosen = number;
            return backend(t, number);
        }
    }
    struct entry *entry = known(t, hash, &key);
    struct backend *b = believed(t, entry, flow, when, s);
    if (b) {
        *chosen = entry->backend;
        if ((s64)(when - entry->seen) > (s64)NOTED && !(flow->flags & QUOTED))
            entry->seen = when;
        return b;
    }
    int stale = entry != 0;
    entry = attempt(t, hash, &key);
    b = believed(t, entry, flow, when, s);
    if (b) {
        *chosen = entry->backend;
        if (!(flow->flags & (SYN | QUOTED))) {
            establish(t, hash, &key, when, entry->backend);
            forget_attempt(t, &key, entry);
        }
        return b;
    }
    u32 slot = ring(t, service->number, hash % (u32)s->ring_size), number = slot & (TRACK - 1);
    b = number ? backend(t, number) : 0;
    if (!b || b->state == GONE)
        return 0;
    if (!(flow->flags & QUOTED)) {
        if (stale)
            establish(t, hash, &key, when, number);
        else if (slot & TRACK || entry)
            try_out(t, hash, &key, when, number);
    }
    *chosen = number;
    return b;
}

/* ------------------------------------------------------------------------------------------------------------- core */

/* What does not matter to a service is zero. */
INLINE void tell_apart(struct flow *flow, u32 told) {
    if (told & BY_DESTINATION_PORT) {
        flow->source = (struct address){0, 0};
        flow->source_port = flow->destination_port;
    } else if (told & ANY_PORT) {
        flow->destination_port = 0;
    }
    if (told & IGNORE_SOURCE_PORT)
        flow->source_port = 0;
}

INLINE int handle(CONTEXT *context, struct tables *t) {
    struct flow flow;
    struct settings *s = settings_of(t);
    struct cursor p = packet(context);
    if (!s || (s->ethernet && need(p, ETHER) && mac_at(p.at) != s->ethernet))
        return NOT_OURS;
    parse(p, &flow);
    if (flow.reason == NOT_IP)
        return NOT_IP;
    if (flow.reason != FORWARDED) {
        if (!vip(t, &flow.destination, 0))
            return NOT_OURS;
        return flow.reason == ECHO ? answer_echo(context, &flow) : (int)flow.reason;
    }
    struct service *service = vip(t, &flow.destination, flow.destination_port << 8 | flow.protocol);
    if (!service)
        service = vip(t, &flow.destination, flow.protocol);
    if (!service)
        return MODES & TRANSLATING ? reply(context, t, &flow) : NOT_OURS;
    if (p.end - p.at > (s64)s->max_frame)
        return TOO_BIG;
    /* As the service wants it told apart; the addresses and ports are put back for the way out. */
    struct address source = flow.source;
    u32 source_port = flow.source_port, destination_port = flow.destination_port, told = service->flags, chosen;
    tell_apart(&flow, told);
    struct backend *b = choose(context, t, &flow, service, s, &chosen);
    if (!b)
        return NO_BACKEND;
    flow.source = source;
    flow.source_port = source_port;
    flow.destination_port = destination_port;
    count_vip(t, service->number, 0, flow.length);
    count_backend(t, chosen, flow.length);
    u32 mode = told & MODE;
    u64 mac = b->ethernet ? b->ethernet : s->gateway;
    if (MODES & 1 << DSR && mode == DSR) {
        p = packet(context);
        if (!need(p, ETHER))
            return TRUNCATED;
        readdress(p.at, mac);
        return FORWARDED;
    }
    if (MODES & TUNNELS && mode >= IPIP)
        return encapsulate(context, &flow, told, b, mac, s);
    if (MODES & TRANSLATING && mode <= FULL_NAT)
        return send_translated(context, t, &flow, service->number, mode, b, mac, s);
    return NOT_OURS;
}

INLINE int forward(CONTEXT *context, struct tables *t) {
    u32 reason = handle(context, t);
    count_reason(t, reason);
    return reason <= ECHO ? TX : reason == NOT_IP || reason == NOT_OURS ? PASS : DROP;
}
