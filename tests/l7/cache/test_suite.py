"""The suite by which HTTP caches are compared (http-cache-tests 0.4.5 on npm), against a proxy with our cache.

Its `required` tests are passed but for those listed, each with the reason; of its `optimal` ones the missing are listed
too. What is neither (`check`) only tells caches apart. A listed test that passes is a failure: then the list is wrong.

Version 0.4.5 is older than RFC 9111, which says of Age (5.1): of a list take the first, ignore what is no number. The
suite wants such responses to be stale, as nobody had said before; its later versions want what RFC 9111 says.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lbcore.l7.cache.options import CacheOptions
from lbcore.l7.filters.cache import Cache
from lbcore.testbed.ports import free_ports
from tests import needs
from tests.l7.live import proxying, together

pytestmark = [needs.command("npm"), needs.command("node"), needs.linux()]

HERE = Path(__file__).parent / "suite"
PACKAGE = "http-cache-tests@0.4.5"
AGE = "RFC 9111, 5.1: of a list the first counts, what is no number is ignored"
SENT_ON = (
    "the suite's origin breaks the connection, and the suite wants no answer without its origin's fields: ours is 502"
)
NOT_PASSED = {
    **dict.fromkeys(
        [
            "age-parse-nonnumeric", "age-parse-negative", "age-parse-float", "age-parse-prefix-twoline",
            "age-parse-dup-0", "age-parse-dup-0-twoline", "age-parse-dup-old", "age-parse-parameter",
            "age-parse-numeric-parameter",
        ],
        AGE,
    ),
    **dict.fromkeys(
        [f"stale-close-{rule}" for rule in ("must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=2")],
        SENT_ON,
    ),
    "headers-store-Transfer-Encoding": "a Transfer-Encoding that is none: the engine refuses the response",
    "304-etag-update-response-ETag": "4.3.4: a 304 with another ETag speaks of another response; we ask again",
    # optimal
    "method-POST": "answers to POST are not stored",
    "vary-normalise-lang-select": "which language fits best is the backend's choice",
    "vary-normalise-space": "blanks may mean something in a field that we do not know",
    "conditional-lm-fresh-no-lm": "9110, 13.1.3: it was made after the date asked about",
    **dict.fromkeys(
        [
            "partial-store-partial-reuse-partial", "partial-store-partial-reuse-partial-byterange",
            "partial-store-partial-reuse-partial-absent", "partial-store-partial-reuse-partial-suffix",
            "partial-store-partial-complete",
        ],
        "pieces of a response are not stored",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it is installed."""
    folder = tmp_path_factory.mktemp("suite")
    quiet = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=optional"]
    done = subprocess.run(
        ["npm", "install", *quiet, PACKAGE], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "node_modules" / "http-cache-tests"


def test_the_suite(suite: Path) -> None:
    judged = together(lambda: judge(suite))
    assert len(judged) > 300
    failed = {name: why for name, (kind, sign, why) in judged.items() if kind != "check" and sign != "✅"}
    assert failed.keys() - NOT_PASSED.keys() == set(), failed
    assert NOT_PASSED.keys() - failed.keys() == set(), "these pass now"


async def judge(suite: Path) -> dict[str, tuple[str, str, str]]:
    (port,) = free_ports(1)
    node = shutil.which("node")
    assert node
    said = {"npm_config_protocol": "http", "npm_config_port": str(port), "npm_config_pidfile": str(suite / "pid")}
    origin = subprocess.Popen(
        [node, "--require", str(HERE / "loopback.cjs"), "server/server.mjs"],
        cwd=suite, env={**os.environ, **said}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert origin.stdout
    cache = Cache(CacheOptions(set_cookie="store"))  # the suite looks whether Set-Cookie is stored
    try:
        assert (await asyncio.to_thread(origin.stdout.readline)).startswith("Listening")
        async with proxying(port, filters=(cache,)) as (_, front):
            client = await asyncio.create_subprocess_exec(
                node, "--no-warnings", str(HERE / "run.mjs"), str(suite), f"http://127.0.0.1:{front}",
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            try:
                out, errors = await asyncio.wait_for(client.communicate(), 120)
            finally:
                if client.returncode is None:
                    client.kill()
                    await client.wait()
        assert client.returncode == 0, errors.decode()
        return json.loads(out.splitlines()[-1])  # type: ignore[no-any-return]
    finally:
        cache.close()
        origin.kill()
        origin.wait()
        origin.stdout.close()
