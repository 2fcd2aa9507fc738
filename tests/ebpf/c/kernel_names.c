/* What only the running kernel can tell: its functions, its variables, and where they may be watched. */
#include "bpf.h"

extern u64 bpf_cpumask_create(void) __attribute__((section(".ksyms"), weak));
extern void *bpf_rdonly_cast(const void *, u32) __attribute__((section(".ksyms")));
extern int no_such_function(int) __attribute__((section(".ksyms"), weak));
extern const void no_such_variable __attribute__((section(".ksyms"), weak));
extern const void tcp_v4_rcv __attribute__((section(".ksyms"), weak));
extern u32 LINUX_KERNEL_VERSION __attribute__((section(".kconfig")));

SEC("tc") int calls(void *context) {
    return bpf_rdonly_cast(context, 0) ? 3 : 4;
}

SEC("tc") int weak(void *context) {
    if (&no_such_variable)
        return 1;
    return no_such_function ? no_such_function(2) : 5;
}

SEC("tc") int asks_for_what_is_not_there(void *context) {
    return no_such_function(2);
}

SEC("tc") int address(void *context) {
    return &tcp_v4_rcv ? 6 : 7;
}

SEC("tc") int configured(void *context) {
    return LINUX_KERNEL_VERSION;
}

SEC("tp_btf/sched_switch") int watches(u64 *context) {
    return 0;
}

SEC("iter/task") int walks(u64 *context) {
    return 0;
}

SEC("fentry/no_such_function") int waits(u64 *context) {
    return 0;
}

SEC("freplace/any") int replaces(struct xdp_md *context) {
    return 0;
}

char licence[] SEC("license") = "GPL";
