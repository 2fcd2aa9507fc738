"""Handshakes in memory, and doors for TLS: what is resumed, who waits, who can read, and that prices have the order."""

import asyncio
import ssl

import pytest

from lbcore.sim.round_trips import SETUPS
from lbcore.testbed import aside, tls_doors, tls_memory
from lbcore.testbed.smallest import listening
from lbcore.testbed.tls_memory import KEYS, VERSIONS, WAYS, Identity, Way, handshake


@pytest.fixture(scope="module")
def site():
    return Identity()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("key", KEYS)
def test_a_ticket_opens_at_the_context_that_sealed_it_and_at_no_other(key, version):
    site = Identity(key)
    server, other, client = site.server(version), site.server(version), site.client(version)
    first = handshake(server, client)
    assert not first.resumed
    assert handshake(server, client, first.session).resumed
    assert not handshake(other, client, first.session).resumed


def test_waits_are_the_round_trips_of_the_model(site):
    waits = tls_memory.count_waits(site)
    for version in VERSIONS:
        assert waits[version, False] == SETUPS[version].tls
    assert waits["TLS 1.2", True] == SETUPS["TLS 1.2 resumed"].tls
    assert waits["TLS 1.3", True] == SETUPS["TLS 1.3"].tls


def test_a_client_of_another_authority_does_not_finish(site):
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(site.server(), Identity().client())


def test_every_kind_is_measured_and_both_ends_spend_time():
    found = tls_memory.measure_handshakes(3)
    server, client = tls_memory.microseconds(found)
    assert set(found) == set(server) == set(client) == set(WAYS)
    assert all(len(some) == 3 and all(one.resumed == way.resumed for one in some) for way, some in found.items())
    assert min(*server.values(), *client.values()) > 0
    assert server[Way("RSA-2048", "TLS 1.2", False)] > server[Way("RSA-2048", "TLS 1.2", True)]


def test_bytes_cost_something_and_less_than_a_microsecond():
    assert all(0 < nanoseconds < 1000 for nanoseconds in tls_memory.bulk(1 << 20))


@pytest.mark.parametrize(("make", "said"), [
    (lambda: Identity("DSA"), "kind is 'DSA', wanted one of: RSA-2048, P-256"),
    (lambda: Identity().server("SSL 3"), "version is 'SSL 3', wanted one of: TLS 1.2, TLS 1.3"),
])  # fmt: skip
def test_what_there_is_not_is_named(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_only_who_ends_tls_can_read():
    heard = {mode: aside.run(tls_doors.overhear(mode, b"a secret")) for mode in tls_doors.LEGS}
    assert {answer for answer, _ in heard.values()} == {b"A SECRET"}
    assert [read for _, read in heard.values()] == [True, True, True, False]


def test_a_far_door_delays_each_trip_and_changes_nothing(site):
    async def scene():
        async with listening(tls_doors.greet) as near, listening(tls_doors.far(near, 0.02)) as door:
            return [await asyncio.to_thread(tls_doors.call, place, None) for place in (near, door)]

    near, distant = aside.run(scene())
    assert near.answer == distant.answer == b"HELLO\n"
    assert distant.seconds >= 0.04


def test_coming_back_is_resumed_from_the_second_time_on(site):
    async def scene():
        async with listening(tls_doors.greet, site.server()) as door:
            return await tls_doors.come_back(door, site.client(), 3)

    assert aside.run(scene()) == [False, True, True, True]
