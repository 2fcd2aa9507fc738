"""A granted window, seen from the peer: it may always send what it was promised, and never more."""

from hypothesis import given
from hypothesis import strategies as st

from lbcore.l7.http2.windows import Intake


@given(st.integers(1, 1000), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=60))
def test_the_peer_may_send_what_it_was_granted_and_what_was_passed_on_is_granted_again(size, steps):
    intake, credit, kept = Intake(size), size, 0
    for send, pass_on in steps:
        sent = int(send * credit)
        assert intake.take(sent)
        credit, kept = credit - sent, kept + sent
        passed = int(pass_on * kept)
        kept -= passed
        credit += intake.give_back(passed)
        assert credit + kept <= size
    credit += intake.give_back(kept)
    assert size / 2 < credit <= size  # nothing is kept, so the peer is not left waiting
    assert intake.take(credit)
    assert not intake.take(1)
