#include "twin.h"

struct {
    NUMBER(type, DEVMAP);
    NUMBER(max_entries, 1);
    TYPE(key, u32);
    TYPE(value, u32);
} other_port SEC(".maps");

XDP redirect(struct xdp_md *context) { return redirect_map(&other_port, 0, PASS); }
