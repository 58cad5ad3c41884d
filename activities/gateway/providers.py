"""Which model provider a call goes to: the tenant's own, where it has one for the model, else the platform's.

A tenant's providers are its connections of type `model_provider`. One that lists the model comes first, then the one that is
marked as default, then one alone that lists nothing. What a tenant pays its provider itself costs it nothing here.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

import httpx

from activities.adapters.base import ToolFailed
from activities.connections.base import Target
from activities.connections.book import ConnectionBook, Provider
from activities.gateway.journal import Answer, journal_errors
from activities.gateway.money import FREE_OF_CHARGE, Quote, Unpriced, models_quote
from activities.gateway.prices import Prices
from activities.gateway.upstream import Endpoint, ModelProvider, own_refusal
from activities.tools.guarded import Guard
from omium_core.settings import Settings

#: The model's name where neither the definition nor the settings give one.
UNNAMED_MODEL: Final = "default"
#: Clients of tenants' providers that are kept open.
_MOST_KEPT: Final = 200
#: Seconds for which a client that nobody will use again may still be answering.
_LINGER: Final = 900.0


class Models(Protocol):
    """What the gateway's server needs of the providers."""

    async def models(self, tenant_id: UUID, model: str = "") -> bytes: ...

    async def route(self, tenant_id: UUID, endpoint: str, request: dict[str, Any]) -> ModelRoute: ...


@dataclass(frozen=True)
class ModelRoute:
    """The way of one call to its provider. `is_own`: the tenant's own."""

    provider: ModelProvider
    endpoint: str
    request: dict[str, Any]
    is_own: bool
    most_output_tokens: int

    def quote(self, prices: Prices) -> Quote:
        """What the call can cost. A `Refusal` if its model has no price, and may not be used without one."""
        if self.is_own:
            # the tenant pays its own provider by itself
            return FREE_OF_CHARGE
        name = str(self.provider.model_for(self.request) or "unknown")
        try:
            return models_quote(prices, self.endpoint, self.request, name, self.most_output_tokens)
        except Unpriced:
            message = f"The model {name!r} has no price here, so it cannot be used."
            raise own_refusal(message, "model_without_price", status=403, by="The platform") from None

    async def ask(self, on_chunk: Callable[[bytes], None]) -> Answer:
        """Makes the call. Raises what `ModelProvider.ask` raises."""
        return await self.provider.ask(self.endpoint, self.request, on_chunk)


class ModelProviders:
    """Implements `Models`. Lives on the gateway's event loop."""

    def __init__(self, settings: Settings, book: ConnectionBook, guard: Guard) -> None:
        self._settings = settings
        self._book = book
        self._guard = guard
        self._own = ModelProvider(settings)
        self._kept: OrderedDict[str, ModelProvider] = OrderedDict()
        self._leaving: set[asyncio.Task[None]] = set()

    async def models(self, tenant_id: UUID, model: str = "") -> bytes:
        """A provider's list of models, or what it tells about one."""
        provider, _ = await self._for(tenant_id, model)
        return await provider.models(model)

    async def route(self, tenant_id: UUID, endpoint: str, request: dict[str, Any]) -> ModelRoute:
        """Where a call goes. Raises `StorageUnavailable` when connections cannot be read."""
        asked = str(request.get("model") or "")
        provider, model = await self._for(tenant_id, asked)
        if model != asked:
            request = {**request, "model": model}
        return ModelRoute(provider, endpoint, request, provider is not self._own, self._settings.most_output_tokens)

    async def close(self) -> None:
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        for provider in (self._own, *self._kept.values()):
            await provider.close()

    async def _for(self, tenant_id: UUID, model: str) -> tuple[ModelProvider, str]:
        """The provider for a model, and the model's name there."""
        with journal_errors():
            known = await self._book.providers(tenant_id)
        chosen = choose(known, model)
        if chosen is None:
            return self._own, model
        unnamed = not model or model == (self._settings.llm_model or UNNAMED_MODEL)
        if unnamed and chosen.models and model not in chosen.models:
            # the platform's own default means nothing to somebody else's provider
            model = chosen.models[0]
        return self._client(chosen), model

    def _client(self, chosen: Provider) -> ModelProvider:
        kept = self._kept.get(chosen.version)
        if kept is None:
            kept = self._kept[chosen.version] = self._opened(chosen.target)
            stale = [version for version in self._kept if _replaced(version, chosen.version)]
            if len(self._kept) > _MOST_KEPT:
                stale.append(next(iter(self._kept)))
            for version in stale:
                self._let_go(self._kept.pop(version))
        self._kept.move_to_end(chosen.version)
        return kept

    def _opened(self, target: Target) -> ModelProvider:
        timeout = httpx.Timeout(self._settings.llm_timeout, connect=min(10.0, self._settings.llm_timeout))
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=10, keepalive_expiry=3.0)
        client = self._guard.client(timeout, limits=limits)
        if target.token:
            client.headers["Authorization"] = f"Bearer {target.token}"
        endpoint = Endpoint(
            base_url=target.url,
            client=client,
            name=f"of the connection {target.name!r}",
            correct="correct the connection's address",
            hidden=target.hidden,
            judge=self._judge,
        )
        return ModelProvider(self._settings, endpoint)

    async def _judge(self, url: httpx.URL) -> None:
        try:
            await self._guard.judge(url)
        except ToolFailed as error:
            raise own_refusal(str(error), "address_refused") from None

    def _let_go(self, provider: ModelProvider) -> None:
        """Closes a client when the calls that may be under way have had their time."""

        async def later() -> None:
            try:
                await asyncio.sleep(_LINGER)
            finally:
                await provider.close()

        task = asyncio.create_task(later())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


def choose(known: tuple[Provider, ...], model: str) -> Provider | None:
    """The tenant's provider for a model: the newest that names it, the newest default, or the newest that takes any."""
    newest = tuple(reversed(known))
    named = (provider for provider in newest if model and model in provider.models)
    default = (provider for provider in newest if provider.is_default)
    anything = (provider for provider in newest if not provider.models)
    return next(named, None) or next(default, None) or next(anything, None)


def _replaced(version: str, by: str) -> bool:
    return version != by and version.partition("/")[0] == by.partition("/")[0]
