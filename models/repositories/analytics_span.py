"""Which time analytics are asked about, and how it is cut: into whole hours, which roll-ups have, and the rest, which rows have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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

    def whole(self, size: timedelta, *, rolled: bool = True) -> dict[str, Any]:
        """Parameters of a query: the span, and the part of it from `first` to before `last` that whole hours or days make.

        Without such a part, or where roll-ups may not be used, both are the end of the span.
        """
        first, last = -(-(self.start - _EPOCH) // size) * size + _EPOCH, (self.end - _EPOCH) // size * size + _EPOCH
        if not rolled or first >= last:
            first = last = self.end
        return {"start": self.start, "end": self.end, "first": first, "last": last}

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


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
