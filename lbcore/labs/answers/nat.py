"""Lab 02: answers that must pass, and mistakes with the key of the hint each must get.

Rule of this file: no answer shares code with the checker, which has its own models of the mistakes.
"""

# mypy: ignore-errors

import struct

from lbcore.labs.answers import Answers

ANSWERS = Answers()
RIGHT, WRONG, right, wrong = ANSWERS.RIGHT, ANSWERS.WRONG, ANSWERS.right, ANSWERS.wrong


# ---------------------------------------------------------------------------------------------------- 1: update
@right("update")
def update_by_shift(value, old, new):
    total = (value ^ 0xFFFF) + (old ^ 0xFFFF) + new
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


@right("update")
def update_by_subtraction(value, old, new):
    """RFC 1624's equation 4: subtract, borrowing around the end."""
    total = value - (old ^ 0xFFFF) - new
    while total < 0:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@wrong("update", "older_formula")
def update_1141(value, old, new):
    total = value + old + (~new & 0xFFFF)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@wrong("update", "no_complement")
def update_plain(value, old, new):
    total = value + (old ^ 0xFFFF) + new
    while total > 0xFFFF:
        total = total - 0x10000 + 1
    return total


@wrong("update", "not_complemented_back")
def update_sum(value, old, new):
    total = (value ^ 0xFFFF) + (old ^ 0xFFFF) + new
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@wrong("update", "swapped")
def update_swapped(value, old, new):
    return update_by_shift(value, new, old)


@wrong("update", "carry_lost")
def update_cut(value, old, new):
    return ~((~value & 0xFFFF) + (~old & 0xFFFF) + new) & 0xFFFF


@wrong("update", "not_sixteen_bits")
def update_python_complement(value, old, new):
    return ~(~value + ~old + new)


@wrong("update", "old_left_in")
def update_added(value, old, new):
    total = (value ^ 0xFFFF) + new
    return ((total & 0xFFFF) + (total >> 16)) ^ 0xFFFF


# ------------------------------------------------------------------------------------------------- 2: translate
def mend(out, at, *pairs):
    value = int.from_bytes(out[at : at + 2], "big")
    for old, new in pairs:
        for i in range(0, len(old), 2):
            value = update_by_shift(value, int.from_bytes(old[i : i + 2], "big"), int.from_bytes(new[i : i + 2], "big"))
    out[at : at + 2] = value.to_bytes(2, "big")


def dnat(frame, address, port, *, skip=()):
    if frame[22] < 2 and "expired" not in skip:
        return None
    out, wire = bytearray(frame), struct.pack("!H", port)
    pairs = [] if "pseudo" in skip else [(frame[30:34], address)]
    out[22] = max(0, out[22] - ("hop" not in skip))
    mend(
        out,
        24,
        *([] if "ip" in skip else [(frame[30:34], address)]),
        *[(frame[22:24], out[22:24])] * ("count" not in skip),
    )
    mend(out, 50, *pairs, *([] if "port" in skip else [(frame[36:38], wire)]))
    out[30:34], out[36:38] = address, wire
    return out


@right("translate")
def translate_plain(frame, address, port):
    return dnat(frame, address, port)


@right("translate")
def translate_in_one_sum(frame, address, port):
    if frame[22] <= 1:
        return None
    a = struct.unpack("!2H", frame[30:34])
    b = struct.unpack("!2H", address)
    (ip,), (tcp,), (was,) = (struct.unpack_from("!H", frame, at) for at in (24, 50, 36))
    moved = sum(b) + sum(x ^ 0xFFFF for x in a)

    def fold(x):
        while x > 0xFFFF:
            x = (x & 0xFFFF) + (x >> 16)
        return x

    ip = fold((ip ^ 0xFFFF) + moved + 0xFEFF) ^ 0xFFFF  # less 0x0100
    tcp = fold((tcp ^ 0xFFFF) + moved + (was ^ 0xFFFF) + port) ^ 0xFFFF
    ttl = bytes([frame[22] - 1, frame[23]])
    head = frame[:22] + ttl + struct.pack("!H", ip) + frame[26:30] + address + frame[34:36] + struct.pack("!H", port)
    return head + frame[38:50] + struct.pack("!H", tcp) + frame[52:]


@wrong("translate", "pseudo_header")
def translate_no_pseudo(frame, address, port):
    return dnat(frame, address, port, skip=["pseudo"])


@wrong("translate", "hop_not_counted")
def translate_no_hop(frame, address, port):
    return dnat(frame, address, port, skip=["hop", "count"])


@wrong("translate", "hop_in_checksum")
def translate_hop_unsaid(frame, address, port):
    return dnat(frame, address, port, skip=["count"])


@wrong("translate", "expired")
def translate_for_ever(frame, address, port):
    if frame[22] == 0:
        out = dnat(frame[:22] + b"\1" + frame[23:], address, port, skip=["expired"])
        out[22] = 255
        value = bytearray(frame[24:26])
        mend(value, 0, (frame[30:34], address), (frame[22:24], bytes([255, frame[23]])))
        out[24:26] = value
        return out
    return dnat(frame, address, port, skip=["expired"])


@wrong("translate", "port_in_checksum")
def translate_port_unsaid(frame, address, port):
    return dnat(frame, address, port, skip=["port"])


@wrong("translate", "recomputed")
def translate_anew(frame, address, port):
    out = dnat(frame, address, port)
    if out is None:
        return None
    out[50:52] = b"\0\0"
    segment = bytes(out[34:])
    data = bytes(out[26:34]) + struct.pack("!HH", 6, len(segment)) + segment + b"\0" * (len(segment) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    out[50:52] = struct.pack("!H", total ^ 0xFFFF)
    return out


@wrong("translate", "immutable")
def translate_in_place(frame, address, port):
    frame[30:34] = address
    return frame


@wrong("translate", "elsewhere")
def translate_little_endian(frame, address, port):
    out = dnat(frame, address, port)
    if out is not None:
        out[0:6] = b"\2\0\0\0\0\6"
    return out


@wrong("translate", "wrong_form")
def translate_no_return(frame, address, port):
    dnat(frame, address, port)


# ------------------------------------------------------------------------------------------------------- 3: udp
@right("udp")
def udp_plain(value, words):
    if value == 0:
        return 0
    for old, new in words:
        value = update_by_shift(value, old, new)
    return value if value else 0xFFFF


@right("udp")
def udp_one_sum(value, words):
    if not value:
        return value
    total = (value ^ 0xFFFF) + sum((old ^ 0xFFFF) + new for old, new in words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (total ^ 0xFFFF) or 0xFFFF


@wrong("udp", "both_zeros")
def udp_as_tcp(value, words):
    for old, new in words:
        value = update_by_shift(value, old, new)
    return value


@wrong("udp", "zero_sent")
def udp_sends_zero(value, words):
    return udp_as_tcp(value, words) if value else 0


@wrong("udp", "none_repaired")
def udp_invents(value, words):
    return udp_as_tcp(value, words) or 0xFFFF


@wrong("udp", "none_becomes_ones")
def udp_ones(value, words):
    return udp_plain(value, words) or 0xFFFF


@wrong("udp", "first_word_only")
def udp_first(value, words):
    for old, new in words:
        return udp_plain(value, [(old, new)])
    return value


# ------------------------------------------------------------------------------------------------------ 4: back
def snat(frame, address, port, *, skip=()):
    """By way of the other end: turn the packet around, translate, turn it back."""
    turned = frame[:26] + frame[30:34] + frame[26:30] + frame[36:38] + frame[34:36] + frame[38:]
    out = dnat(turned, address, port, skip=skip)
    if out is None:
        return None
    return bytes(out[:26] + out[30:34] + out[26:30] + out[36:38] + out[34:36] + out[38:])


@right("back")
def back_plain(frame, ways):
    if frame[26:38] not in ways:
        return None
    return snat(frame, *ways[frame[26:38]])


@right("back")
def back_by_search(frame, ways):
    for key, (address, port) in ways.items():
        if frame.startswith(key, 26):
            return snat(frame, address, port)
    return None


@wrong("back", "by_client")
def back_by_client(frame, ways):
    for key, way in ways.items():
        if key[4:8] == frame[30:34] and key[10:] == frame[36:38]:
            return snat(frame, *way)
    return None


@wrong("back", "by_backend")
def back_by_backend(frame, ways):
    for key, way in ways.items():
        if key[:4] == frame[26:30]:
            return snat(frame, *way)
    return None


@wrong("back", "wrong_end")
def back_wrong_end(frame, ways):
    return dnat(frame, *ways[frame[26:38]]) if frame[26:38] in ways else None


@wrong("back", "passed_on")
def back_passes(frame, ways):
    return snat(frame, *ways[frame[26:38]]) if frame[26:38] in ways else frame


@wrong("back", "unknown_flow")
def back_surprised(frame, ways):
    return snat(frame, *ways[frame[26:38]])


@wrong("back", "pseudo_header")
def back_no_pseudo(frame, ways):
    return snat(frame, *ways[frame[26:38]], skip=["pseudo"]) if frame[26:38] in ways else None


@wrong("back", "hop_not_counted")
def back_no_hop(frame, ways):
    return snat(frame, *ways[frame[26:38]], skip=["hop", "count"]) if frame[26:38] in ways else None
