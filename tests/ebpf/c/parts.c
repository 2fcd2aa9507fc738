/* Code in several sections that calls across them, data in sections with names of their own, maps of both directions. */
#include "bpf.h"

struct inner {
    NUMBER(type, ARRAY);
    NUMBER(max_entries, 1);
    TYPE(key, u32);
    TYPE(value, u32);
} nine SEC(".maps"), ten SEC(".maps");

struct {
    NUMBER(type, HASH_OF_MAPS);
    NUMBER(max_entries, 8);
    NUMBER(key_size, 4);
    TYPE(value, u32);
    struct {
        NUMBER(type, HASH);
        NUMBER(max_entries, 3);
        TYPE(key, u64);
        TYPE(value, u64);
    } *values[];
} by_name SEC(".maps");

struct {
    NUMBER(type, ARRAY_OF_MAPS);
    NUMBER(max_entries, 3);
    NUMBER(key_size, 4);
    NUMBER(value_size, 4);
    struct inner *values[3];
} pair SEC(".maps") = {.values = {&nine, 0, &ten}};

static const volatile u32 tens[4] = {0, 10, 20, 30};
static volatile u32 calls;
u32 weights[2] SEC(".data.weights") = {3, 4};
const u32 offsets[2] SEC(".rodata.offsets") = {100, 200};
u64 total SEC(".bss.total");

__attribute__((noinline, section(".text.first"))) static u32 first(u32 i) {
    calls++;
    return tens[i & 3];
}

__attribute__((noinline, section("helpers"))) static u32 second(u32 i) {
    u32 key = 0, *found = map_lookup_elem(&nine, &key);
    return first(i) + weights[i & 1] + (found ? *found : 0);
}

__attribute__((noinline, weak, visibility("hidden"))) u32 global(u32 i) {
    total += i;
    return second(i) + ((const volatile u32 *)offsets)[i & 1];
}

static long each(u32 i, u32 *sum) {
    *sum += first(i);
    return 0;
}

SEC("xdp") int sums(struct xdp_md *context) {
    return global(context->rx_queue_index) + global(3);
}

SEC("xdp") int called_back(struct xdp_md *context) {
    u32 sum = 0;
    loop(4, each, &sum, 0);
    return sum;
}

SEC("tc") int nested(void *context) {
    u32 key = 2, none = 1, zero = 0, *found;
    u64 wide = 5;
    void *held = map_lookup_elem(&pair, &key);
    if (!held || map_lookup_elem(&pair, &none))
        return 1;
    found = map_lookup_elem(held, &zero);
    if (!found)
        return 2;
    *found += 7;
    held = map_lookup_elem(&by_name, &key);
    if (held)
        map_update_elem(held, &wide, &wide, 0);
    return held ? *found + 100 : *found;
}

SEC("tc") int prints(void *context) {
    printk("seen", sizeof("seen"), 0, 0, 0);
    return first(1) + calls;
}

char licence[] SEC("license") = "GPL";
