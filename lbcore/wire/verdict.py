"""What a parser can say about a header, as small integers: packet code may not raise, so it answers.

`OK` is 0, so `if header.verdict: ...` is the error branch on every target. `TEXT` says it to people.
"""

OK = 0
TRUNCATED = 1
BAD_VERSION = 2
BAD_HEADER_LENGTH = 3
BAD_TOTAL_LENGTH = 4
BAD_OPTION = 5
TOO_MANY_HEADERS = 6

TEXT = {
    OK: "well formed",
    TRUNCATED: "the packet ends before the header does",
    BAD_VERSION: "the version field names another protocol",
    BAD_HEADER_LENGTH: "the header says it is shorter than its fixed part",
    BAD_TOTAL_LENGTH: "the length field is shorter than the header, or longer than what arrived",
    BAD_OPTION: "an option runs past the end of the header",
    TOO_MANY_HEADERS: "more stacked headers than a parser should follow",
}
