/* What programs ask of the kernel's configuration: all kinds of variables, and what need not be there. */
#include "bpf.h"

enum libbpf_tristate { TRI_NO = 0, TRI_YES = 1, TRI_MODULE = 2 };
#define KCONFIG __attribute__((section(".kconfig")))
#define WEAK __attribute__((weak))

extern u32 LINUX_KERNEL_VERSION KCONFIG;
extern _Bool LINUX_HAS_BPF_COOKIE KCONFIG;
extern int CONFIG_HZ KCONFIG;
extern _Bool CONFIG_BPF KCONFIG;
extern enum libbpf_tristate CONFIG_BPF_SYSCALL KCONFIG;
extern char CONFIG_NET KCONFIG;
extern u64 CONFIG_NO_SUCH_SETTING KCONFIG WEAK;
extern char CONFIG_DEFAULT_HOSTNAME[8] KCONFIG WEAK;

SEC("xdp") int hertz(struct xdp_md *context) { return CONFIG_HZ; }

SEC("xdp") int kinds(struct xdp_md *context) {
    return CONFIG_BPF | CONFIG_BPF_SYSCALL << 4 | CONFIG_NET << 8 | !CONFIG_NO_SUCH_SETTING << 16;
}

SEC("xdp") int version(struct xdp_md *context) { return LINUX_HAS_BPF_COOKIE ? LINUX_KERNEL_VERSION : 0; }

SEC("xdp") int text(struct xdp_md *context) { return CONFIG_DEFAULT_HOSTNAME[1] << 8 | CONFIG_DEFAULT_HOSTNAME[0]; }

char licence[] SEC("license") = "GPL";
