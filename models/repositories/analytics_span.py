"""Which time analytics are asked about, and how it is cut: into whole days and hours, which roll-ups have, and the rest, which rows have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

QUARTER, HOUR, DAY = timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)
_SIZES = {"quarter": QUARTER, "hour": HOUR, "day": DAY}
#: How far apart the offset of a zone is looked at: summer time lasts longer.
_LOOK = timedelta(days=14)
#: Of a longer time, days that begin within an hour of UTC are made of quarters alone: one look-up instead of two for each day.
_MOST_CUT = 1100 * DAY
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
        """Whether hours (or for `day` and `quarter`, days and quarters of an hour) of the zone are those of UTC all the time."""
        zone, at = ZoneInfo(self.zone), self.start
        while True:
            offset = at.astimezone(zone).utcoffset() or timedelta(0)
            if offset if unit == "day" else offset % _SIZES[unit]:
                return False
            if at >= self.end:
                return True
            at = min(at + _LOOK, self.end)

    def pieces(self, group: str, *, totals: bool = False) -> dict[str, list[Any]]:
        """Parameters of a query that groups by `group`: parts of the span, in no order, as three lists of the same length.

        `sizes` says where a part is to be read from: roll-ups of a `day` or an `hour`, which no group cuts through, or `rows`.
        With `totals` these are those of the whole tenant, which are also there for each `quarter` of an hour.
        """
        sizes = {"quarter": QUARTER, "hour": HOUR, "day": DAY} if totals else {"hour": HOUR, "day": DAY}
        cut = False
        if group in UNITS:
            if group == "hour" or not self.in_step_with_utc("day"):
                del sizes["day"]
            if not self.in_step_with_utc("hour"):
                if totals and not self.in_step_with_utc("quarter"):
                    del sizes["quarter"]
                if group == "hour" or ("quarter" in sizes and self.end - self.start > _MOST_CUT):
                    del sizes["hour"]
                cut = "hour" in sizes
        # each lies within the one before it
        levels = [("rows", self.start, self.end)]
        levels += [(size, *part) for size in sizes if (part := self.whole(_SIZES[size])) and part[0] < part[1]]
        parts: list[tuple[str, datetime, datetime]] = []
        for index, (size, first, last) in enumerate(levels):
            holes: list[datetime] = []
            if index + 1 < len(levels):
                holes = [*levels[index + 1][1:]]
            elif cut and size == "hour":
                holes = [edge for at in self._hours_cut_by_midnight(first, last) for edge in (at, at + HOUR)]
                parts += [(levels[index - 1][0], *hole) for hole in list(pairwise(holes))[::2]]
            parts += [(size, *part) for part in list(pairwise((first, *holes, last)))[::2]]
        parts = [part for part in parts if part[1] < part[2]]
        return {
            "sizes": [f"total_{part[0]}" if totals and part[0] != "rows" else part[0] for part in parts],
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
