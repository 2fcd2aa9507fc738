"""What every test of the book shares: ways to be skipped, no stopwatch on hypothesis, and a Ctrl-C that is heard."""

import signal

from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester", "tests.needs"]

# A first call compiles with numba, and the machine is shared: how long an example takes says nothing about it.
settings.register_profile("book", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("book")

# What a shell starts in the background ignores Ctrl-C, and so does all that this starts. Tests interrupt themselves.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
