/* What the C programs of the tests need of BPF, so that they need no header of the machine's. */
#define SEC(name) __attribute__((section(name), used))
#define NUMBER(name, value) int(*name)[value]
#define TYPE(name, type) typeof(type) *name

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

enum { HASH = 1, ARRAY = 2, PROG_ARRAY = 3, PERCPU_ARRAY = 6, ARRAY_OF_MAPS = 12, HASH_OF_MAPS = 13, RINGBUF = 27 };

struct xdp_md {
    u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

static void *(*const map_lookup_elem)(void *, const void *) = (void *)1;
static long (*const map_update_elem)(void *, const void *, const void *, u64) = (void *)2;
static long (*const printk)(const char *, u32, u64, u64, u64) = (void *)6;
static u64 (*const get_current_task)(void) = (void *)35;
static long (*const probe_read_kernel)(void *, u32, const void *) = (void *)113;
static long (*const ringbuf_output)(void *, void *, u64, u64) = (void *)130;
static long (*const loop)(u32, void *, void *, u64) = (void *)181;
