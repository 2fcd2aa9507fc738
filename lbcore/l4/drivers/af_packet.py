"""AF_PACKET: a copy of every packet of an interface, in blocks of shared memory (TPACKET_V3); and a ring to send by.

    with AfPacket("eth0") as driver:
        count = receive(driver.port, packets)

Rule of this file: the layout of the two rings (packet(7); include/uapi/linux/if_packet.h).

Theory. The kernel writes packets one behind the other into a block and hands it over when it is full, or when a timer
says that it has waited long enough: one hand-over for thousands of packets under load, and at most `patience` of delay
without. A block goes back when its last packet has been given back. To send, packets are copied into slots, and one
call sends all that are marked.

Unlike AF_XDP this needs no program and no rights over one, works on every interface, and takes nothing away: it is a
copy, and the network stack has the packet too. That is also why it costs more: the stack has done its work for nothing.

Traps
- The host's own stack answers what it finds addressed to itself, beside the data plane: give the interface no address.
- Between local interfaces packets may carry no checksum yet, or be many in one (segmentation offload): switch the
  offloads off where the data plane is to see what a wire would carry.
- The kernel takes a VLAN tag out of the frame and tells it beside; it is put back here, into the headroom.
- What is longer than the interface's MTU, the kernel throws away when it is to send it, and says nothing.
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

import errno
import socket
import struct
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba.extending import register_jitable

from lbcore.ebpf.contexts import XDP_TX
from lbcore.l4.drivers import driver
from lbcore.l4.drivers.driver import (
    END,
    HIGHEST,
    INTERFACE,
    LOWEST,
    MARK,
    QUEUE,
    RECEIVED,
    RECEIVED_BYTES,
    REFUSED,
    SENT,
    SENT_BYTES,
    START,
)
from lbcore.l4.drivers.mapping import Mapping
from lbcore.l4.drivers.ordered import POLLIN, copy_bytes, load_acquire, send_now, store_release, wait_readable

SOL_PACKET, ETH_P_ALL, TPACKET_V3 = 263, 3, 2
RX_RING, STATISTICS, VERSION, RESERVE, TX_RING, LOSS, QDISC_BYPASS, IGNORE_OUTGOING = 5, 6, 10, 12, 13, 14, 20, 23

WITH_KERNEL, WITH_USER, VLAN_VALID, TPID_VALID = 0, 1, 16, 64
"""Status of a block; and of a packet: its VLAN tag, and that tag's own ethertype, are told beside it."""
AVAILABLE, TO_SEND = 0, 1
"""Status of a slot to send from."""
STATUS, PACKETS, FIRST = 2, 3, 4
"""32-bit words of struct tpacket_block_desc."""
NEXT_OFFSET, LENGTH_HERE, LENGTH, PACKET_STATUS, MAC_OFFSET, TAG, TAG_TYPE = 0, 3, 4, 5, 6, 8, 9
"""32-bit words of struct tpacket3_hdr; MAC_OFFSET and TAG_TYPE are the low halves of theirs."""
HEADER, HEADER_AND_ADDRESS = 48, 68
"""Bytes of tpacket3_hdr, where a packet to send begins; with a sockaddr_ll, where received ones may begin."""
HEADROOM = 256


class Port(NamedTuple):
    """words: uint32[n] and octets: uint8[4 n], the same memory: blocks to receive, then slots to send.

    held: int64[blocks], packets of each block that were not given back. state: int64[9], as below; polled: int32[2].
    """

    words: npt.NDArray[np.uint32]
    octets: npt.NDArray[np.uint8]
    held: npt.NDArray[np.int64]
    state: npt.NDArray[np.int64]
    polled: npt.NDArray[np.int32]
    counters: npt.NDArray[np.int64]


BLOCK_BITS, SLOT_SIZE, SLOTS, FIRST_SLOT, INDEX, BLOCK, LEFT, AT, SLOT = range(9)
"""state: bytes of a block, as a power of two, and of a slot; how many slots, and the byte where they begin; the
interface's index; the block to read from, packets left in it, the next one's byte; the slot to send from."""


class AfPacket(driver.Driver):
    """A socket on an interface, in the network namespace that this thread is in. Needs CAP_NET_RAW (OSError: EPERM).

    blocks: of `block_size` bytes each, a power of two, at least a page. patience: milliseconds until a block that is
    not full is handed over. slots: of `slot_size` bytes; the longest packet to send is 48 bytes less.
    """

    def __init__(
        self, interface: str, *, blocks: int = 16, block_size: int = 1 << 18, patience: int = 1, slots: int = 1024,
        slot_size: int = 2048,
    ) -> None:  # fmt: skip
        if block_size & (block_size - 1) or slot_size % 16:
            here = f"block_size is {block_size} and slot_size {slot_size}"
            raise ValueError(f"{here}, wanted a power of two and a multiple of 16")
        self.interface, index = interface, driver.index_of(interface)
        self._dropped = {"dropped by kernel": 0, "receive ring full": 0}
        with ExitStack() as stack:
            self._socket = stack.enter_context(_open(interface))
            sent_by = max(block_size, slot_size)
            _set(self._socket, VERSION, TPACKET_V3)
            _set(self._socket, RESERVE, HEADROOM)
            _set(self._socket, LOSS, 1)
            _set(self._socket, QDISC_BYPASS, 1)
            _set(self._socket, IGNORE_OUTGOING, 1)
            _ring(self._socket, RX_RING, block_size, blocks, 2048, patience)
            _ring(self._socket, TX_RING, sent_by, slots * slot_size // sent_by, slot_size, 0)
            pages = Mapping(blocks * block_size + slots * slot_size, self._socket.fileno())
            stack.callback(pages.release)
            self.port = Port(
                words=pages.array(np.uint32, pages.size // 4),
                octets=pages.array(np.uint8, pages.size),
                held=np.zeros(blocks, np.int64),
                state=np.array(
                    [block_size.bit_length() - 1, slot_size, slots, blocks * block_size, index, 0, 0, 0, 0],
                    np.int64,
                ),
                polled=np.array([self._socket.fileno(), POLLIN], np.int32),
                counters=np.zeros(len(driver.COUNTERS), np.int64),
            )
            # The descriptor's number may soon be somebody else's: the port is to forget it.
            stack.callback(self.port.polled.__setitem__, 0, -1)
            self._socket.bind((interface, ETH_P_ALL))
            self._stack = stack.pop_all()

    def statistics(self) -> dict[str, int]:
        if self._socket.fileno() >= 0:  # the kernel starts again from 0 when it has told
            raw = self._socket.getsockopt(SOL_PACKET, STATISTICS, 12)
            _, dropped, full = struct.unpack("=III", raw)
            self._dropped["dropped by kernel"] += dropped
            self._dropped["receive ring full"] += full
        return driver.counted(self.port.counters) | self._dropped

    def close(self) -> None:
        self.statistics()
        self._stack.close()


def _open(interface: str) -> socket.socket:
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # deaf until it is bound
    except PermissionError as error:
        raise PermissionError(
            errno.EPERM, f"AF_PACKET on {interface}: {error.strerror}; it takes CAP_NET_RAW"
        ) from None


def _set(made: socket.socket, option: int, value: int) -> None:
    made.setsockopt(SOL_PACKET, option, value)


def _ring(made: socket.socket, option: int, block_size: int, blocks: int, frame_size: int, patience: int) -> None:
    """struct tpacket_req3."""
    frames = blocks * (block_size // frame_size)
    request = struct.pack("=7I", block_size, blocks, frame_size, frames, patience, 0, 0)
    try:
        made.setsockopt(SOL_PACKET, option, request)
    except OSError as error:
        here = f"{blocks} blocks of {block_size} bytes with frames of {frame_size}"
        raise OSError(error.errno, f"AF_PACKET ring of {here}: {error.strerror}") from None


# ---- the operations, compiled ----


@register_jitable
def _next_block(port):
    port.state[BLOCK] = port.state[BLOCK] + 1 if port.state[BLOCK] + 1 < len(port.held) else 0


@register_jitable
def _open_block(port):
    """Start on the next block, if the kernel has handed it over and all of its last turn was given back."""
    state, block = port.state, port.state[BLOCK]
    at = block << state[BLOCK_BITS]
    if port.held[block] or load_acquire(port.words, at // 4 + STATUS) & WITH_USER == 0:
        return False
    state[LEFT] = port.held[block] = np.int64(port.words[at // 4 + PACKETS])
    state[AT] = at + np.int64(port.words[at // 4 + FIRST])
    if state[LEFT] == 0:
        store_release(port.words, at // 4 + STATUS, WITH_KERNEL)
        _next_block(port)
    return True


@register_jitable
def _tagged(port, at, begin):
    """Put the VLAN tag back behind the addresses of the packet at `begin`; where it begins now."""
    word, octets = at // 4, port.octets
    status = np.int64(port.words[word + PACKET_STATUS])
    if status & VLAN_VALID == 0:
        return begin
    tag, kind = np.int64(port.words[word + TAG]), int(port.words[word + TAG_TYPE]) & 0xFFFF
    if status & TPID_VALID == 0:
        kind = 0x8100
    for i in range(12):
        octets[begin - 4 + i] = octets[begin + i]
    octets[begin + 8], octets[begin + 9] = kind >> 8, kind & 0xFF
    octets[begin + 10], octets[begin + 11] = tag >> 8 & 0xFF, tag & 0xFF
    return begin - 4


def _receive(port, packets):
    state, base, count = port.state, np.uint64(port.octets.ctypes.data), 0
    while count < len(packets):
        if state[LEFT] == 0:
            if not _open_block(port):
                break
            continue
        at = state[AT]
        word = at // 4
        begin = at + (np.int64(port.words[word + MAC_OFFSET]) & 0xFFFF)
        end = begin + np.int64(port.words[word + LENGTH_HERE])
        begin = _tagged(port, at, begin)
        packets[count, START] = base + np.uint64(begin)
        packets[count, END] = packets[count, HIGHEST] = base + np.uint64(end)
        packets[count, LOWEST] = base + np.uint64(at + HEADER_AND_ADDRESS)
        packets[count, INTERFACE], packets[count, QUEUE], packets[count, MARK] = state[INDEX], 0, 0
        port.counters[RECEIVED_BYTES] += end - begin
        count += 1
        state[AT] += np.int64(port.words[word + NEXT_OFFSET])
        state[LEFT] -= 1
        if state[LEFT] == 0:
            _next_block(port)
    port.counters[RECEIVED] += count
    return count


@register_jitable
def _give_back(port, lowest):
    """One packet less of the block in which this address lies, if it is one of the port's."""
    offset = np.int64(np.uint64(lowest) - np.uint64(port.octets.ctypes.data))
    if 0 <= offset < port.state[FIRST_SLOT]:
        block = offset >> port.state[BLOCK_BITS]
        port.held[block] -= 1
        if port.held[block] == 0:
            store_release(port.words, (block << port.state[BLOCK_BITS]) // 4 + STATUS, WITH_KERNEL)


@register_jitable
def _put(port, packet):
    """Copy a packet into the next slot and mark it; False if it does not fit, or no slot is free."""
    state = port.state
    length, at = np.int64(packet[END] - packet[START]), state[FIRST_SLOT] + state[SLOT] * state[SLOT_SIZE]
    if not driver.SHORTEST <= length <= state[SLOT_SIZE] - HEADER:
        return False
    if load_acquire(port.words, at // 4 + PACKET_STATUS) != AVAILABLE:
        send_now(port.polled[0])
        if load_acquire(port.words, at // 4 + PACKET_STATUS) != AVAILABLE:
            return False
    copy_bytes(np.uint64(port.octets.ctypes.data) + np.uint64(at + HEADER), packet[START], length)
    port.words[at // 4 + NEXT_OFFSET] = 0
    port.words[at // 4 + LENGTH_HERE] = port.words[at // 4 + LENGTH] = length
    store_release(port.words, at // 4 + PACKET_STATUS, TO_SEND)
    state[SLOT] = state[SLOT] + 1 if state[SLOT] + 1 < state[SLOTS] else 0
    port.counters[SENT_BYTES] += length
    return True


def _send(port, packets, verdicts, count):
    sent = 0
    for i in range(count):
        if verdicts[i] == XDP_TX:
            if _put(port, packets[i]):
                sent += 1
            else:
                port.counters[REFUSED] += 1
        _give_back(port, packets[i, LOWEST])
    port.counters[SENT] += sent
    send_now(port.polled[0])
    return sent


def _release(port, packets, count):
    for i in range(count):
        _give_back(port, packets[i, LOWEST])


@register_jitable
def _ready(port):
    """Is there a packet to receive?"""
    if port.state[LEFT]:
        return True
    block = port.state[BLOCK]
    status = load_acquire(port.words, (block << port.state[BLOCK_BITS]) // 4 + STATUS)
    return port.held[block] == 0 and status & WITH_USER != 0


def _wait(port, milliseconds):
    if _ready(port):
        return True
    wait_readable(port.polled, milliseconds)
    return _ready(port)


driver.implement(Port, receive=_receive, send=_send, release=_release, wait=_wait)
