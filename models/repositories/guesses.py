"""Counts failed guesses, in one statement each, so that guesses which come at once are counted one by one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from models.tables.base import now


@dataclass(frozen=True)
class Tolerance:
    """`free` failures in `window` cost nothing; after them the wait doubles from a second up to `longest`."""

    free: int
    longest: timedelta
    window: timedelta = timedelta(hours=1)


# what is blocked is not counted: guesses that were never judged must not lengthen the wait of others
_COUNT = text("""
INSERT INTO sign_in_failures AS f (key_hash, failures, last_at, blocked_until)
VALUES (:key, 1, :now, CASE WHEN :free <= 1 THEN CAST(:now AS timestamptz) + interval '1 second' END)
ON CONFLICT (key_hash) DO UPDATE SET
    failures = CASE
        WHEN f.blocked_until > :now THEN f.failures WHEN f.last_at < :since THEN 1 ELSE f.failures + 1 END,
    last_at = CASE WHEN f.blocked_until > :now THEN f.last_at ELSE :now END,
    blocked_until = CASE
        WHEN f.blocked_until > :now THEN f.blocked_until
        WHEN f.last_at < :since OR f.failures + 1 < :free THEN NULL
        ELSE CAST(:now AS timestamptz)
            + make_interval(secs => least(power(2.0, least(f.failures + 1 - :free, 30)), :longest)) END
RETURNING failures, blocked_until, last_at
""")
_FORGIVE = text("""
UPDATE sign_in_failures SET failures = greatest(failures - 1, 0),
    blocked_until = CASE WHEN failures - 1 < :free THEN NULL ELSE blocked_until END
WHERE key_hash = :key
""")
_BLOCKED = text("SELECT blocked_until FROM sign_in_failures WHERE key_hash = :key AND blocked_until > :now")
_CLEAR = text("DELETE FROM sign_in_failures WHERE key_hash = :key")
_SWEEP = text("DELETE FROM sign_in_failures WHERE last_at < :before")


class Guesses:
    """The caller's transaction is `Database.system()`."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def count(self, key: str, tolerance: Tolerance) -> timedelta | None:
        """Counts a guess before it is judged. How long it has to wait instead of being judged; None if not at all."""
        moment = now()
        values: dict[str, Any] = {
            "key": key,
            "now": moment,
            "since": moment - tolerance.window,
            "free": tolerance.free,
            "longest": tolerance.longest.total_seconds(),
        }
        row = (await self.session.execute(_COUNT, values)).one()
        # whoever was counted now may go on, although the next one has to wait
        return None if row.last_at == moment else _until(row.blocked_until, moment)

    async def blocked(self, key: str) -> timedelta | None:
        """How long guesses have to wait; counts nothing."""
        moment = now()
        row = (await self.session.execute(_BLOCKED, {"key": key, "now": moment})).one_or_none()
        return None if row is None else _until(row.blocked_until, moment)

    async def forgive(self, key: str, tolerance: Tolerance) -> None:
        """The guess that was counted last was none."""
        await self.session.execute(_FORGIVE, {"key": key, "free": tolerance.free})

    async def clear(self, key: str) -> None:
        await self.session.execute(_CLEAR, {"key": key})

    async def sweep(self, older_than: timedelta) -> None:
        """Forgets what nobody guessed at for so long."""
        await self.session.execute(_SWEEP, {"before": now() - older_than})


def _until(blocked_until: datetime, moment: datetime) -> timedelta:
    return max(blocked_until - moment, timedelta(seconds=1))
