"""The long hunt for inputs that break the stream parsers, where atheris is installed (it is not among our packages).

    PYTHONPATH=. python tests/wire/hunt_streams.py NEW SEEDS -max_total_time=600 -max_len=2000

Rule of this file: the parsers are imported here and nowhere before, because their code is instrumented on the way in.
"""

import sys


def main() -> None:
    """Arguments are libFuzzer's: folders of inputs, the first of which gets what is new."""
    import atheris

    with atheris.instrument_imports(include=["lbcore.wire", "lbcore.l4.relay"]):
        from tests.wire.fuzz_streams import check
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
