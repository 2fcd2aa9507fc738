"""What every test of the book shares: ways to be skipped, and no stopwatch on hypothesis."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester", "tests.needs"]

# A first call compiles with numba, and the machine is shared: how long an example takes says nothing about it.
settings.register_profile("book", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("book")
