"""Lab 06: the specification is what the library's parser reads, and real clients reach their sites."""

import pytest

from lbcore.l4.relay import Route
from lbcore.l4.relay.router import Router
from lbcore.labs import sni
from lbcore.labs.sandbox import plain
from lbcore.labs.sni import choosing, naming, reading
from lbcore.measure.table import Table
from lbcore.testbed import tls_sites
from lbcore.wire import tls_hello
from lbcore.wire.errors import Incomplete, Malformed
from lbcore.wire.tls_compose import client_hello, records


def outcome(function, arguments):
    """An answer, or that there is none."""
    try:
        return plain(function(*arguments))
    except (ValueError, IndexError, UnicodeDecodeError):
        return "refused"


def read(data):
    """The library's name for a stream: a name, None for no name, "more" or "refused"."""
    try:
        return tls_hello.parse(data).server_name
    except Incomplete:
        return "more"
    except Malformed:
        return "refused"


@pytest.mark.parametrize("size", [7, 100, 2**14])
def test_the_specification_is_what_the_librarys_parser_reads(size):
    for seed in range(6):
        stream = records(client_hello("A.Shop.example", post_quantum=seed % 2, shuffled=True, seed=seed), size)
        for end in [*range(0, len(stream), 97), len(stream)]:
            said = outcome(reading.right_message, (stream[:end],))
            assert (said is None) == (read(stream[:end]) == "more")
            if said:
                assert naming.right_name(said) == read(stream) == "a.shop.example"


def test_real_hellos_are_read():
    for asked in ("shop.example", "X.example", None):
        stream = tls_sites.first_flight(asked)
        assert naming.right_name(reading.right_message(stream)) == read(stream) == (asked.lower() if asked else None)


def test_the_choice_is_the_relays():
    router = Router([Route(backend, [pattern]) for pattern, backend in choosing.ROUTES.items()], "default")
    for asked in ("shop.example", "a.shop.example", "b.a.eu.shop.example", "example", "x.test", None):
        for ech in (False, True):
            hello = tls_hello.parse(records(client_hello(asked, ech=ech)))
            assert router.pool(hello) == choosing.right_choice(asked, ech, choosing.ROUTES, "default")


def test_real_clients_reach_their_sites_through_a_right_answer_and_not_through_a_hasty_one():
    shown = sni.show_route(choosing.right_route)
    assert isinstance(shown, Table)
    assert [row[-1] for row in shown.rows] == [
        "shop.example", "shop.example", "shop.example", "pay.example", "default.example", "default.example",
    ]  # fmt: skip
    hasty = sni.show_route(choosing.hasty)
    assert [row[-1] for row in hasty.rows][1] == "default.example"


def test_a_router_that_never_decides_is_shown_once():
    shown = sni.show_route(lambda data, routes, default: None)
    assert [row[-1] for row in shown.rows] == ["(no connection)"]
