#include "twin.h"

XDP drop_all(struct xdp_md *context) { return DROP; }
