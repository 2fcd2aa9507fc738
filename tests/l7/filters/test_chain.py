"""Filters as layers of an onion: who is asked, told, and told of the end, whatever hooks they have."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.engine.proxy import Proxy
from lbcore.l7.filters.chain import Chain
from lbcore.l7.filters.filter import Filter
from lbcore.l7.message import Headers, Peer, Request, text
from lbcore.l7.routing.router import Route, Router

hooks = st.fixed_dictionaries(
    {},
    optional={
        "on_request": st.sampled_from(["pass", "pass", "wait", "answer", "wait and answer", "raise"]),
        "on_response": st.sampled_from(["pass", "wait", "raise"]),
        "on_end": st.sampled_from(["pass", "raise"]),
    },
)


def made(number, does, heard):
    """A filter with these hooks and no others."""

    def hook(name, what):
        async def later():
            await asyncio.sleep(0)
            return text(401, "no") if what == "wait and answer" else None

        def act(self, *arguments):
            heard.append((name, number))
            if what == "raise":
                raise RuntimeError(name)
            if what.startswith("wait"):
                return later()
            return text(401, "no") if what == "answer" else None

        return act

    return type("Some", (Filter,), {name: hook(name, what) for name, what in does.items()})()


def wanted(chain):
    """What the contract in `filter` says."""
    passed, said = 0, []
    for number, does in enumerate(chain):
        passed = number + 1
        if "on_request" in does:
            said.append(("on_request", number))
            if "answer" in does["on_request"] or does["on_request"] == "raise":
                break
    said += [("on_response", number) for number in reversed(range(passed)) if "on_response" in chain[number]]
    return said + [("on_end", number) for number in range(passed) if "on_end" in chain[number]]


class Client:
    """Hears the end of the response."""

    writable = True

    def __init__(self):
        self.over = asyncio.Event()

    def send_end(self, trailers):
        self.over.set()

    def nothing(self, *arguments):
        pass

    informational = send_head = send_data = abort = pause_request = resume_request = flush = nothing


@given(st.lists(hooks, max_size=5))
def test_every_hook_is_called_as_the_contract_says(chain):
    heard = []
    filters = tuple(made(number, does, heard) for number, does in enumerate(chain))

    async def run():
        proxy = Proxy(Router([Route("all", lambda request: True, lambda request: None, filters)]))
        proxy.broken = lambda who, error: None
        client = Client()
        request = Request(b"GET", b"/", b"h", b"http", Headers(), Peer("192.0.2.1", 1))
        proxy.exchange(client, request).begin()
        await asyncio.wait_for(client.over.wait(), 10)

    asyncio.run(run())
    assert heard == wanted(chain)


def test_hooks_that_are_not_overwritten_are_not_called():
    chain = Chain([Filter(), made(1, {"on_end": "pass"}, []), Filter()])
    assert (chain.requests, chain.responses, [place for place, _ in chain.ends]) == ((), (), [2])
