"""The seam: the few functions through which all packet code reaches a packet.

Rule of this file: whoever parses or rewrites packets calls these and nothing else, so that one source runs on every
target. Plain Python runs what stands here. For numba, `seam_numba` gives the same names a second meaning, chosen by
the type of the context; the kernel's compiler registers a third.

Theory. A *context* is where a packet lives and can grow: a `Frame` here, a cell of four addresses for compiled code,
`xdp_md` in the kernel. `view(context)` looks at it: where it starts and where it ends. Ask `need(p, n)` once, then
read and write inside those n bytes, at constant offsets; what lies a computed distance away is reached by `advance`,
and then asked for. A view stays valid until its context grows or shrinks; then take a new one. That is the discipline
the kernel's verifier enforces, and it costs nothing to keep it everywhere. Numbers are big-endian
on the wire and plain host integers here: `u16(p, 12) == 0x0800`.

Trap. Here an access outside the view raises; compiled, nothing checks it again: that is what makes it fast, and what
`need` is for. `seam_numba.checked_context` checks every access; the tests run all packet code on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Frame:
    """A packet in plain Python: `buffer` holds it from `start` to `end`, with room to grow on both sides.

    interface, queue: where it came in; mark: what those who saw it before noted on it (0 to 2**32 - 1); tail_calls: how
    many programs handed it on.
    """

    __slots__ = ("buffer", "end", "interface", "mark", "queue", "start", "tail_calls")

    def __init__(
        self, data: bytes = b"", *, headroom: int = 128, tailroom: int = 128, interface: int = 1, queue: int = 0,
        mark: int = 0,
    ) -> None:  # fmt: skip
        self.buffer = bytearray(headroom) + data + bytearray(tailroom)
        self.start = headroom
        self.end = headroom + len(data)
        self.interface, self.queue, self.mark, self.tail_calls = interface, queue, mark, 0

    def __bytes__(self) -> bytes:
        return bytes(self.buffer[self.start : self.end])

    def __len__(self) -> int:
        return self.end - self.start


class View(NamedTuple):
    """A packet, or the part of it behind a header already read. Opaque: use the functions below."""

    buffer: Any
    begin: int
    at: int
    end: int


def view(context: Any) -> View:
    """The packet of a `Frame`, of bytes, or of a compiled context, from its first byte."""
    if isinstance(context, Frame):
        return View(context.buffer, context.start, context.start, context.end)
    return View(context, 0, 0, len(context))


def need(p: View, n: int) -> bool:
    """Are the first n bytes (n >= 0) of the view there? Every access must lie inside a range asked for with `need`."""
    return p.at + n <= p.end


def advance(p: View, n: int) -> View:
    """The view that starts n bytes further on, behind a header of n bytes."""
    return View(p.buffer, p.begin, p.at + n, p.end)


def size_of(p: View) -> int:
    """Bytes from the view's start to the packet's end."""
    return p.end - p.at


def _slice(p: View, offset: int, size: int) -> slice:
    at = p.at + offset
    if at < p.begin or at + size > p.end:
        raise IndexError(f"{size} bytes at offset {offset} of a view of {p.end - p.at} bytes: ask need() first")
    return slice(at, at + size)


def _reader(size: int) -> Callable[[View, int], int]:
    def read(p: View, offset: int) -> int:
        return int.from_bytes(p.buffer[_slice(p, offset, size)], "big")

    read.__name__ = read.__qualname__ = f"u{8 * size}"
    read.__doc__ = f"The {8 * size}-bit number at this offset, as a host integer (the wire is big-endian)."
    return read


def _writer(size: int) -> Callable[[View, int, int], None]:
    def write(p: View, offset: int, value: int) -> None:
        p.buffer[_slice(p, offset, size)] = (int(value) & ((1 << 8 * size) - 1)).to_bytes(size, "big")

    write.__name__ = write.__qualname__ = f"set{8 * size}"
    write.__doc__ = f"Writes the low {8 * size} bits of a host integer at this offset, big-endian."
    return write


u8, u16, u32, u64 = _reader(1), _reader(2), _reader(4), _reader(8)
set8, set16, set32, set64 = _writer(1), _writer(2), _writer(4), _writer(8)


def interface_of(context: Frame) -> int:
    """The index of the interface that the packet came in by."""
    return context.interface


def queue_of(context: Frame) -> int:
    """The receive queue that the packet came in by."""
    return context.queue


def length_of(context: Frame) -> int:
    """Bytes of the whole packet, also of what a view of it does not show."""
    return len(context)


def mark_of(context: Frame) -> int:
    """The number that travels with the packet through the host and never leaves it (0 to 2**32 - 1)."""
    return context.mark


def set_mark(context: Frame, mark: int) -> None:
    """Give the packet a mark, of which the low 32 bits are kept; firewalls and routing rules can ask for it."""
    context.mark = int(mark) & 0xFFFFFFFF


def grow_head(context: Frame, n: int) -> bool:
    """Make room for n bytes before the packet (n < 0: cut -n bytes off). False, and nothing done, where there is none.

    Views taken before are stale.
    """
    if not 0 <= context.start - n <= context.end:
        return False
    context.start -= n
    return True


def grow_tail(context: Frame, n: int) -> bool:
    """Make room for n bytes behind the packet (n < 0: cut). False, and nothing done, where there is none."""
    if not context.start <= context.end + n <= len(context.buffer):
        return False
    context.end += n
    return True


def settled(n: int, below: int) -> int:
    """n itself, 0 <= n < below, a power of two. In the kernel: a number of which no more than that is known.

    The verifier follows every path with what it knows on it, and a distance that came about in twenty ways makes twenty
    paths of all that follows. Where ways meet again, settle what differs.
    """
    return n


def lookup(table: Any, key: int) -> tuple[bool, int]:
    """(True, table[key]) for a key the table has, else (False, 0). A sequence or numpy array; in the kernel, a map."""
    return (True, int(table[key])) if 0 <= key < len(table) else (False, 0)
