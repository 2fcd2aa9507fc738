/* A map of programs that is to start with some of them, and a map that is to be found by its name. */
#include "bpf.h"

static long (*const tail_call)(void *, void *, u32) = (void *)12;

int first(struct xdp_md *context);
int second(struct xdp_md *context);

struct {
    NUMBER(type, PROG_ARRAY);
    NUMBER(max_entries, 4);
    NUMBER(key_size, 4);
    int (*values[])(struct xdp_md *);
} steps SEC(".maps") = {.values = {[1] = second, [3] = first}};

struct {
    NUMBER(type, ARRAY);
    NUMBER(max_entries, 1);
    NUMBER(pinning, 1);
    TYPE(key, u32);
    TYPE(value, u64);
} shared SEC(".maps");

SEC("xdp") int first(struct xdp_md *context) {
    tail_call(context, &steps, 1);
    return 7;
}

SEC("xdp") int second(struct xdp_md *context) {
    u32 key = 0;
    u64 *value = map_lookup_elem(&shared, &key);
    if (value)
        *value += 1;
    tail_call(context, &steps, 2);
    return value ? 5 : 6;
}

char licence[] SEC("license") = "GPL";
