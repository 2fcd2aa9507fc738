/* A program that the verifier refuses, at a line the test looks for. */
#include "bpf.h"

SEC("xdp") int careless(struct xdp_md *context) {
    u8 *data = (u8 *)(long)context->data;
    return data[40]; /* nobody asked where the packet ends */
}
