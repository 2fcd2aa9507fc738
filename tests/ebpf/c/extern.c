/* A function that only the kernel has. */
#include "bpf.h"

extern int elsewhere(int) SEC(".ksyms");

SEC("xdp") int calls(struct xdp_md *context) { return elsewhere(1); }
