/* Two programs, shared functions, global variables, maps of both definitions of BTF's time. */
#include "bpf.h"

struct {
    NUMBER(type, HASH);
    NUMBER(max_entries, 16);
    TYPE(key, u32);
    TYPE(value, u64);
} counts SEC(".maps");

struct pattern {
    NUMBER(type, HASH);
    NUMBER(max_entries, 4);
    TYPE(key, u32);
    TYPE(value, u32);
};
struct pattern first SEC(".maps");
struct {
    NUMBER(type, ARRAY_OF_MAPS);
    NUMBER(max_entries, 2);
    TYPE(key, u32);
    struct pattern *values[];
} outer SEC(".maps") = {.values = {[1] = &first}};

const volatile u32 limit = 5;
u32 seen;
u32 table[4] = {10, 20, 30, 40};

static __attribute__((noinline)) u32 weigh(u32 a, u32 b) { return a * b + table[a & 3]; }
__attribute__((noinline)) u32 bounded(u32 a) { return weigh(a, limit) + 1; }

SEC("xdp") int count(struct xdp_md *context) {
    u8 *data = (u8 *)(long)context->data, *end = (u8 *)(long)context->data_end;
    if (data + 14 > end)
        return 1;
    u32 key = data[0];
    u64 one = 1, *value = map_lookup_elem(&counts, &key);
    if (value)
        *value += 1;
    else
        map_update_elem(&counts, &key, &one, 0);
    seen++;
    return weigh(data[1], 3);
}

SEC("xdp/second") int second(struct xdp_md *context) {
    u8 *data = (u8 *)(long)context->data, *end = (u8 *)(long)context->data_end;
    return data + 14 > end ? 0 : bounded(data[2]) + table[1];
}

char licence[] SEC("license") = "GPL";
