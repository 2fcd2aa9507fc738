/* Maps of maps before BTF: the kernel's samples counted definitions, iproute2 gave them numbers. */
#include "bpf.h"

struct samples {
    u32 type, key_size, value_size, max_entries, map_flags, inner_map_idx, numa_node;
};
struct iproute2 {
    u32 type, key_size, value_size, max_entries, map_flags, id, pinning, inner_id, inner_idx;
};

#ifdef SAMPLES
struct samples SEC("maps") a_plain = {ARRAY, 4, 4, 1};
struct samples SEC("maps") b_held = {HASH, 8, 16, 3};
struct samples SEC("maps") c_outer = {ARRAY_OF_MAPS, 4, 0, 2, 0, 1};
#else
struct iproute2 SEC("maps") a_plain = {ARRAY, 4, 4, 1};
struct iproute2 SEC("maps") b_held = {HASH, 8, 16, 3, 0, 77};
struct iproute2 SEC("maps") c_outer = {ARRAY_OF_MAPS, 4, 4, 2, 0, 78, 0, 77, -1};
#endif

SEC("xdp") int outer(struct xdp_md *context) {
    u32 key = 1;
    return map_lookup_elem(&c_outer, &key) ? 1 : 2;
}

char licence[] SEC("license") = "GPL";
