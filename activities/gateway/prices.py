"""Which price holds for a call: that of the table, of the settings, or the default. See docs/prices.md.

A worker keeps the prices of each tenant. Every look-up in the journal tells the number of the newest version, so the copy is
read again as soon as there is one, and no call is made at a price that was replaced before it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from cachetools import LRUCache
from sqlmodel.ext.asyncio.session import AsyncSession

from models.database import Database
from models.pricing import PriceVersion, Rate, rate_at
from models.repositories.prices import PriceRepository
from models.tables.base import now
from omium_core.credits import PER_DOLLAR
from omium_core.settings import Settings

#: The name of a price for everything of its kind that has none by its own name.
ANY: Final = "*"
FREE: Final = Rate()
#: Tenants whose prices a worker keeps.
_KEPT: Final = 10_000


class Prices:
    """The prices of one tenant. `number` is that of the newest version of the table."""

    def __init__(
        self, number: int, versions: Iterable[PriceVersion], models: Mapping[str, Rate], unpriced: Rate | None
    ) -> None:
        """`models` are the prices of the settings. `unpriced` is that of a model without any, None if it is refused."""
        self.number = number
        self.unpriced = unpriced
        self._models = models
        self._versions: defaultdict[tuple[str, str], list[PriceVersion]] = defaultdict(list)
        for version in versions:
            self._versions[version.kind, version.name].append(version)

    def model(self, name: str, at: datetime | None = None) -> Rate | None:
        """The price of a model by its name, or that for any; None if there is none."""
        return self._row("model", (name, ANY), at) or self._models.get(name)

    def tool(self, *names: str, at: datetime | None = None) -> Rate:
        """The price of a tool by the first of its names that has one; without any, it is free."""
        return self._row("tool", (*names, ANY), at) or FREE

    def storage(self, at: datetime | None = None) -> Rate:
        return self._row("storage", ("",), at) or FREE

    def _row(self, kind: str, names: Iterable[str], at: datetime | None) -> Rate | None:
        if not self._versions:
            return None
        at = at or now()
        found = (rate_at(self._versions.get((kind, name), ()), kind, name, at) for name in names)
        return next((rate for rate in found if rate is not None), None)


class PriceBook:
    """The prices of all tenants of a process. Belongs to one event loop."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._known: LRUCache[UUID, Prices] = LRUCache(maxsize=_KEPT)
        self._models = {
            name: Rate(price.input * PER_DOLLAR, price.output * PER_DOLLAR)
            for name, price in settings.model_prices.items()
        }
        given = settings.default_price
        self._unpriced = (
            None
            if settings.refuses_unpriced_models
            else Rate(given.input_per_1m, given.output_per_1m, given.cached_per_1m, given.per_call)
        )
        self._settings_alone = self._prices(0, ())

    async def at(self, tenant_id: UUID, newest: int) -> Prices:
        """A tenant's prices, when the newest version that concerns it has this number. Reads the table only for a new one."""
        if newest == 0:
            return self._settings_alone
        known = self._known.get(tenant_id)
        if known is None or known.number < newest:
            known = self._known[tenant_id] = await self._read(tenant_id)
        return known

    async def now(self, tenant_id: UUID) -> Prices:
        """A tenant's prices, for those who have not just been told the newest number."""
        newest = await self._database.run(tenant_id, lambda db: PriceRepository(db, tenant_id).newest())
        return await self.at(tenant_id, newest)

    async def _read(self, tenant_id: UUID) -> Prices:
        async def work(db: AsyncSession) -> list[PriceVersion]:
            return list(await PriceRepository(db, tenant_id).versions())

        versions = await self._database.run(tenant_id, work)
        return self._prices(max((version.number for version in versions), default=0), versions)

    def _prices(self, number: int, versions: Iterable[PriceVersion]) -> Prices:
        return Prices(number, versions, self._models, self._unpriced)
