"""Which time analytics are asked about, and how it is cut: into whole days and hours, which roll-ups have, and the rest, which rows have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
#: How far apart the offset of a zone is looked at: summer time lasts longer.
_LOOK = timedelta(days=14)
#: What figures may be grouped by that is a part of time.
UNITS = ("hour", "day", "week", "month")


@dataclass(frozen=True)
class Span:
    """From `start` on, and before `end`, both in UTC. Days and hours are those of `zone`."""

    start: datetime
    end: datetime
    zone: str = "UTC"

    def whole(self, size: timedelta) -> tuple[datetime, datetime]:
        """The part that whole hours or days of UTC make: its first moment, and the first one after it.

        Without such a part, both are the end of the span.
        """
        first, last = -(-(self.start - _EPOCH) // size) * size + _EPOCH, (self.end - _EPOCH) // size * size + _EPOCH
        return (first, last) if first < last else (self.end, self.end)

    def in_step_with_utc(self, unit: str) -> bool:
        """Whether hours (or for `day`, days) of the zone are those of UTC all the time."""
        zone, at = ZoneInfo(self.zone), self.start
        while True:
            offset = at.astimezone(zone).utcoffset() or timedelta(0)
            if offset if unit == "day" else offset % HOUR:
                return False
            if at >= self.end:
                return True
            at = min(at + _LOOK, self.end)

    def pieces(self, group: str) -> dict[str, list[Any]]:
        """Parameters of a query that groups by `group`: parts of the span, in no order, as three lists of the same length.

        `sizes` says where a part is to be read from: roll-ups of a `day` or an `hour`, which no group cuts through, or `rows`.
        """
        (first, last), (first_day, last_day) = self.whole(HOUR), self.whole(DAY)
        cuts: list[datetime] = []
        if group in UNITS:
            if group == "hour" or not self.in_step_with_utc("day"):
                first_day = last_day = last
            if not self.in_step_with_utc("hour"):
                if group == "hour":
                    first = last = first_day = last_day = self.end
                cuts = self._hours_cut_by_midnight(first, last)
        parts = [("rows", self.start, first), ("rows", last, self.end), ("day", first_day, last_day)]
        parts += [("rows", cut, cut + HOUR) for cut in cuts]
        whole = [first, *(end for cut in cuts for end in (cut, cut + HOUR)), min(first_day, last)]
        parts += [("hour", began, ended) for began, ended in list(pairwise(whole))[::2]]
        parts.append(("hour", last_day, last))
        parts = [part for part in parts if part[1] < part[2]]
        return {
            "sizes": [part[0] for part in parts],
            "begins": [part[1] for part in parts],
            "ends": [part[2] for part in parts],
        }

    def _hours_cut_by_midnight(self, first: datetime, last: datetime) -> list[datetime]:
        """The hours of UTC in which a day of the zone begins, but for those that begin with it."""
        zone = ZoneInfo(self.zone)
        cut = set()
        for days in range((last - first) // DAY + 2):
            midnight = datetime.combine(first.astimezone(zone).date() + days * DAY, time(), zone)
            # where clocks go back at midnight, it comes twice
            for at in (midnight.replace(fold=fold).astimezone(UTC) for fold in (0, 1)):
                past = (at - _EPOCH) % HOUR
                if past and first <= at - past < last:
                    cut.add(at - past)
        return sorted(cut)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
