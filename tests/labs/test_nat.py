"""Lab 02: the specification is what senders compute, and what the data plane does."""

from lbcore.l4.walk import Site
from lbcore.labs import nat
from lbcore.wire.dissect import dissect


def test_the_specification_is_the_data_planes():
    """But for the Ethernet addresses, which the lab leaves alone."""
    stops = Site("nat", backend_port=8080).walk()
    arrived, left = stops[1].frame, stops[2].frame
    assert nat.rewritten(arrived, bytes([10, 0, 0, 12]), 8080)[12:] == left[12:]
    reply, back = stops[5].frame, stops[6].frame
    assert nat.right_back(reply, {reply[26:38]: (bytes([203, 0, 113, 80]), 80)})[12:] == back[12:]


def test_whole_frames_stay_right_and_damaged_ones_stay_damaged():
    for case in nat.translate_cases(7):
        frame, *_ = case.arguments
        out = nat.rewritten(*case.arguments)
        if out is not None:
            for layer, was in zip(dissect(out), dissect(frame), strict=True):
                for field, before in zip(layer.fields, was.fields, strict=True):
                    assert ("wrong" in field.text) == ("wrong" in before.text)
        assert (out is None) == (frame[22] <= 1)
