"""Times as logs and traces write them, to nanoseconds since the Unix epoch.

Takes bytes at known places (access logs: many at once) or texts (ISO 8601, access logs one by one), gives nanoseconds,
and says why a text is no time. Only times from 1970 to 2261 fit into 64 bits of nanoseconds; all others are refused.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.recording.readers.columns import Positions

NS_PER_S = 1_000_000_000
FIRST_YEAR, LAST_YEAR = 1970, 2261
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LONGEST_NS = 10**17
"""Three years: no request takes longer."""
TOO_LONG_AGO = "the time to the answer is longer than could be, or reaches back before 1970"
LOG_TIME_BYTES = len("17/May/2015:10:05:03 +0000")

_DIGITS = np.array([0, 1, 7, 8, 9, 10, 12, 13, 15, 16, 18, 19, 22, 23, 24, 25])
_MARKS = {2: b"/", 6: b"/", 11: b":", 14: b":", 17: b":", 20: b" "}
_MONTH_KEYS = np.array([int.from_bytes(month.encode(), "big") for month in MONTHS])
_MONTH_ORDER = np.argsort(_MONTH_KEYS)
_MONTH_DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])

_LOG_TIME = re.compile(
    r"(\d\d)/([^/]{1,20})/(\d{4}):(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?: ([+-])(\d\d)(\d\d))?", re.ASCII
)
_ISO_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?)?\s*(Z|z|UTC|([+-])(\d\d):?(\d\d)?)?",
    re.ASCII,
)


class NoTimeError(ValueError):
    """Why a text is no time; the message names no part of it."""


def log_times(
    data: npt.NDArray[np.uint8], at: Positions
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """`(ns, right)` of texts such as `17/May/2015:10:05:03 +0000`, one beginning at each place in `data`.

    Where `right` is False, `log_time` says why, or knows a form that this one does not.
    """
    letters = data[at[:, None] + np.arange(LOG_TIME_BYTES)]
    digits = letters[:, _DIGITS] - np.uint8(ord("0"))
    right = (digits <= 9).all(axis=1)
    for place, mark in _MARKS.items():
        right &= letters[:, place] == mark[0]
    right &= (letters[:, 21] == ord("+")) | (letters[:, 21] == ord("-"))
    tens = digits.astype(np.int64)
    two = tens[:, 0::2] * 10 + tens[:, 1::2]
    day, year, hour, minute, second = two[:, 0], two[:, 1] * 100 + two[:, 2], two[:, 3], two[:, 4], two[:, 5]
    month, known = _months(letters[:, 3:6].astype(np.int64))
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    right &= known & (day >= 1) & (day <= _MONTH_DAYS[month - 1] + (leap & (month == 2)))
    right &= (hour < 24) & (minute < 60) & (second < 60) & (two[:, 6] < 24) & (two[:, 7] < 60)
    right &= (year >= FIRST_YEAR) & (year <= LAST_YEAR)
    offset_s = (two[:, 6] * 60 + two[:, 7]) * 60 * np.where(letters[:, 21] == ord("-"), -1, 1)
    seconds = ((_days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second - offset_s
    return np.where(right, seconds, 0) * NS_PER_S, right & (seconds >= 0)


def _months(letters: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """1-12 by name, and whether there is such a month."""
    keys = (letters[:, 0] << 16) | (letters[:, 1] << 8) | letters[:, 2]
    found = np.searchsorted(_MONTH_KEYS, keys, sorter=_MONTH_ORDER)
    month = _MONTH_ORDER[np.minimum(found, len(MONTHS) - 1)]
    return month + 1, _MONTH_KEYS[month] == keys


def _days(
    year: npt.NDArray[np.int64], month: npt.NDArray[np.int64], day: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Days since 1 January 1970 in the Gregorian calendar; a year begins in March here, so that leap days end it."""
    from_march = year - (month <= 2)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days: npt.NDArray[np.int64] = (
        from_march * 365 + from_march // 4 - from_march // 100 + from_march // 400 + day_of_year - 719_468
    )
    return days


def log_time(text: str, zone: dt.tzinfo | None = None) -> int:
    """One time as access logs write it, with or without a fraction of a second; `zone` is meant where it names none.

    Raises NoTimeError.
    """
    found = _LOG_TIME.fullmatch(text)
    if found is None or (found[8] is None and zone is None):
        raise NoTimeError("the time is not written as DAY/MONTH/YEAR:HH:MM:SS +HHMM")
    day, name, year, hour, minute, second, fraction, sign, offset_h, offset_min = found.groups()
    if name not in MONTHS:
        raise NoTimeError("the time's month is none of Jan, Feb, Mar … Dec")
    known = (sign, offset_h, offset_min) if sign is not None or zone is None else zone
    return _ns((year, MONTHS.index(name) + 1, day), (hour, minute, second, fraction), known)


def iso_time(text: str, zone: dt.tzinfo = dt.UTC) -> int:
    """One ISO 8601 time, up to nanoseconds; `zone` is meant where it names none. Raises NoTimeError."""
    found = _ISO_TIME.fullmatch(text.strip())
    if found is None:
        raise NoTimeError("no time as ISO 8601 writes it (YYYY-MM-DDTHH:MM:SS.fraction+HH:MM)")
    year, month, day, hour, minute, second, fraction, offset, sign, offset_h, offset_min = found.groups()
    known: tuple[str, str, str] | dt.tzinfo = zone
    if offset is not None:
        known = (sign or "+", offset_h or "0", offset_min or "0")
    return _ns((year, int(month), day), (hour, minute, second, fraction), known)


def iso_times(texts: pa.Array, zone: dt.tzinfo = dt.UTC) -> npt.NDArray[np.int64] | None:
    """Many at once, when all of them are plain to see; else None, and `iso_time` says more about each."""
    kinds = [pa.timestamp("ns", "UTC")] + ([pa.timestamp("ns")] if zone is dt.UTC else [])
    for kind in kinds:
        try:
            times: npt.NDArray[np.int64] = texts.cast(kind).cast(pa.int64()).to_numpy()
        except pa.ArrowInvalid:
            continue
        return times if (times >= 0).all() else None
    return None


def begun_and_answered(
    written: npt.NDArray[np.int64], spent: npt.NDArray[np.int64], at_end: bool, wrong: dict[int, str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """When requests came and were answered, from the time in the log (`at_end`: the answer's) and what passed between.

    A `spent` below 0 is not known.
    """
    known = spent >= 0
    for row in np.flatnonzero(spent > LONGEST_NS).tolist():
        wrong.setdefault(row, TOO_LONG_AGO)
    spent = np.clip(spent, 0, LONGEST_NS)
    at_ns = written - spent if at_end else written
    for row in np.flatnonzero(at_ns < 0).tolist():
        wrong.setdefault(row, TOO_LONG_AGO)
    return at_ns, np.where(known, at_ns + spent, -1)


def zone_of(name: str) -> dt.tzinfo:
    """A time zone by its name, such as `Europe/Berlin`. Raises ValueError."""
    try:
        return dt.UTC if name == "UTC" else zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"no time zone {name!r}") from error


def _ns(
    date: tuple[str | int, str | int, str | int],
    time: tuple[str | None, ...],
    zone: tuple[str, str, str] | dt.tzinfo,
) -> int:
    """Year, month, day; hour, minute, second and fraction; sign, hours and minutes from UTC."""
    if isinstance(zone, tuple):
        sign, offset_h, offset_min = zone
        if int(offset_h) > 23 or int(offset_min) > 59:
            raise NoTimeError("the time's offset from UTC does not exist")
        offset = dt.timedelta(hours=int(offset_h), minutes=int(offset_min))
        zone = dt.timezone(-offset if sign == "-" else offset)
    year, month, day = map(int, date)
    hour, minute, second = (int(part or 0) for part in time[:3])
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise NoTimeError(f"the time lies outside {FIRST_YEAR} to {LAST_YEAR}")
    try:
        moment = dt.datetime(year, month, day, hour, minute, second, tzinfo=zone)
    except ValueError as error:
        raise NoTimeError("no such date or time of day") from error
    seconds = (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(seconds=1)
    if seconds < 0:
        raise NoTimeError(f"the time lies outside {FIRST_YEAR} to {LAST_YEAR}")
    return seconds * NS_PER_S + int((time[3] or "").ljust(9, "0"))
