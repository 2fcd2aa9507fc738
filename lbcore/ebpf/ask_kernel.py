"""What only a kernel can answer: where a packet goes next, and whether a SYN cookie is one of its own.

Rule of this file: helpers that have no meaning outside of the kernel. In plain Python and under numba they raise
NotImplementedError, in the machine they fault; each says so by name.

Theory. `fib_lookup` asks the kernel's routing table and its table of neighbours for what a router needs: the interface
to send by, and the hardware addresses to write. So a program forwards along the routes that the host has. A SYN cookie
is a sequence number that a server can check instead of remembering who asked; made and checked with the kernel's own
secret, the cookies are good for its sockets, too (RFC 4987, section 3.6).
"""

# What numba compiles has no annotations.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,arg-type"
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from lbcore.ebpf import signatures
from lbcore.ebpf.contexts import SkBuff, XdpMd
from lbcore.ebpf.helpers import named, stack
from lbcore.wire.seam import View
from lbcore.wire.words_numba import I64

FOUND, BLACKHOLE, UNREACHABLE, PROHIBITED, NOT_FORWARDED, FORWARDING_OFF, TUNNEL, NO_NEIGHBOUR, TOO_LONG = range(9)
"""Results of `fib_lookup` (BPF_FIB_LKUP_RET_...). NOT_FORWARDED: the address is this host's own, or no unicast one."""
IPV4, IPV6 = 2, 10
"""Address families."""


class Route(NamedTuple):
    """`result`: FOUND or why not, negative for a wrong question; where to send, and the 48-bit addresses to write."""

    result: int
    interface: int
    source_mac: int
    destination_mac: int


def fib_lookup4(context: Any, interface: int, source: int, destination: int, length: int) -> Route:
    """XDP, tc: the route of an IPv4 packet of `length` bytes that came in by an interface (length 0: any)."""
    raise _alone("fib_lookup")


def fib_lookup6(
    context: Any, interface: int, source: tuple[int, int], destination: tuple[int, int], length: int
) -> Route:
    """The same for IPv6; addresses are (high, low) words."""
    raise _alone("fib_lookup")


def tcp_raw_gen_syncookie_ipv4(ip: View, tcp: View, length: int) -> int:
    """XDP, tc: the cookie for a SYN in the low 32 bits, the MSS above; negative: an error.

    `need` 20 bytes of the IP header, `length` (20 to 60) of the TCP header.
    """
    raise _alone("tcp_raw_gen_syncookie_ipv4")


def tcp_raw_gen_syncookie_ipv6(ip: View, tcp: View, length: int) -> int:
    """The same for IPv6: `need` 40 bytes of its header."""
    raise _alone("tcp_raw_gen_syncookie_ipv6")


def tcp_raw_check_syncookie_ipv4(ip: View, tcp: View) -> int:
    """XDP, tc: 0 if the ACK acknowledges a cookie of this kernel's, made in the last two minutes or so.

    `need` 20 bytes of both headers.
    """
    raise _alone("tcp_raw_check_syncookie_ipv4")


def tcp_raw_check_syncookie_ipv6(ip: View, tcp: View) -> int:
    """The same for IPv6: `need` 40 bytes of its header."""
    raise _alone("tcp_raw_check_syncookie_ipv6")


def _alone(name: str) -> NotImplementedError:
    return NotImplementedError(f"{name} asks the kernel: it works only in programs that the kernel runs")


@intrinsic
def _in_kernel(context):
    """No; but numba does not know, so that a function that always raises still has the type it should."""
    return types.boolean(), lambda c, b, signature, values: ir.Constant(ir.IntType(1), 0)


def _nowhere(function: Callable[..., Any], name: str, answer: Any) -> None:
    """Under numba in user space: the same error."""
    message = str(_alone(name))

    def raising(*arguments):
        def call(*arguments):
            if not _in_kernel():
                raise NotImplementedError(message)
            return answer

        return call

    overload(function, target="cpu", strict=False)(raising)


_gen4, _gen6 = named("tcp_raw_gen_syncookie_ipv4"), named("tcp_raw_gen_syncookie_ipv6")
_check4, _check6 = named("tcp_raw_check_syncookie_ipv4"), named("tcp_raw_check_syncookie_ipv6")


@overload(tcp_raw_gen_syncookie_ipv4, target="bpf")
def _gen4_bpf(ip, tcp, length):
    return (lambda ip, tcp, length: _gen4(ip[0], tcp[0], length)) if len(ip) == len(tcp) == 2 else None


@overload(tcp_raw_gen_syncookie_ipv6, target="bpf")
def _gen6_bpf(ip, tcp, length):
    return (lambda ip, tcp, length: _gen6(ip[0], tcp[0], length)) if len(ip) == len(tcp) == 2 else None


@overload(tcp_raw_check_syncookie_ipv4, target="bpf")
def _check4_bpf(ip, tcp):
    return (lambda ip, tcp: _check4(ip[0], tcp[0])) if len(ip) == len(tcp) == 2 else None


@overload(tcp_raw_check_syncookie_ipv6, target="bpf")
def _check6_bpf(ip, tcp):
    return (lambda ip, tcp: _check6(ip[0], tcp[0])) if len(ip) == len(tcp) == 2 else None


# struct bpf_fib_lookup: offsets in bytes
SIZE, FAMILY, LENGTH, INTERFACE, SOURCE, DESTINATION, SOURCE_MAC, DESTINATION_MAC = 64, 0, 6, 8, 16, 32, 52, 58


def _lookup(family: int) -> Any:
    """An intrinsic (context, interface, length, words of both addresses, the source first) -> Route, as a tuple."""
    kind = types.UniTuple(types.int64, len(Route._fields))
    width = ir.IntType(32 if family == IPV4 else 64)

    def typing(typing_context, context, interface, length, addresses):
        def codegen(context, b, signature, values):
            asked, interface, length, addresses = values
            slot = stack(b, ir.ArrayType(I64, SIZE // 8))
            start = b.bitcast(slot, ir.IntType(8).as_pointer())

            def at(offset, bits):
                return b.bitcast(b.gep(start, [I64(offset)]), ir.IntType(bits).as_pointer())

            for word in range(SIZE // 8):
                b.store(I64(0), b.gep(slot, [I64(0), I64(word)]))
            b.store(ir.IntType(8)(family), at(FAMILY, 8))
            b.store(b.trunc(length, ir.IntType(16)), at(LENGTH, 16))
            b.store(b.trunc(interface, ir.IntType(32)), at(INTERFACE, 32))
            words = cgutils.unpack_tuple(b, addresses)
            for base, half in ((SOURCE, words[: len(words) // 2]), (DESTINATION, words[len(words) // 2 :])):
                for i, word in enumerate(half):
                    number = word if width.width == 64 else b.trunc(word, width)
                    b.store(b.bswap(number), at(base + i * width.width // 8, width.width), align=4)
            helper = I64(signatures.BY_NAME["fib_lookup"].number)
            called = b.inttoptr(helper, ir.FunctionType(I64, [I64] * 4).as_pointer())
            result = b.call(called, [asked, b.ptrtoint(slot, I64), I64(SIZE), I64(0)])
            found = [result, b.zext(b.load(at(INTERFACE, 32)), I64)]
            for base in (SOURCE_MAC, DESTINATION_MAC):
                parts = [b.zext(b.bswap(b.load(at(base + i, 16))), I64) for i in (0, 2, 4)]
                found.append(b.or_(b.or_(b.shl(parts[0], I64(32)), b.shl(parts[1], I64(16))), parts[2]))
            return context.make_tuple(b, kind, found)

        wanted = types.UniTuple(types.int64 if family == IPV4 else types.uint64, 2 if family == IPV4 else 4)
        return kind(context, types.int64, types.int64, wanted), codegen

    return intrinsic(typing)


_lookup4, _lookup6 = _lookup(IPV4), _lookup(IPV6)


@overload(fib_lookup4, target="bpf")
def _fib_lookup4(context, interface, source, destination, length):
    if not isinstance(context, XdpMd | SkBuff):
        return None

    def lookup(context, interface, source, destination, length):
        found = _lookup4(context, interface, length, (source, destination))
        return Route(found[0], found[1], found[2], found[3])

    return lookup


@overload(fib_lookup6, target="bpf")
def _fib_lookup6(context, interface, source, destination, length):
    if not isinstance(context, XdpMd | SkBuff):
        return None

    def lookup(context, interface, source, destination, length):
        found = _lookup6(context, interface, length, (source[0], source[1], destination[0], destination[1]))
        return Route(found[0], found[1], found[2], found[3])

    return lookup


for _asking in (fib_lookup4, fib_lookup6):
    _nowhere(_asking, "fib_lookup", Route(0, 0, 0, 0))
for _function in (
    tcp_raw_gen_syncookie_ipv4, tcp_raw_gen_syncookie_ipv6, tcp_raw_check_syncookie_ipv4, tcp_raw_check_syncookie_ipv6,
):  # fmt: skip
    _nowhere(_function, _function.__name__, 0)
