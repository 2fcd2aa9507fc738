"""From what a ClientHello shows to a pool's name.

Rule of this file: it reads a hello and a table. Whether the hello tells the truth nobody here can know.

Theory. Look-up by name is one dictionary look-up for each label: the name itself, then "*.example" for ever shorter
tails, then routes without names. So ten thousand routes cost what ten do. Within one name the first route whose ALPN
and ECH fit is taken; if none fits, the search goes on with the less specific names.

Traps
- "*.shop.example" stands for all that is below, at any depth, and not for shop.example itself. (Certificates differ:
  there it stands for one label, RFC 6125 section 6.4.3.)
- With Encrypted Client Hello the name is the client-facing server's. GREASE looks the same: a route with `ech = true`
  also gets clients that merely pretend.
- ALPN lists what a client offers. What is spoken in the end is decided by the backend, out of our sight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from lbcore.wire.tls_hello import ClientHello


class Rule(Protocol):
    """See `options.Route`."""

    @property
    def pool(self) -> str: ...
    @property
    def names(self) -> Iterable[str]: ...
    @property
    def alpn(self) -> Iterable[str]: ...
    @property
    def ech(self) -> bool | None: ...


class Router:
    """Routes by name; `default` for what none takes."""

    def __init__(self, routes: Iterable[Rule], default: str) -> None:
        self._default = default
        self._by_name: dict[str, list[Rule]] = {}
        for route in routes:
            for name in tuple(route.names) or ("",):
                self._by_name.setdefault(name, []).append(route)

    def pool(self, hello: ClientHello | None) -> str:
        """The name of the pool; without a hello, the default."""
        if hello is None:
            return self._default
        for name in patterns(hello.server_name):
            for route in self._by_name.get(name, ()):
                if fits(route, hello):
                    return route.pool
        return self._default


def patterns(name: str | None) -> Iterator[str]:
    """What a name is looked up as, the most specific first: "a.b.c", "*.b.c", "*.c", ""."""
    if name:
        yield name
        while name:
            _, _, name = name.partition(".")
            if name:
                yield f"*.{name}"
    yield ""


def fits(route: Rule, hello: ClientHello) -> bool:
    """Whether the hello has what the route asks besides the name."""
    wanted = tuple(route.alpn)
    return (not wanted or any(name in hello.alpn for name in wanted)) and route.ech in (None, hello.ech)
