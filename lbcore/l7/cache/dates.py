"""Dates of HTTP: three ways to write them, one meaning (RFC 9110, 5.6.7).

Rule of this file: bytes to seconds since 1970 (UTC) and back. What is no date is None, never a guess.

Theory. Senders write the first form; readers must take all three. For freshness they are read without regard to case,
and a zone other than GMT makes a date invalid (RFC 9111, 4.2): an invalid Expires means stale.
"""

from __future__ import annotations

import calendar
import re
import time
from typing import Final

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NUMBER_OF: Final = {name.lower().encode(): number for number, name in enumerate(MONTHS, 1)}
CLOCK: Final = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
FORMS: Final = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rb"[a-z]{3}, (?P<day>\d\d) (?P<month>[a-z]{3}) (?P<year>\d{4}) %b GMT" % CLOCK,  # IMF-fixdate
        rb"[a-z]{6,9}, (?P<day>\d\d)-(?P<month>[a-z]{3})-(?P<year>\d\d) %b GMT" % CLOCK,  # RFC 850
        rb"[a-z]{3} (?P<month>[a-z]{3}) (?P<day>[ \d]\d) %b (?P<year>\d{4})" % CLOCK,  # asctime
    )
)


def parse(value: bytes | None, now: float = 0.0) -> float | None:
    """Seconds since 1970; None if there is no value or it is no date.

    now: a year of two digits that seems more than 50 years after it is of the century before.
    """
    if value is None:
        return None
    found = next((match for form in FORMS if (match := form.fullmatch(value))), None)
    month = NUMBER_OF.get(found["month"].lower()) if found else None
    if not found or not month:
        return None
    day, year = int(found["day"]), int(found["year"])
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"])
    if len(found["year"]) == 2:
        this = time.gmtime(now).tm_year
        year += this // 100 * 100
        year -= 100 if year > this + 50 else 0
    if not (1 <= day <= calendar.monthrange(max(year, 1), month)[1] and hour < 24 and minute < 60 and second <= 60):
        return None
    return float(calendar.timegm((year, month, day, hour, minute, second)))


def written(seconds: float) -> bytes:
    """The first form."""
    at = time.gmtime(seconds)
    return b"%b, %02d %b %04d %02d:%02d:%02d GMT" % (
        DAYS[at.tm_wday].encode(), at.tm_mday, MONTHS[at.tm_mon - 1].encode(), at.tm_year, at.tm_hour, at.tm_min,
        at.tm_sec,
    )  # fmt: skip
