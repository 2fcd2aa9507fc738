"""Lab 03: answers that must pass, and mistakes with the key of the hint each must get.

Rule of this file: no answer shares code with the checker.
"""

# mypy: ignore-errors

import struct

from lbcore.labs.answers import Answers

ANSWERS = Answers()
RIGHT, WRONG, right, wrong = ANSWERS.RIGHT, ANSWERS.WRONG, ANSWERS.right, ANSWERS.wrong


# ------------------------------------------------------------------------------------------------- 1: readdress
@right("readdress")
def readdress_slices(frame, backend):
    return backend + frame[0:6] + frame[12:]


@right("readdress")
def readdress_in_place(frame, backend):
    out = bytearray(frame)
    out[6:12] = out[0:6]
    out[0:6] = backend
    return out


@wrong("readdress", "source_kept")
def readdress_destination_only(frame, backend):
    out = bytearray(frame)
    out[:6] = backend
    return bytes(out)


@wrong("readdress", "turned_round")
def readdress_by_source(frame, backend):
    return frame[:6] + backend + frame[12:]


@wrong("readdress", "sent_back")
def readdress_swapped(frame, backend):
    return frame[6:12] + frame[:6] + frame[12:]


@wrong("readdress", "hop_counted")
def readdress_as_router(frame, backend):
    out = bytearray(backend + frame[:6] + frame[12:])
    if out[12:14] == b"\x08\x00":
        (total,) = struct.unpack_from("!H", out, 24)
        out[22] = (out[22] - 1) % 256
        total = (total ^ 0xFFFF) + (frame[22] * 256 + frame[23] ^ 0xFFFF) + out[22] * 256 + out[23]
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        struct.pack_into("!H", out, 24, total ^ 0xFFFF)
    return out


@wrong("readdress", "wrong_form")
def readdress_forgets(frame, backend):
    backend + frame[:6] + frame[12:]


@wrong("readdress", "elsewhere")
def readdress_and_address(frame, backend):
    out = bytearray(backend + frame[:6] + frame[12:])
    out[30:34] = b"\x0a\x00\x00\x0b"
    return out


@wrong("readdress", "immutable")
def readdress_bytes(frame, backend):
    frame[:6] = backend
    return frame


# --------------------------------------------------------------------------------------------------- 2: backend
def sysctls(**values):
    return [f"sysctl -w net.ipv4.conf.{name.replace('__', '.')}={value}" for name, value in values.items()]


QUIET = {"all__arp_ignore": 1, "all__arp_announce": 2}


@right("backend")
def backend_loose(vip):
    return [*sysctls(**QUIET, all__rp_filter=2), f"ip addr add {vip}/32 dev lo"]


@right("backend")
def backend_by_interface(vip):
    quiet = sysctls(eth0__arp_ignore=1, eth1__arp_announce=1, eth0__rp_filter=2)
    return [f"ip address add {vip} dev lo", *quiet]


@right("backend")
def backend_off(vip):
    return [f"ip addr add {vip}/32 dev lo", *sysctls(**QUIET, all__rp_filter=0, eth0__rp_filter=0)]


@wrong("backend", "filtered")
def backend_strict(vip):
    return [f"ip addr add {vip}/32 dev lo", *sysctls(**QUIET)]


@wrong("backend", "larger_counts")
def backend_half_off(vip):
    return [f"ip addr add {vip}/32 dev lo", *sysctls(**QUIET, all__rp_filter=0)]


@wrong("backend", "no_address")
def backend_without(vip):
    return sysctls(**QUIET, all__rp_filter=2)


@wrong("backend", "other_address")
def backend_of_another(vip):
    return ["ip addr add 203.0.113.81/32 dev lo", *sysctls(**QUIET, all__rp_filter=2)]


@wrong("backend", "on_the_segment")
def backend_on_eth0(vip):
    return [f"ip addr add {vip}/32 dev eth0", *sysctls(**QUIET, all__rp_filter=2)]


@wrong("backend", "on_lo")
def backend_lo_quiet(vip):
    return [f"ip addr add {vip}/32 dev lo", *sysctls(lo__arp_ignore=1, lo__arp_announce=2, all__rp_filter=2)]


@wrong("backend", "claims")
def backend_talkative(vip):
    return [f"ip addr add {vip}/32 dev lo", *sysctls(all__rp_filter=2)]


@wrong("backend", "announces")
def backend_asks_aloud(vip):
    return [f"ip addr add {vip}/32 dev lo", *sysctls(all__arp_ignore=1, all__rp_filter=2)]


@wrong("backend", "deaf")
def backend_silent(vip):
    return [f"ip addr add {vip}/32 dev lo", *sysctls(all__arp_ignore=8, all__arp_announce=2, all__rp_filter=2)]


@wrong("backend", "cannot_be_done")
def backend_ifconfig(vip):
    return [f"ifconfig lo:0 {vip} netmask 255.255.255.255"]


@wrong("backend", "wrong_form")
def backend_script(vip):
    return f"ip addr add {vip}/32 dev lo"


# ------------------------------------------------------------------------------------------------- 3: diagnosis


@right("diagnosis")
def diagnosis_by_readings(evidence):
    hosts = evidence.hosts
    for name in ("b1", "b2", "router"):
        if hosts[name].counters["TcpExtIPReversePathFilter"] > 0:
            return "rp_filter", name
    at = hosts["router"].neighbours["eth1"][evidence.vip]
    if at != hosts["balancer"].ethernet["eth0"]:
        return "arp", next(name for name in ("b1", "b2") if hosts[name].ethernet["eth0"] == at)
    for name in ("b1", "b2"):
        if evidence.vip not in hosts[name].addresses["lo"]:
            return "no_vip", name
    return "wrong_mac", "balancer"


@right("diagnosis")
def diagnosis_by_frames(evidence):
    """From the captures and two counters, without a look at any setting."""
    mine = {host.ethernet["eth0"]: name for name, host in evidence.hosts.items() if name in ("balancer", "b1", "b2")}
    sent = {data[:6].hex(":") for way, data in evidence.frames["router"] if way == "out" and data[23] == 6}
    (entry,) = {mine[mac] for mac in sent if mac in mine}
    if entry != "balancer":
        return "arp", entry
    left = {data[:6].hex(":") for way, data in evidence.frames["balancer"] if way == "out" and data[23:24] == b"\x06"}
    if any(mac not in mine for mac in left):
        return "wrong_mac", "balancer"
    back = {data[6:12].hex(":") for way, data in evidence.frames["back"] if way == "in" and data[23:24] == b"\x06"}
    silent = [name for name in ("b1", "b2") if evidence.hosts[name].ethernet["eth1"] not in back]
    if not silent:
        return "rp_filter", "router"
    name = silent[0]
    return ("no_vip" if evidence.hosts[name].counters["IpInAddrErrors"] else "rp_filter"), name


@wrong("diagnosis", "harmless_filter")
def diagnosis_any_filter(evidence):
    for name, host in evidence.hosts.items():
        if any(value == 1 and setting.endswith("rp_filter") for setting, value in host.settings.items()):
            return "rp_filter", name
    return diagnosis_by_readings(evidence)


@wrong("diagnosis", "arp_is_right")
def diagnosis_any_talker(evidence):
    for name, host in evidence.hosts.items():
        if any(value == 0 and setting.endswith("arp_ignore") for setting, value in host.settings.items()):
            return "arp", name
    return diagnosis_by_readings(evidence)


@wrong("diagnosis", "has_address")
def diagnosis_always_address(evidence):
    silent = [name for name in ("b1", "b2") if not evidence.hosts[name].counters["TcpPassiveOpens"]]
    return "no_vip", (silent or ["b1"])[0]


@wrong("diagnosis", "macs_are_right")
def diagnosis_balancer_idle(evidence):
    if sum(evidence.answered.values()) == len(evidence.answered):
        return "wrong_mac", "balancer"
    return diagnosis_by_readings(evidence)


@wrong("diagnosis", "macs_are_right")
def diagnosis_blames_victim(evidence):
    fault, host = diagnosis_by_readings(evidence)
    victims = [name for name in ("b1", "b2") if not evidence.hosts[name].counters["TcpPassiveOpens"]]
    return (fault, victims[0]) if fault == "wrong_mac" else (fault, host)


@wrong("diagnosis", "harmless_filter")
def diagnosis_router_forgotten(evidence):
    fault, host = diagnosis_by_frames(evidence)
    return (fault, "b1") if host == "router" else (fault, host)


@wrong("diagnosis", "wrong_form")
def diagnosis_word(evidence):
    return diagnosis_by_readings(evidence)[0]


@wrong("diagnosis", "not_there")
def diagnosis_surprised(evidence):
    return "arp", evidence.hosts["client"].neighbours["eth1"]


# ---------------------------------------------------------------------------------------------------- 4: repair
def mac_repairs(evidence):
    for name in ("b1", "b2"):
        host = evidence.hosts[name]
        own = host.addresses["eth0"][0]
        if evidence.backends[own] != host.ethernet["eth0"]:
            yield "balancer", f"ethernet {own} {host.ethernet['eth0']}"


@right("repair")
def repair_plain(evidence, fault, host):
    if fault == "no_vip":
        return [(host, f"ip addr add {evidence.vip}/32 dev lo")]
    if fault == "arp":
        quiet = (host, "sysctl -w net.ipv4.conf.all.arp_ignore=1")
        return [quiet, ("router", f"ip neigh del {evidence.vip} dev eth1")]
    if fault == "rp_filter":
        return [(host, "sysctl -w net.ipv4.conf.all.rp_filter=2")]
    return list(mac_repairs(evidence))


@right("repair")
def repair_other_way(evidence, fault, host):
    """The setting that is wrong, put to what its neighbours have; the address where another interface keeps it."""
    if fault == "rp_filter":
        wrong = [key for key, value in evidence.hosts[host].settings.items() if value == 1 and "rp_filter" in key]
        return [[host, f"sysctl net.ipv4.conf.{key} = 0"] for key in wrong]
    if fault == "no_vip":
        return [[host, f"ip address add {evidence.vip} dev eth1"]]
    if fault == "arp":
        forget = ["router", f"ip neighbour delete {evidence.vip} dev eth1"]
        return [[host, "sysctl -w net.ipv4.conf.eth0.arp_ignore=2"], forget]
    return [list(step) for step in mac_repairs(evidence)]


@wrong("repair", "remembered")
def repair_arp_half(evidence, fault, host):
    return repair_plain(evidence, fault, host)[:1]


@wrong("repair", "contested")
def repair_arp_other_half(evidence, fault, host):
    steps = repair_plain(evidence, fault, host)
    return steps[1:] if fault == "arp" else steps


@wrong("repair", "larger_counts")
def repair_eth0_only(evidence, fault, host):
    if fault == "rp_filter":
        return [(host, f"sysctl -w net.ipv4.conf.{'eth2' if host == 'router' else 'eth0'}.rp_filter=0")]
    return repair_plain(evidence, fault, host)


@wrong("repair", "new_mistake")
def repair_on_eth0(evidence, fault, host):
    if fault == "no_vip":
        return [(host, f"ip addr add {evidence.vip}/32 dev eth0")]
    return repair_plain(evidence, fault, host)


@wrong("repair", "wrong_address")
def repair_other_interface(evidence, fault, host):
    if fault == "wrong_mac":
        ((where, line),) = mac_repairs(evidence)
        owner = next(one for one in evidence.hosts.values() if line.endswith(one.ethernet["eth0"]))
        return [(where, line.replace(owner.ethernet["eth0"], owner.ethernet["eth1"]))]
    return repair_plain(evidence, fault, host)


@wrong("repair", "shotgun")
def repair_everywhere(evidence, fault, host):
    more = [(name, "sysctl -w net.ipv4.conf.all.rp_filter=2") for name in ("b1", "b2", "router", "client")]
    return more if fault == "rp_filter" else repair_plain(evidence, fault, host)


@wrong("repair", "not_mended")
def repair_restart(evidence, fault, host):
    return []


@wrong("repair", "cannot_be_done")
def repair_reboot(evidence, fault, host):
    return [(host, "reboot")]


@wrong("repair", "wrong_form")
def repair_one_line(evidence, fault, host):
    return repair_plain(evidence, fault, host)[0]
