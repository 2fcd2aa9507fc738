/* Maps as they were defined before BTF. */
#include "bpf.h"

struct definition {
    u32 type, key_size, value_size, max_entries, map_flags;
};
struct definition SEC("maps") numbers = {ARRAY, 4, 8, 3, 0};
struct definition SEC("maps") cells = {PERCPU_ARRAY, 4, 12, 2, 0};

SEC("xdp_old") int old(struct xdp_md *context) {
    u32 key = 2;
    u64 *value = map_lookup_elem(&numbers, &key);
    u32 *cell = map_lookup_elem(&cells, &key);
    if (value)
        *value += 7;
    return cell ? 1 : 2;
}

char licence[] SEC("license") = "GPL";
