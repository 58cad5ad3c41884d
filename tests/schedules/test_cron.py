"""Cron expressions: what they mean, and what is refused with words that help."""

from __future__ import annotations

import pytest

from activities.schedules.cron import CronError, at_most_a_day, read

FIELDS = ("minute", "hour", "day_of_month", "month", "day_of_week")


def numbers(expression: str) -> list[tuple[set[int], ...]]:
    """The numbers of each field, for each of the calendars."""
    return [
        tuple({number for span in getattr(calendar, name) for number in span.numbers()} for name in FIELDS)
        for calendar in read(expression)
    ]


EVERY = (set(range(60)), set(range(24)), set(range(1, 32)), set(range(1, 13)), set(range(7)))


@pytest.mark.parametrize(
    ("expression", "field", "expected"),
    [
        ("*/15 * * * *", 0, {0, 15, 30, 45}),
        ("5/20 * * * *", 0, {5, 25, 45}),
        ("0-10/5,59 * * * *", 0, {0, 5, 10, 59}),
        ("* 9-17 * * *", 1, set(range(9, 18))),
        ("* * 1,15 * *", 2, {1, 15}),
        ("* * * jan-MAR,12 *", 3, {1, 2, 3, 12}),
        ("* * * * mon-fri", 4, {1, 2, 3, 4, 5}),
        ("* * * * 7", 4, {0}),
        ("* * * * 0", 4, {0}),
        ("* * * * 5-7", 4, {5, 6, 0}),
        ("* * * * fri-sun", 4, {5, 6, 0}),
        ("* * * * 1-7/2", 4, {1, 3, 5, 0}),
        ("* * * * */2", 4, {0, 2, 4, 6}),
    ],
)
def test_one_field(expression: str, field: int, expected: set[int]) -> None:
    [found] = numbers(expression)
    assert found == tuple(expected if index == field else every for index, every in enumerate(EVERY))


def test_a_day_of_the_month_or_a_day_of_the_week() -> None:
    """As in cron: every Friday, and every 13th."""
    by_day, by_weekday = numbers("0 0 13 * fri")
    assert (by_day[2], by_day[4]) == ({13}, EVERY[4])
    assert (by_weekday[2], by_weekday[4]) == (EVERY[2], {5})


def test_names_for_common_ones() -> None:
    assert read("@daily") == read("0 0 * * *")
    assert read("@Weekly") == read("0 0 * * sun")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "five fields"),
        ("* * * *", "this has 4"),
        ("0 * * * * *", "this has 6"),
        ("60 * * * *", "60 is no minute"),
        ("* 24 * * *", "24 is no hour"),
        ("* * 0 * *", "0 is no day of the month"),
        ("* * 32 * *", "32 is no day of the month"),
        ("* * * 13 *", "13 is no month"),
        ("* * * mond *", "'mond' is no month"),
        ("* * * * 8", "8 is no day of the week"),
        ("*/0 * * * *", "must not be 0"),
        ("30-10 * * * *", "ends before it begins"),
        ("1,,2 * * * *", "nothing that a minute can be"),
        ("-5 * * * *", "nothing that a minute can be"),
        ("? * * * *", "nothing that a minute can be"),
        ("* * L * *", "'L' is no day of the month"),
        ("*-5 * * * *", "nothing that a minute can be"),
        ("0 0 31 2 *", "never fire"),
        ("0 0 31 4,6,9,11 *", "never fire"),
        ("CRON_TZ=UTC * * * * *", "this has 6"),
        ("\u0661 * * * *", "is no minute"),
    ],
)
def test_refused(expression: str, words: str) -> None:
    with pytest.raises(CronError, match=words.replace("'", ".")):
        read(expression)


def test_the_leap_day_comes() -> None:
    assert read("0 0 29 2 *")


def test_how_often_a_day() -> None:
    assert at_most_a_day(read("*/15 9-17 * * *")) == 4 * 9
    assert at_most_a_day([*read("@daily"), *read("0 12 * * *")]) == 2
