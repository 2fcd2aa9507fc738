"""Direct server return on real hosts: what is asserted is what the chapter says."""

from __future__ import annotations

from lbcore.testbed import direct
from tests import needs

pytestmark = needs.tier(1)


def test_without_arp_ignore_every_backend_claims_the_address():
    assert direct.who_answers() == {"arp_ignore = 1": [1.0, 0.0, 0.0], "arp_ignore = 0": [1.0, 1.0, 1.0]}


def test_a_backend_needs_the_address_and_the_clients_port():
    outcomes = dict(key.split("\n") for key in direct.backends_say())
    assert list(outcomes.values()) == ["an answer", "refused", "silence"]
    assert direct.backends_say()[f"{next(iter(outcomes))}\nan answer"] == [1.0]
