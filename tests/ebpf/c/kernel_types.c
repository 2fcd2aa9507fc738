/* A field of a kernel structure whose place only the running kernel knows (CO-RE), a callback, and a ring buffer. */
#include "bpf.h"

struct task_struct {
    int tgid;
} __attribute__((preserve_access_index));

struct {
    NUMBER(type, RINGBUF);
    NUMBER(max_entries, 4096);
} ring SEC(".maps");

SEC("raw_tp/sys_enter") int place(void *context) {
    struct task_struct *task = (struct task_struct *)get_current_task();
    int number = 0;
    probe_read_kernel(&number, sizeof(number), &task->tgid);
    return number;
}

static int add(u32 i, void *sum) {
    *(u32 *)sum += i;
    return 0;
}

SEC("xdp") int loops(struct xdp_md *context) {
    u32 sum = 0;
    loop(5, add, &sum, 0);
    ringbuf_output(&ring, &sum, sizeof(sum), 0);
    return sum;
}

char licence[] SEC("license") = "GPL";
