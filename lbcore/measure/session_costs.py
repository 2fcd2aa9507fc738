"""What a request pays to find its session: where it lies decides.

Rule of this file: it asks stores and checks tokens, in rounds that take turns; what the figures mean is the reader's
affair. `python -m lbcore.measure.session_costs` records the one that not every machine can measure, Redis.

Theory. A store outside of the server costs the server two things: CPU time, and waiting for the answer. So both are
measured, by two clocks. A signed token is asked for nothing and waits for nobody: it costs CPU time alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from shutil import which
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lbcore.measure.clock import Comparison, compare
from lbcore.measure.recorded import Result, load, record
from lbcore.testbed.session_stores import Memory, Redis, Sqlite, redis_server

CLOCKS = {"CPU": time.process_time_ns, "waiting": time.perf_counter_ns}
RECORDING = "session-store-redis"
SESSION = "5" * 32
Work = Callable[[], object]


@contextmanager
def stores(with_redis: bool) -> Iterator[dict[str, Work]]:
    """One more item in a cart, by store."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        table = Sqlite(Path(folder) / "sessions.sqlite")
        stack.callback(table.close)
        made: dict[str, Callable[[str], int]] = {"memory": Memory().add, "SQLite": table.add}
        if with_redis:
            server = Redis(stack.enter_context(redis_server()))
            stack.callback(server.close)
            made["Redis"] = server.add
        yield {name: partial(add, SESSION) for name, add in made.items()}


def compare_stores(clock: str, with_redis: bool = False) -> Comparison:
    """One more item in a cart, in each store. clock: "CPU" of this process, or "waiting": all that goes by."""
    with stores(with_redis) as work:
        return compare(work, rounds=7, min_seconds=0.01, clock=CLOCKS[clock])


def redis_costs() -> Result:
    """Nanoseconds for one more item by Redis and by memory, "CPU" and "waiting": live where there is a redis-server,
    recorded elsewhere."""
    if which("redis-server") is None:
        kept = load(RECORDING)
        return Result(kept.samples, live=False, label=kept.label)
    return Result(measured(), live=True, label="measured on this machine, just now")


def measured() -> dict[str, list[float]]:
    """The samples of `redis_costs`, by store and clock."""
    runs = {clock: compare_stores(clock, with_redis=True) for clock in CLOCKS}
    return {f"{name}, {clock}": list(runs[clock].samples[name]) for clock in CLOCKS for name in ("memory", "Redis")}


class Prices(dict[str, list[float]]):
    """Of each store: how many times dearer than a dictionary in memory one more item is, in CPU and in time.

    label: where the figures for Redis come from.
    """

    label = ""


def prices() -> Prices:
    """Both stores next to the server's own memory."""
    found, remote = Prices(), redis_costs()
    found.label = remote.label
    found["SQLite"] = [compare_stores(clock).ratio("SQLite") for clock in CLOCKS]
    typical = {name: median(values) for name, values in remote.samples.items()}
    found["Redis"] = [typical[f"Redis, {clock}"] / typical[f"memory, {clock}"] for clock in CLOCKS]
    return found


CLAIMS = {"sub": "customer-4711", "exp": 4102444800, "iat": 1767225600, "jti": "0" * 32, "role": "customer"}


def tokens() -> dict[str, tuple[str, Any]]:
    """A token with the same claims by algorithm, and the key to check it: {"HS256": (token, key)}."""
    secret, rsa_key, ec_key = "k" * 32, rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
    return {
        "HS256": (jwt.encode(CLAIMS, secret, "HS256"), secret),
        "ES256": (jwt.encode(CLAIMS, ec_key, "ES256"), ec_key.public_key()),
        "RS256": (jwt.encode(CLAIMS, rsa_key, "RS256"), rsa_key.public_key()),
    }


def compare_tokens() -> Comparison:
    """CPU time to check a token, beside that of a look into the server's memory."""
    with stores(with_redis=False) as work:
        checks: dict[str, Work] = {"memory": work["memory"]}
        for name, (token, key) in tokens().items():
            checks[name] = partial(jwt.decode, token, key, [name])
        return compare(checks, rounds=7, min_seconds=0.01)


if __name__ == "__main__":
    print(record(RECORDING, measured(), "python -m lbcore.measure.session_costs"))
