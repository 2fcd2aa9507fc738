/* What is loaded for one other program, or for a table of functions of the kernel's: more than a name is needed. */
#include "bpf.h"

struct tcp_congestion_ops {
    u32 (*ssthresh)(void *);
    char name[16];
};

SEC("struct_ops/threshold") u32 threshold(u64 *context) { return 7; }

SEC(".struct_ops") struct tcp_congestion_ops own = {.ssthresh = (void *)threshold, .name = "own"};

SEC("freplace/second") int replaces(struct xdp_md *context) { return 0; }

SEC("fentry/a_function_of_a_module") int waits(u64 *context) { return 0; }

extern int function_of_a_module(void *) SEC(".ksyms");

SEC("tc") int calls(void *context) { return function_of_a_module(context); }

char licence[] SEC("license") = "GPL";
