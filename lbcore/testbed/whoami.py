"""Backends that tell a client whom they take it for: by the socket, by a PROXY header, by a guess.

Rule of this file: handlers for `smallest.listening`. None of them is a server to run.

Theory. Whether a header comes is settled before the first byte, by configuration. `by_guess` shows why: it takes a
header where it finds one, and so it takes one from anybody.
"""

from __future__ import annotations

from asyncio import StreamReader, StreamWriter

from lbcore.testbed import smallest
from lbcore.wire import proxy_protocol
from lbcore.wire.errors import Incomplete, Malformed
from lbcore.wire.proxy_protocol import Header, Inet

CHUNK = 4096


async def by_socket(reader: StreamReader, writer: StreamWriter) -> None:
    """The address at the other end of the connection."""
    writer.write(writer.get_extra_info("peername")[0].encode())
    await finish(reader, writer)


async def by_header(reader: StreamReader, writer: StreamWriter) -> None:
    """The address in the header, which must be there."""
    header, _ = await introduced(reader)
    writer.write(said(header, writer).encode())
    await finish(reader, writer)


async def by_guess(reader: StreamReader, writer: StreamWriter) -> None:
    """The address in the header if what comes looks like one."""
    data = await reader.read(CHUNK)
    if data.startswith((b"PROXY ", proxy_protocol.SIGNATURE)):
        header, _ = proxy_protocol.parse(data)
        writer.write(said(header, writer).encode())
        await finish(reader, writer)
    else:
        await by_socket(reader, writer)


async def web(reader: StreamReader, writer: StreamWriter) -> None:
    """One HTTP request: 200, or 400 for what is none."""
    try:
        smallest.parse_request(await smallest.read_head(reader))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    except smallest.Refused:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await finish(reader, writer)


async def mail(reader: StreamReader, writer: StreamWriter) -> None:
    """Speaks first, as mail servers and some databases do; then one command."""
    writer.write(b"220 ready\r\n")
    line = await reader.readline()
    writer.write(b"250 hello\r\n" if line == b"HELO me\r\n" else b"500 what?\r\n")
    await finish(reader, writer)


async def mail_told(reader: StreamReader, writer: StreamWriter) -> None:
    """The same, but nothing is said before a header has come."""
    await introduced(reader)
    await mail(reader, writer)


async def finish(reader: StreamReader, writer: StreamWriter) -> None:
    """Read to the client's end: to close with bytes unread would reset the connection, and lose what was said."""
    writer.write_eof()
    while await reader.read(CHUNK):
        pass


async def introduced(reader: StreamReader) -> tuple[Header, bytes]:
    """The header that a connection begins with, and what of the client's bytes came along. EOFError without one."""
    data = b""
    while chunk := await reader.read(CHUNK):
        data += chunk
        try:
            header, size = proxy_protocol.parse(data)
        except Incomplete:
            continue
        except Malformed as fault:
            raise EOFError(str(fault)) from None
        return header, data[size:]
    raise EOFError("the connection ended before its header did")


def said(header: Header, writer: StreamWriter) -> str:
    """Whom a header names; the peer where it names nobody."""
    if isinstance(header.source, Inet):
        return header.source.address
    return str(writer.get_extra_info("peername")[0])
