"""TLS in a proxy and behind it, ciphers in a child, and their drawings."""

import os
import platform

import pytest

from lbcore import show
from lbcore.measure import crypto_speed, tls_placement
from lbcore.measure.tls_placement import MODES, PASSED, Cost, Load, measure
from lbcore.show import tls_costs
from lbcore.sim.tls_bill import Prices
from lbcore.testbed.tls_memory import WAYS, Identity

PRICES = {"RSA-2048": Prices(500, 200, 0.001), "P-256": Prices(280, 200, 0.001)}


def test_every_mode_answers_and_the_backend_pays_for_tls_where_it_ends_there():
    costs = measure([Load(12, 1, 100), Load(1, 3, 300_000)], rounds=1)
    assert list(costs) == list(MODES)
    assert all(one.proxy > 0 and one.backend > 0 for each in costs.values() for one in each)
    assert costs[PASSED][0].backend > costs["terminate"][0].backend
    assert costs["re-encrypt, no reuse"][0].backend > costs["re-encrypt"][0].backend


def test_resumption_reaches_the_end_that_makes_the_handshake():
    with tls_placement.stage(Identity("RSA-2048")) as cost:
        full, again = (cost("terminate", Load(20, 1, 100, resume)).proxy for resume in (False, True))
    assert again < full


def test_a_process_that_cannot_start_is_told():
    with tls_placement.process("nobody", "") as one, pytest.raises(OSError, match="nobody's process ended"):
        one.ports()


def test_the_mask_reaches_the_child_alone():
    before = dict(os.environ)
    plain, masked = crypto_speed.speeds(False), crypto_speed.speeds(True)
    assert dict(os.environ) == before
    assert list(plain.samples) == list(masked.samples)
    here = platform.machine() in ("x86_64", "AMD64") and plain.ns(crypto_speed.AES) < plain.ns(crypto_speed.CHACHA)
    assert not here or masked.ns(crypto_speed.AES) > 3 * plain.ns(crypto_speed.AES)
    assert masked.ns(crypto_speed.RSA) < 3 * plain.ns(crypto_speed.RSA)


def test_drawings_are_finished():
    server = dict.fromkeys(WAYS, 100.0)
    costs = {mode: [Cost(1, 2), Cost(3000, 4)] for mode in MODES}
    for picture in (
        tls_costs.handshake_bars(server),
        tls_costs.per_request(server),
        tls_costs.masked({"AES": 20.0, "RSA": 1.0}),
        tls_costs.distance(),
        tls_costs.beyond(),
        tls_costs.places(costs, ["small", "large"]),
        tls_costs.bill_of(PRICES, "P-256", 1, 1000, 0),
    ):
        assert picture.png.startswith(b"\x89PNG")
        assert picture.alt
    assert len(tls_costs.handshake_table(server, server, "").rows) == len(WAYS)


def test_the_bills_title_names_its_largest_part():
    few, many = (tls_costs.bill_of(PRICES, "P-256", 1, size, 0).alt for size in (1000, 10**7))
    assert "full handshakes 280" in few
    assert "encryption 10000" in many


def test_bars_of_different_parts_are_refused():
    with pytest.raises(ValueError, match="wanted the same in all"):
        show.parts({"": {"a": {"x": 1}, "b": {"y": 1}}}, x_label="x", y_label="y", title="t", alt="a")
