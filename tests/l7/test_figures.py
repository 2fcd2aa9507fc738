"""What Prometheus is told of a proxy that has worked; its own reader and its rules for names are second opinions."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from lbcore.l7.program import figures
from lbcore.l7.program.service import Service
from tests.l7.live import get, say, together
from tests.l7.test_pools_in_force import CHECKS, Server, in_force, until
from tests.l7.test_service import port_of

FILTERS = """[[route.filter]]
kind = "metrics"
[[route.filter]]
kind = "rate_limit"
policy = "few"
rate = 0.001
burst = 7
[[route.filter]]
kind = "waf"
[[route.filter]]
kind = "cache"
name = "shelf"
"""
MORE = """[pool.outlier]
consecutive = 2
[pool.breaker]
failures = 3
pool_active = 5
pending = 5
"""
UNIT = re.compile(r"_(?:seconds|bytes|total|entries|up|active|waiting|panic|weight|in_flight|clients)$")


def told(service: Service) -> dict[tuple[str, ...], float]:
    """Every sample, by its name and its labels in the order of their names."""
    text = figures.text(service).decode()
    lines = text.splitlines()
    helps = [line.split()[2] for line in lines if line.startswith("# HELP ")]
    assert len(set(helps)) == len(helps)  # a family comes once, and in one piece
    values: dict[tuple[str, ...], float] = {}
    for one in text_string_to_metric_families(text):
        assert one.documentation
        assert one.type in ("counter", "gauge", "histogram"), one
        assert re.fullmatch(r"lbcore_[a-z_]*[a-z]", one.name)
        for sample in one.samples:
            assert (one.type == "counter") == sample.name.endswith("_total")
            if one.type != "histogram":
                assert UNIT.search(sample.name), sample.name
            key = (sample.name, *(value for _, value in sorted(sample.labels.items())))
            assert key not in values
            values[key] = sample.value
    return values


def test_everything_is_told_and_agrees(tmp_path: Path) -> None:
    one, two = Server("one"), Server("two")

    async def test() -> None:
        listen = "[[listen]]\nport = 0\n"
        async with in_force(tmp_path, f"{MORE}{CHECKS}", one, two, listen=listen) as (service, file):
            file.write_text(file.read_text().replace("[[pool]]", f"{FILTERS}[[pool]]", 1))
            assert await service.reload() == ""
            await until(lambda: one.checks > 0 and two.checks > 0)
            for number in range(4):
                assert b" 200 " in await say(port_of(service), get(f"/{number}"))
            assert b" 403 " in await say(port_of(service), get("/?q=%3Cscript%3Ealert(1)%3C/script%3E"))
            two.status = one.status = 503
            said = [await say(port_of(service), get(f"/bad{number}")) for number in range(3)]
            assert [b" 503 " in answer for answer in said] == [True, True, False]  # the last one is over the limit
            assert b" 429 " in said[2]
            before = told(service)
            assert before["lbcore_waf_findings_total", "script-injection"] == 1
            assert before["lbcore_rate_limit_requests_total", "passed", "few"] == 7
            assert before["lbcore_rate_limit_requests_total", "refused", "few"] == 1
            assert before["lbcore_cache_events_total", "shelf", "asked"] == 6
            assert before["lbcore_pool_requests_total", "web"] == 6
            assert before["lbcore_pool_retries_total", "granted", "web"] == 2
            names = [f"127.0.0.1:{each.port}" for each in (one, two)]
            total = {name: before["lbcore_backend_attempts_total", name, "web"] for name in names}
            assert total == {names[0]: one.asked, names[1]: two.asked}
            assert sum(before["lbcore_backend_attempts_total", name, "web"] for name in names) == 8
            assert all(before["lbcore_backend_checks_total", name, "web"] > 0 for name in names)
            assert all(before["lbcore_backend_latency_seconds", name, "web"] > 0 for name in names)
            assert sum(before["lbcore_backend_ejections_total", name, "web"] for name in names) == 1
            assert before["lbcore_reloads_total",] == 1

            assert await service.reload() == ""
            after = told(service)
            fallen = {key for key, value in before.items() if "_total" in key[0] and after[key] < value}
            assert fallen == set()  # what is counted goes on where it was
            assert b" 429 " in await say(port_of(service), get("/again"))  # and so do the buckets
            file.write_text(file.read_text().replace("burst = 7", "burst = 9"))
            assert await service.reload() == ""
            assert b" 429 " not in await say(port_of(service), get("/again"))  # others are others

    together(test)


def test_names_in_a_file_may_hold_anything(tmp_path: Path) -> None:
    one = Server("one")

    async def test() -> None:
        async with in_force(tmp_path, "", one) as (service, file):
            file.write_text(file.read_text().replace('"web"', '"we\\"b\\\\x\\n{}=,"'))
            assert await service.reload() == ""
            await say(port_of(service), get())
            assert told(service)["lbcore_pool_requests_total", 'we"b\\x\n{}=,'] == 1

    together(test)
