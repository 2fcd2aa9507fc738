"""Measuring: exact on a clock we hold in our hands, honest about what it cannot do."""

from __future__ import annotations

import gc
import json
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore import measure
from lbcore.measure import clock as clock_module
from lbcore.measure import recorded
from lbcore.testbed.capabilities import Machine


class Hands:
    """A clock that only moves when a callable moves it; `speed` is how slow the machine is just now."""

    def __init__(self) -> None:
        self.now, self.speed, self.calls = 0, 1, []

    def __call__(self) -> int:
        return self.now

    def work(self, name: str, cost: int, returns: object = None):
        def call():
            self.calls.append(name)
            self.now += cost * self.speed
            return returns

        return call


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 1000))
def test_costs_and_ratios_are_exact_on_an_exact_clock(a, b, operations):
    hands = Hands()
    c = measure.compare(
        {"a": hands.work("a", a * 1000), "b": hands.work("b", b * 1000)},
        rounds=3, min_seconds=1e-6, operations=operations, clock=hands,
    )  # fmt: skip
    assert c.ns("a") == pytest.approx(a * 1000 / operations)
    assert c.ratio("b") == pytest.approx(b / a)
    assert c.ratio("a", "b") == pytest.approx(a / b)
    assert c.spread("a") == pytest.approx((c.ns("a"), c.ns("a")))


def test_a_machine_that_slows_down_does_not_move_the_ratio():
    hands = Hands()
    one, three = hands.work("one", 1000), hands.work("three", 3000)

    def slowing():
        hands.speed = 1 + len(hands.calls) // 50
        return one()

    c = measure.compare({"one": slowing, "three": three}, rounds=9, min_seconds=2e-5, clock=hands)
    assert max(c.samples["one"]) > 2 * min(c.samples["one"])  # it did slow down
    assert c.ratio("three") == pytest.approx(3, rel=0.15)


def test_rounds_are_interleaved_in_alternating_order_and_samples_are_paired():
    hands = Hands()
    works = {name: hands.work(name, 10**6) for name in "abc"}
    c = measure.compare(works, rounds=4, min_seconds=1e-3, clock=hands)
    assert "".join(hands.calls[-12:]) == "abccbaabccba"
    assert {len(values) for values in c.samples.values()} == {4}


def test_the_first_call_is_not_measured():
    hands = Hands()
    state = {"compiled": False}

    def jitted():
        hands.now += 1000 if state["compiled"] else 10**9
        state["compiled"] = True

    assert measure.compare({"jitted": jitted}, rounds=3, min_seconds=1e-5, clock=hands).ns("jitted") == 1000


def test_callables_may_say_how_many_operations_they_did():
    hands = Hands()
    works = {"ten": hands.work("ten", 1000, returns=10), "one": hands.work("one", 1000, returns=1)}
    assert measure.compare(works, min_seconds=1e-6, operations="returned", clock=hands).ratio("one") == 10
    c = measure.compare(works, min_seconds=1e-6, operations={"ten": 5, "one": 1}, clock=hands)
    assert c.ns("ten") == 200


def test_on_the_real_clock_twice_the_work_costs_about_twice():
    works = {n: lambda n=n: sum(range(n)) for n in (2000, 4000)}
    c = measure.compare({f"{n}": work for n, work in works.items()}, min_seconds=0.005)
    assert 1.3 < c.ratio("4000") < 3
    assert c.ratio("2000") == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"callables": {}}, "callables"),
        ({"rounds": 2}, "rounds is 2"),
        ({"min_seconds": 0}, "min_seconds is 0"),
        ({"baseline": "b"}, "baseline is 'b'"),
        ({"operations": 0}, "operations of 'a' is 0"),
        ({"operations": {"b": 1}}, "operations of 'a' is None"),
        ({"operations": "returned"}, "'a' returned None"),
    ],
)
def test_bad_arguments_are_named(arguments, named):
    with pytest.raises(ValueError, match=re.escape(named)):
        measure.compare(**({"callables": {"a": lambda: None}} | arguments))


def test_a_clock_that_stands_still_is_refused(monkeypatch):
    monkeypatch.setattr(clock_module, "MAX_CALLS", 64)
    with pytest.raises(ValueError, match="clock did not advance during 64 calls"):
        measure.compare({"a": lambda: None}, clock=lambda: 7)


def test_garbage_collection_is_as_before_even_after_an_error():
    calls = iter(range(3))

    def fails_later():
        next(calls)

    assert gc.isenabled()
    with pytest.raises(StopIteration):
        measure.compare({"a": fails_later})
    assert gc.isenabled()


def test_unknown_names_are_answered_with_the_known_ones():
    c = measure.Comparison({"a": (1.0, 2.0, 3.0)}, "a", "somewhere")
    with pytest.raises(KeyError, match="there are: a"):
        c.ns("b")


def test_a_comparison_shows_itself():
    c = measure.Comparison({"modulo": (1.0, 2.0, 3.0), "ma|glev": (10.0, 24.0, 30.0)}, "modulo", "a <CPU>")
    assert "ma|glev" in str(c)
    assert "10.0" in str(c)  # the median of 10, 12 and 10
    assert "ma\\|glev" in c.table().markdown()
    assert "a &lt;CPU&gt;" in c._repr_html_()
    widths = {line.count(" | ") for line in c.table().markdown().splitlines()}
    assert widths == {3}


@pytest.mark.parametrize(
    ("value", "shown"), [(0.01234, "0.0123"), (1.234, "1.23"), (99.96, "100"), (12345.0, "12,300")]
)
def test_three_digits(value, shown):
    assert clock_module._significant(value) == shown


def test_a_table_refuses_a_row_of_the_wrong_length():
    with pytest.raises(ValueError, match="row 1 has 1 cells"):
        measure.table([(1, 2), (3,)], ["a", "b"])


LATENCIES = st.lists(st.integers(0, 2**53 - 1) | st.integers(0, 1000), min_size=1, max_size=200)


@given(LATENCIES, st.sampled_from([0, 1, 25, 50, 90, 99, 99.9, 100]))
def test_percentiles_agree_with_numpy_within_a_bucket(values, percent):
    exact = int(np.percentile(np.array(values, np.int64), percent, method="inverted_cdf"))
    got = measure.Histogram(values).percentile(percent)
    assert exact <= got <= exact + exact // 128
    assert got <= max(values)


@given(LATENCIES, LATENCIES)
def test_merged_histograms_are_the_histogram_of_all(a, b):
    both, whole = measure.Histogram(a).merge(measure.Histogram(b)), measure.Histogram(a + b)
    assert len(both) == len(a) + len(b)
    assert both.percentiles() == whole.percentiles()
    assert (both.counts == whole.counts).all()


@given(LATENCIES)
def test_the_distribution_rises_to_one(values):
    at, share = measure.Histogram(values).ecdf()
    assert share[-1] == 1
    assert all(x < y for x, y in pairwise(at.tolist()))
    for latency, below in zip(at.tolist(), share.tolist(), strict=True):
        assert below == pytest.approx(sum(value <= latency for value in values) / len(values))


def test_a_thousand_samples_have_their_p999_at_the_999th():
    assert measure.Histogram(range(1, 201)).percentile(99.5) == 199


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf"), 2.0**53])
def test_impossible_latencies_are_refused_whole(bad):
    histogram = measure.Histogram([5])
    with pytest.raises(ValueError, match="a latency is"):
        histogram.add([1, bad])
    assert len(histogram) == 1


def test_percentile_errors():
    with pytest.raises(ValueError, match="empty"):
        measure.Histogram().percentile(50)
    with pytest.raises(ValueError, match="percent is 101"):
        measure.Histogram([1]).percentile(101)
    assert "no samples" in repr(measure.Histogram())
    assert "p99.9" in repr(measure.Histogram([1000]))


SERIES = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60), min_size=1),
    min_size=1,
    max_size=3,
)


@given(SERIES)
def test_a_recording_comes_back_as_it_was(tmp_path_factory, samples):
    folder = tmp_path_factory.mktemp("recorded")
    path = measure.record("xdp_drop", samples, "lbcore bench xdp_drop", folder=folder)
    back = measure.load("xdp_drop", folder=folder)
    assert path.name == "xdp_drop.json"
    assert back.samples == samples
    assert back.command == "lbcore bench xdp_drop"
    assert "lbcore bench xdp_drop" in back.label
    assert back.label.endswith("not on this machine")


def test_arrays_are_recorded_as_numbers(tmp_path):
    measure.record("a", {"ns": np.array([1.5, 2.5])}, "make it", folder=tmp_path)
    assert measure.load("a", folder=tmp_path).samples == {"ns": [1.5, 2.5]}


def test_a_recording_tells_nothing_of_where_it_was_written(tmp_path):
    text = measure.record("a", {"ns": [1]}, "python benchmarks/a.py", folder=tmp_path).read_text()
    assert str(tmp_path) not in text
    assert set(json.loads(text)) == {"host", "cpu", "cores", "kernel", "python", "numba", "date", "command", "samples"}


@pytest.mark.parametrize("name", ["", "../up", "a/b", "A", "a.json", "-a"])
def test_recordings_have_plain_names(tmp_path, name):
    with pytest.raises(ValueError, match="name is"):
        measure.record(name, {"ns": [1]}, "make it", folder=tmp_path)


@pytest.mark.parametrize(
    ("samples", "command", "named"),
    [
        ({}, "make it", "samples is {}"),
        ({"ns": []}, "make it", "samples['ns'] is []"),
        ({"ns": 3}, "make it", "samples['ns'] is 3"),
        ({"ns": "123"}, "make it", "samples['ns'] is '123'"),
        ({"ns": [1, float("nan")]}, "make it", "holds nan"),
        ({"ns": [True]}, "make it", "holds True"),
        ({"ns": ["1"]}, "make it", "holds '1'"),
        ({"ns": [1]}, " ", "command is empty"),
        ({"ns": [1]}, "python /opt/a.py", "command names '/opt/a.py'"),
        ({"ns": [1]}, "OUT=~/x make it", "command names '~/x'"),
    ],
)
def test_what_cannot_be_recorded_is_named_and_leaves_no_file(tmp_path, samples, command, named):
    with pytest.raises(ValueError, match=re.escape(named)):
        measure.record("a", samples, command, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


GOOD = {
    "host": "virtual machine", "cpu": "Z80", "cores": 1, "kernel": "Linux 6.1", "date": "2026-01-31",
    "command": "make it", "samples": {"ns": [1]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"host": None}, "host is None, wanted a str"),
        ({"cores": "2"}, "cores is '2', wanted a int"),
        ({"date": "yesterday"}, "date is 'yesterday'"),
        ({"samples": {"ns": [None]}}, "samples['ns'] holds None"),
        ({"samples": None}, "samples is None"),
        ({"command": "/bin/x"}, "command names '/bin/x'"),
    ],
)
def test_a_damaged_recording_is_refused_by_file_field_and_value(tmp_path, change, named):
    (tmp_path / "a.json").write_text(json.dumps(GOOD))
    assert measure.load("a", folder=tmp_path).samples == {"ns": [1]}
    (tmp_path / "a.json").write_text(json.dumps(GOOD | change))
    with pytest.raises(ValueError, match=re.escape(f"chapters/recorded/a.json: {named}")):
        measure.load("a", folder=tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_a_recording_that_is_no_recording(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.json"):
        measure.load("a", folder=tmp_path)


def test_a_missing_recording_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="record it"):
        measure.load("a", folder=tmp_path)


@pytest.mark.parametrize("tier", [0, 1, 2])
@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_live_where_the_tier_allows_recorded_elsewhere(tmp_path, tier, wanted):
    (tmp_path / "a.json").write_text(json.dumps(GOOD))
    result = measure.live_or_recorded(
        "a", wanted, lambda: {"ns": np.array([42])}, on=Machine(tier, 2, []), folder=tmp_path
    )
    assert result.live == (tier >= wanted)
    assert result.samples == {"ns": [42] if result.live else [1]}
    assert ("not on this machine" in result.label) != result.live


def test_an_experiment_that_fails_live_is_not_covered_up(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(GOOD))

    def run():
        raise OSError("no packet arrived")

    with pytest.raises(OSError, match="no packet arrived"):
        measure.live_or_recorded("a", 1, run, on=Machine(1, 1, []), folder=tmp_path)


def test_every_recording_in_the_book_can_be_read():
    for path in sorted(recorded.FOLDER.glob("*.json")):
        assert measure.load(path.stem).samples


def test_the_facts_line_names_what_matters():
    line = measure.facts_line()
    for part in ("core", "Python", "numba"):
        assert part in line
