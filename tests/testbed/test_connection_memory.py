"""Slopes in their order, and servers that do not stay behind."""

import resource
import subprocess

import pytest

from lbcore.testbed import connection_memory


def test_a_connection_costs_something_and_tls_costs_more():
    plain, tls = (connection_memory.memory_slope(kind) for kind in ("streams", "tls"))
    assert 500 < plain < tls / 3 < 1_000_000


def test_a_small_limit_on_files_is_raised_and_put_back():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        assert connection_memory.memory_slope("streams") > 500
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (256, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_server_ends_with_whoever_asked(monkeypatch):
    started = []
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(real(*a, **k)) or started[-1])
    monkeypatch.setattr(connection_memory, "connection", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        connection_memory.memory_slope("protocol")
    assert started[0].poll() is not None


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="kind is 'quic'"):
        connection_memory.memory_slope("quic")


def test_kernel_objects_are_read_or_left_out():
    sizes = connection_memory.kernel_objects("TCP", "no such cache")
    assert set(sizes) <= {"TCP"}
    assert all(500 < size < 10_000 for size in sizes.values())
