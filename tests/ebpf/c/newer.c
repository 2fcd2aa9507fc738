/* What version 4 of the instruction set has: signed division, sign-extending loads and moves, byte swaps, far jumps. */
#include "bpf.h"

#define TEN(x) x x x x x x x x x x

SEC("xdp") int arithmetic(struct xdp_md *context) {
    u8 *data = (u8 *)(long)context->data, *end = (u8 *)(long)context->data_end;
    if (data + 16 > end)
        return 0;
    long a = *(signed char *)(data + 1), c = *(int *)(data + 4);
    int b = *(short *)(data + 2), mixed = __builtin_bswap32(*(u32 *)(data + 8));
    u64 swapped = __builtin_bswap64(*(u64 *)(data + 8));
    return a / (b | 1) ^ b % (c | 1) ^ mixed ^ swapped ^ (signed char)(mixed >> 3);
}

SEC("xdp") int far(struct xdp_md *context) {
    volatile u32 n = context->rx_queue_index + 7;
    if (context->ingress_ifindex != 12345) {
        TEN(TEN(TEN(TEN(n = n * 3 + 1;))))
    }
    return n;
}

char licence[] SEC("license") = "GPL";
