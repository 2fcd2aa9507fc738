"""The walk through a balancer: what each mode promises of the packet, at every place."""

from __future__ import annotations

import pytest

from lbcore.l4 import flags
from lbcore.l4.forwarder import Forwarder, batch
from lbcore.l4.reasons import Reason
from lbcore.l4.walk import (
    BALANCER,
    CLIENT,
    VIP,
    Site,
    arriving,
    ends,
    from_client,
    icmp_too_big,
    next_hop,
    opened,
    outer_ends,
    received,
    routed,
)
from lbcore.sim.exchange import exchange, totals
from lbcore.wire.difference import changes, labelled
from lbcore.wire.dissect import dissect
from lbcore.wire.summary import summary

MODES = pytest.mark.parametrize("mode", flags.NAMES)
TUNNELS = ("ipip", "gre", "gue")


def at(stops, name):
    return next(stop.frame for stop in stops if stop.name == name)


@MODES
def test_no_checksum_is_ever_wrong_and_the_client_sees_the_address_it_asked(mode):
    stops = Site(mode).walk()
    for stop in stops:
        for layer in dissect(stop.frame):
            assert not layer.note, (stop.name, layer)
            assert all("wrong" not in field.text for field in layer.fields), (stop.name, layer)
    assert ends(at(stops, "client, in")) == (f"{VIP}:80", f"{CLIENT}:40000")


@MODES
def test_who_sees_the_clients_address(mode):
    site = Site(mode, backend_port=8080)
    stops = site.walk()
    source, destination = ends(received(stops))
    assert (source == f"{CLIENT}:40000") == (mode != "full_nat")
    assert destination.endswith(":8080") == (mode in ("nat", "full_nat"))
    assert destination.startswith(VIP) == (mode not in ("nat", "full_nat"))
    assert next_hop(at(stops, "backend, out")) == ("balancer" if mode in ("nat", "full_nat") else "router")
    assert sum(stop.name == "balancer, in" for stop in stops) == 1 + (mode in ("nat", "full_nat"))


@pytest.mark.parametrize("mode", ["dsr", *TUNNELS])
def test_the_packet_inside_is_untouched(mode):
    stops = Site(mode).walk()
    arrived, left = at(stops, "balancer, in"), at(stops, "balancer, out")
    assert left.endswith(arrived[14:])
    assert {change.layer for change in changes(arrived, left)} <= {"ethernet", "outer ipv4", "outer udp", "gre"}
    if mode in TUNNELS:
        assert at(stops, "backend, opened")[12:] == arrived[12:]


@pytest.mark.parametrize(("mode", "over4", "over6"), [("ipip", 20, 40), ("gre", 24, 44), ("gue", 28, 48)])
def test_what_tunnels_add(mode, over4, over6):
    frame = routed(from_client(payload=bytes(100)), "", "")
    for six, added in ((False, over4), (True, over6)):
        _, out = Site(mode, far6=six).forward(frame)
        assert len(out) - len(frame) == added
        assert opened(out)[14:] == frame[14:]
        assert all("wrong" not in field.text for layer in labelled(out) for field in layer.fields)


@MODES
@pytest.mark.parametrize(("request_size", "response"), [(500, 300), (700, 30_000), (20_000, 300)])
def test_a_conversation_carried_is_what_the_model_counts(mode, request_size, response):
    site, t = Site(mode), totals(request_size, response)
    packets, size = site.carry(exchange(request_size, response))
    back = mode in ("nat", "full_nat")
    assert packets == t.packets_in + back * t.packets_out
    added = {"ipip": 20, "gre": 24, "gue": 28}.get(mode, 0)
    assert size == t.bytes_in + back * t.bytes_out + added * t.packets_in


@MODES
def test_the_compiled_forwarder_walks_alike(mode):
    plain, other = Site(mode), Site(mode)
    compiled = Forwarder(other.balancer)
    for port in range(40000, 40016):
        frame = routed(from_client(port=port, payload=bytes(port % 97)), "", "")
        frames, lengths = batch([frame])
        _, starts, lengths = compiled.process(frames, lengths, now=1)
        assert plain.forward(frame)[1] == frames[0, starts[0] : starts[0] + lengths[0]].tobytes()


@MODES
def test_errors_go_where_their_flow_goes(mode):
    site = Site(mode, backend_port=8080)
    for port in range(40000, 40032):
        _, sent = site.forward(arriving(port=port))
        reason, error = site.forward(icmp_too_big(port=port))
        assert reason == Reason.FORWARDED
        assert next_hop(error) == next_hop(sent)
        assert outer_ends(error)[:2] == outer_ends(sent)[:2]
        assert all("wrong" not in field.text for layer in labelled(error) for field in layer.fields)


def test_full_nat_lends_an_address_and_refuses_what_it_never_sent():
    site = Site("full_nat")
    stops = site.walk()
    assert ends(at(stops, "backend, in"))[0].startswith(BALANCER)
    with pytest.raises(ValueError, match="wanted reply"):
        site._forwarded(Site("full_nat").answer(routed(from_client(), "", "")), 1)
    assert "TCP" in summary(stops[0].frame)
