"""What a pool is told wrongly is named: field, value, what would have been right."""

from __future__ import annotations

import re

import msgspec
import pytest

from lbcore.l7.pools.options import (
    BackendOptions,
    BreakerOptions,
    GrpcProbeOptions,
    HashOptions,
    HealthOptions,
    HedgeOptions,
    HttpProbeOptions,
    OutlierOptions,
    PoolOptions,
    RetryOptions,
    SlowStartOptions,
    StickyCookieOptions,
    StickyHeaderOptions,
    StickySourceOptions,
    TimeoutsOptions,
)
from tests.l7.pools.stage import options

KEY = "k" * 32


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TimeoutsOptions(connect=0), "connect is 0: it must be seconds, over 0"),
        (lambda: TimeoutsOptions(life=float("nan")), "life is nan"),
        (lambda: HashOptions(on="header"), "name is '': it must be the name of the header"),
        (lambda: HashOptions(on="cookie", name="a b"), "name is 'a b'"),
        (lambda: HashOptions(on="path", name="a"), "name is 'a': it must be left out"),
        (lambda: HashOptions(on="query"), "name is ''"),
        (lambda: HashOptions(seed=-1), "seed is -1"),
        (lambda: StickyCookieOptions(name="a=b"), "name is 'a=b'"),
        (lambda: StickyCookieOptions(path="x"), "path is 'x'"),
        (lambda: StickyCookieOptions(path="/; Secure"), "path is '/; Secure'"),
        (lambda: StickyCookieOptions(path="/\r\nx: y"), "path is "),
        (lambda: StickyCookieOptions(domain="a;b"), "domain is 'a;b'"),
        (lambda: StickyCookieOptions(max_age=-1), "max_age is -1"),
        (lambda: StickyCookieOptions(keys=(KEY,), keys_file="x"), "keys_file is 'x': it must be left out"),
        (lambda: StickyCookieOptions(same_site="None"), "secure is None: it must be true"),
        (lambda: StickyCookieOptions(name="__Host-lb"), "secure is None: it must be true"),
        (lambda: StickyCookieOptions(name="__Host-lb", secure=True, path="/a"), "path is '/a': it must be /"),
        (lambda: StickyCookieOptions(name="__Secure-lb", secure=False), "secure is False"),
        (lambda: StickyHeaderOptions(name=""), "name is ''"),
        (lambda: StickyHeaderOptions(name="a", entries=0), "entries is 0"),
        (lambda: StickySourceOptions(idle=0), "idle is 0"),
        (lambda: HttpProbeOptions(path="up"), "path is 'up'"),
        (lambda: HttpProbeOptions(path="/a b"), "path is '/a b'"),
        (lambda: HttpProbeOptions(host="a\r\nb"), "host is "),
        (lambda: HttpProbeOptions(headers={"Host": "x"}), "headers is 'Host': it must be no field that the check"),
        (lambda: HttpProbeOptions(headers={"a": "b\r\nc: d"}), "headers.a is "),
        (lambda: HttpProbeOptions(statuses=()), "statuses is ()"),
        (lambda: HttpProbeOptions(statuses=((300, 200),)), "statuses is (300, 200)"),
        (lambda: HttpProbeOptions(statuses=(99,)), "statuses is 99"),
        (lambda: HttpProbeOptions(body="a", method="HEAD"), "body is 'a': it must be left out with HEAD"),
        (lambda: GrpcProbeOptions(authority="a b"), "authority is 'a b'"),
        (lambda: HealthOptions(interval=0), "interval is 0"),
        (lambda: HealthOptions(rise=0), "rise is 0"),
        (lambda: HealthOptions(jitter=1), "jitter is 1"),
        (lambda: HealthOptions(timeout=0), "timeout is 0"),
        (lambda: OutlierOptions(rate=2), "rate is 2: it must be a share from 0 to 1"),
        (lambda: OutlierOptions(ejection=400), "longest is 300.0: it must be 400 or more"),
        (lambda: OutlierOptions(statuses=(42,)), "statuses is 42"),
        (lambda: SlowStartOptions(least=0), "least is 0"),
        (lambda: BreakerOptions(trials=0), "trials is 0"),
        (lambda: BreakerOptions(active=-1), "active is -1"),
        (lambda: RetryOptions(attempts=0), "attempts is 0"),
        (lambda: RetryOptions(statuses=(404,)), "statuses is 404: it must be a status from 500 to 599"),
        (lambda: RetryOptions(budget=1.5), "budget is 1.5"),
        (lambda: RetryOptions(per_second=float("inf")), "per_second is inf"),
        (lambda: HedgeOptions(delay=0), "delay is 0"),
        (lambda: BackendOptions(address="localhost:80"), "address is 'localhost:80'"),
        (lambda: BackendOptions(address="10.0.0.1:0"), "address is '10.0.0.1:0'"),
        (lambda: BackendOptions(address="10.0.0.1:80", weight=-1), "weight is -1"),
        (lambda: options(name=""), "name is ''"),
        (lambda: options(hedge=HedgeOptions(delay=1), sticky=StickyCookieOptions()), "hedge is HedgeOptions(delay=1)"),
        (lambda: PoolOptions(name="web", backends=()), "backends is ()"),
        (lambda: PoolOptions(name="web", backends=options(1).backends * 2), "an address that is there once"),
        (lambda: options(picker="best"), "picker is 'best': it must be one of round_robin"),
        (lambda: options(hash=HashOptions()), "it must be left out: round_robin looks at no key"),
        (lambda: options(slow_start=SlowStartOptions()), "it must be left out, or picker smooth_weighted"),
        (lambda: options(1, weights=[2.0]), "weight is 2.0: it must be 1 (or 0): round_robin knows no weights"),
        (lambda: options(1, weights=[2.0], picker="jump"), "weight is 2.0: it must be 1 (or 0): jump"),
        (lambda: options(panic=50), "panic is 50"),
        (lambda: options(drain=-1), "drain is -1"),
    ],
)
def test_what_cannot_be_is_told_in_words(make, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        make()


def test_a_short_key_is_refused_and_not_shown():
    with pytest.raises(ValueError, match=r"keys\[1\] has 6 bytes: it must have 32") as caught:
        StickyCookieOptions(keys=(KEY, "secret"))
    assert "secret" not in str(caught.value).removeprefix("keys[1] has 6 bytes")


def test_it_reads_from_a_configuration():
    told = msgspec.convert(
        {
            "name": "web",
            "backends": [{"address": "10.0.0.1:80"}, {"address": "[::1]:80", "weight": 2}],
            "picker": "ring",
            "hash": {"on": "cookie", "name": "id"},
            "health": {"probe": {"kind": "http", "path": "/up", "statuses": [200, [300, 399]]}, "interval": 1},
            "sticky": {"kind": "cookie", "keys": [KEY], "same_site": "Strict"},
            "outlier": {},
            "breaker": {"failures": 3},
            "retry": {"attempts": 3},
            "slow_start": {},
        },
        PoolOptions,
    )
    assert told.backends[1] == BackendOptions(address="[::1]:80", weight=2)
    assert told.health.probe == HttpProbeOptions(path="/up", statuses=(200, (300, 399)))
    assert told.sticky == StickyCookieOptions(keys=(KEY,), same_site="Strict")
    assert told.breaker == BreakerOptions(failures=3)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"sticky": {"kind": "magic"}}, "Invalid value 'magic' - at `$.sticky.kind`"),
        ({"health": {"intervall": 1}}, "unknown field `intervall` - at `$.health`"),
        ({"health": {"interval": -1}}, "interval is -1.0: it must be seconds, over 0 - at `$.health`"),
    ],
)
def test_a_fault_comes_with_its_place(told, words):
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"name": "web", "backends": [{"address": "10.0.0.1:80"}], **told}, PoolOptions)
    assert words in str(caught.value)
