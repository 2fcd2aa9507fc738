"""The kernel's kinds of programs and maps, and the names of sections that ask for them.

Rule of this file: tables (include/uapi/linux/bpf.h), and one look-up.

Theory. A program's kind decides what its context is and where it can be attached. An object says it with the name of
the section, by a convention that began in the kernel's samples: "xdp", "xdp/name", "xdp_name", "tc", "socket1".
"""

from __future__ import annotations

from typing import NamedTuple

MAPS = ("", "hash", "array", "prog_array", "perf_event_array", "percpu_hash", "percpu_array", "stack_trace",
        "cgroup_array", "lru_hash", "lru_percpu_hash", "lpm_trie", "array_of_maps", "hash_of_maps", "devmap", "sockmap",
        "cpumap", "xskmap", "sockhash", "cgroup_storage", "reuseport_sockarray", "percpu_cgroup_storage", "queue",
        "stack", "sk_storage", "devmap_hash", "struct_ops", "ringbuf", "inode_storage", "task_storage", "bloom_filter",
        "user_ringbuf", "cgrp_storage", "arena", "insn_array")  # fmt: skip
"""Kinds of maps by number; the first is none."""
NESTED = ("array_of_maps", "hash_of_maps")
PER_CPU = ("percpu_hash", "percpu_array", "lru_percpu_hash", "percpu_cgroup_storage")

PROGRAMS = ("", "socket", "kprobe", "tc", "action", "tracepoint", "xdp", "perf_event", "cgroup_skb", "cgroup_sock",
            "lwt_in", "lwt_out", "lwt_xmit", "sockops", "sk_skb", "cgroup_device", "sk_msg", "raw_tracepoint",
            "cgroup_sock_addr", "lwt_seg6local", "lirc_mode2", "sk_reuseport", "flow_dissector", "cgroup_sysctl",
            "raw_tracepoint_writable", "cgroup_sockopt", "tracing", "struct_ops", "ext", "lsm", "sk_lookup", "syscall",
            "netfilter")  # fmt: skip
"""Kinds of programs by number; the first is none."""
BY_TARGET = ("tracing", "struct_ops", "ext", "lsm")
"""Kinds whose program names a function or type of the kernel to attach to already when it is loaded."""

SLEEPABLE, FRAGMENTS = 1 << 4, 1 << 5
"""Flags of a program: BPF_F_SLEEPABLE, BPF_F_XDP_HAS_FRAGS."""


class Convention(NamedTuple):
    """Sections whose names begin so hold programs of this kind. attach: expected_attach_type; flags: prog_flags."""

    prefix: str
    kind: str
    attach: int = 0
    flags: int = 0


CONVENTIONS = sorted(
    (
        Convention("xdp", "xdp", 37),
        Convention("xdp.frags", "xdp", 37, FRAGMENTS),
        Convention("xdp/devmap", "xdp", 33),
        Convention("xdp_devmap", "xdp", 33),
        Convention("xdp.frags/devmap", "xdp", 33, FRAGMENTS),
        Convention("xdp/cpumap", "xdp", 35),
        Convention("xdp_cpumap", "xdp", 35),
        Convention("xdp.frags/cpumap", "xdp", 35, FRAGMENTS),
        Convention("tc", "tc"),
        Convention("tcx", "tc"),
        Convention("tcx/ingress", "tc", 46),
        Convention("tcx/egress", "tc", 47),
        Convention("classifier", "tc"),
        Convention("netkit/primary", "tc", 54),
        Convention("netkit/peer", "tc", 55),
        Convention("action", "action"),
        Convention("socket", "socket"),
        Convention("socket_filter", "socket"),
        Convention("kprobe", "kprobe"),
        Convention("kretprobe", "kprobe"),
        Convention("ksyscall", "kprobe"),
        Convention("kretsyscall", "kprobe"),
        Convention("kprobe.multi", "kprobe", 42),
        Convention("kretprobe.multi", "kprobe", 42),
        Convention("uprobe", "kprobe"),
        Convention("uretprobe", "kprobe"),
        Convention("uprobe.s", "kprobe", 0, SLEEPABLE),
        Convention("uretprobe.s", "kprobe", 0, SLEEPABLE),
        Convention("usdt", "kprobe"),
        Convention("uprobe.multi", "kprobe", 48),
        Convention("uretprobe.multi", "kprobe", 48),
        Convention("uprobe.multi.s", "kprobe", 48, SLEEPABLE),
        Convention("uretprobe.multi.s", "kprobe", 48, SLEEPABLE),
        Convention("kprobe.session", "kprobe", 56),
        Convention("uprobe.session", "kprobe", 57),
        Convention("tracepoint", "tracepoint"),
        Convention("tp", "tracepoint"),
        Convention("raw_tracepoint", "raw_tracepoint"),
        Convention("raw_tp", "raw_tracepoint"),
        Convention("raw_tracepoint.w", "raw_tracepoint_writable"),
        Convention("raw_tp.w", "raw_tracepoint_writable"),
        Convention("tp_btf", "tracing", 23),
        Convention("fentry", "tracing", 24),
        Convention("fentry.s", "tracing", 24, SLEEPABLE),
        Convention("fexit", "tracing", 25),
        Convention("fexit.s", "tracing", 25, SLEEPABLE),
        Convention("fmod_ret", "tracing", 26),
        Convention("fmod_ret.s", "tracing", 26, SLEEPABLE),
        Convention("iter", "tracing", 28),
        Convention("iter.s", "tracing", 28, SLEEPABLE),
        Convention("lsm", "lsm", 27),
        Convention("lsm.s", "lsm", 27, SLEEPABLE),
        Convention("lsm_cgroup", "lsm", 43),
        Convention("freplace", "ext"),
        Convention("struct_ops", "struct_ops"),
        Convention("struct_ops.s", "struct_ops", 0, SLEEPABLE),
        Convention("perf_event", "perf_event"),
        Convention("cgroup_skb/ingress", "cgroup_skb", 0),
        Convention("cgroup_skb/egress", "cgroup_skb", 1),
        Convention("cgroup/skb", "cgroup_skb"),
        Convention("cgroup_skb", "cgroup_skb"),
        Convention("cgroup/sock", "cgroup_sock", 2),
        Convention("cgroup/sock_create", "cgroup_sock", 2),
        Convention("cgroup/sock_release", "cgroup_sock", 34),
        Convention("cgroup/post_bind4", "cgroup_sock", 12),
        Convention("cgroup/post_bind6", "cgroup_sock", 13),
        Convention("cgroup/dev", "cgroup_device", 6),
        Convention("cgroup/bind4", "cgroup_sock_addr", 8),
        Convention("cgroup/bind6", "cgroup_sock_addr", 9),
        Convention("cgroup/connect4", "cgroup_sock_addr", 10),
        Convention("cgroup/connect6", "cgroup_sock_addr", 11),
        Convention("cgroup/sendmsg4", "cgroup_sock_addr", 14),
        Convention("cgroup/sendmsg6", "cgroup_sock_addr", 15),
        Convention("cgroup/recvmsg4", "cgroup_sock_addr", 19),
        Convention("cgroup/recvmsg6", "cgroup_sock_addr", 20),
        Convention("cgroup/getpeername4", "cgroup_sock_addr", 29),
        Convention("cgroup/getpeername6", "cgroup_sock_addr", 30),
        Convention("cgroup/getsockname4", "cgroup_sock_addr", 31),
        Convention("cgroup/getsockname6", "cgroup_sock_addr", 32),
        Convention("cgroup/connect_unix", "cgroup_sock_addr", 49),
        Convention("cgroup/sendmsg_unix", "cgroup_sock_addr", 50),
        Convention("cgroup/recvmsg_unix", "cgroup_sock_addr", 51),
        Convention("cgroup/getpeername_unix", "cgroup_sock_addr", 52),
        Convention("cgroup/getsockname_unix", "cgroup_sock_addr", 53),
        Convention("cgroup/sysctl", "cgroup_sysctl", 18),
        Convention("cgroup/getsockopt", "cgroup_sockopt", 21),
        Convention("cgroup/setsockopt", "cgroup_sockopt", 22),
        Convention("sockops", "sockops", 3),
        Convention("sk_skb", "sk_skb"),
        Convention("sk_skb/stream_parser", "sk_skb", 4),
        Convention("sk_skb/stream_verdict", "sk_skb", 5),
        Convention("sk_skb/verdict", "sk_skb", 38),
        Convention("sk_msg", "sk_msg", 7),
        Convention("sk_reuseport", "sk_reuseport", 39),
        Convention("sk_reuseport/migrate", "sk_reuseport", 40),
        Convention("sk_lookup", "sk_lookup", 36),
        Convention("flow_dissector", "flow_dissector", 17),
        Convention("lirc_mode2", "lirc_mode2", 16),
        Convention("lwt_in", "lwt_in"),
        Convention("lwt_out", "lwt_out"),
        Convention("lwt_xmit", "lwt_xmit"),
        Convention("lwt_seg6local", "lwt_seg6local"),
        Convention("syscall", "syscall", 0, SLEEPABLE),
        Convention("netfilter", "netfilter", 45),
    ),
    key=lambda convention: -len(convention.prefix),
)
"""The longest prefix first, so that the first that fits is the right one."""

NONE = Convention("", "")


def convention(section: str) -> Convention:
    """What the name of a section says; NONE if it says nothing. A prefix ends where its word ends: "xdp2" is xdp."""
    name = section.removeprefix("?")  # libbpf: do not load this one unasked
    return next((one for one in CONVENTIONS if _begins(name, one.prefix)), NONE)


def _begins(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and not name[len(prefix) : len(prefix) + 1].isalpha()
