"""API keys: make, read, give less, rotate, revoke. Nobody makes a key that may do more than himself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from api.auth.permissions import permissions_of
from api.auth.principal import Principal
from api.schemas.api_keys import ApiKeyCreate, ApiKeyCreated, ApiKeyRotated, ApiKeyUpdate, ApiKeyView
from api.services.auditing import audited
from api.wiring import Wiring
from models.keys import ENVIRONMENT_NAMES, hash_key, new_key, visible_prefix
from models.repositories.base import Listing, Page
from models.repositories.keys import KeyRepository
from models.tables import ApiKey
from models.tables.base import now
from omium_core.errors import InvalidInput, NotPermitted, Problem


@dataclass(frozen=True)
class _Secret:
    """A new key, and what is stored of it."""

    key: str
    prefix: str
    hash: str


class ApiKeyService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def create(self, caller: Principal, wanted: ApiKeyCreate) -> ApiKeyCreated:
        """Raises `InvalidInput` for what no key may be given, `NotPermitted` for what the caller has not himself."""
        scopes = _in_order(wanted.scopes)
        permissions = None if wanted.permissions is None else sorted(set(wanted.permissions))
        _check_permissions(scopes, permissions)
        _check_expiry(wanted.expires_at)
        await self._check_rates(caller, wanted)
        _check_held(caller, _effective(scopes, permissions))
        secret = self._new_secret()
        key = ApiKey(
            tenant_id=caller.tenant_id,
            user_id=caller.user_id,
            name=wanted.name,
            key_prefix=secret.prefix,
            key_hash=secret.hash,
            scopes=scopes,
            permissions=permissions,
            rate_limit_per_minute=wanted.rate_limit_per_minute,
            rate_limit_per_hour=wanted.rate_limit_per_hour,
            expires_at=wanted.expires_at,
        )
        async with self._process.database.transaction(caller.tenant_id) as session:
            await KeyRepository(session, caller.tenant_id).add(key)
            await audited(session, caller, "api_key.create", "api_key", key.id, new=_audited(key))
        return ApiKeyCreated(**_recognised(key), key=secret.key)

    async def get(self, caller: Principal, key_id: UUID) -> ApiKeyView:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return self.view(await KeyRepository(session, caller.tenant_id).get(key_id))

    async def list(
        self, caller: Principal, page: Page, *, include_revoked: bool
    ) -> tuple[Listing[ApiKey], list[ApiKeyView]]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            found = await KeyRepository(session, caller.tenant_id).list(page, include_revoked=include_revoked)
        return found, [self.view(key) for key in found.rows]

    async def update(self, caller: Principal, key_id: UUID, wanted: ApiKeyUpdate) -> ApiKeyView:
        """Raises `InvalidInput` when a key would be given more than it has."""
        changes = {name: value for name, value in wanted.model_dump(exclude_unset=True).items() if value is not None}
        await self._check_rates(caller, wanted)
        async with self._process.database.transaction(caller.tenant_id) as session:
            keys = KeyRepository(session, caller.tenant_id)
            key = await keys.get(key_id, lock=True)
            old = _audited(key)
            _narrow(key, changes)
            for name, value in changes.items():
                setattr(key, name, value)
            await keys.add(key)
            await audited(session, caller, "api_key.update", "api_key", key.id, old=old, new=_audited(key))
        self._process.authenticator.forget(key_id)
        return self.view(key)

    async def rotate(self, caller: Principal, key_id: UUID, overlap_seconds: int) -> ApiKeyRotated:
        """A new key under the same id; the one so far works for `overlap_seconds` more, the one before it no more."""
        secret = self._new_secret()
        async with self._process.database.transaction(caller.tenant_id) as session:
            keys = KeyRepository(session, caller.tenant_id)
            key = await keys.get(key_id, lock=True)
            _check_held(caller, _effective(key.scopes, key.permissions))
            moment = now()
            key.previous_hash = key.key_hash if overlap_seconds else None
            key.previous_expires_at = moment + timedelta(seconds=overlap_seconds) if overlap_seconds else None
            key.key_hash, key.key_prefix, key.rotated_at = secret.hash, secret.prefix, moment
            await keys.add(key)
            until = {"overlap_seconds": overlap_seconds, "prefix": key.key_prefix}
            await audited(session, caller, "api_key.rotate", "api_key", key.id, new=until)
        self._process.authenticator.forget(key_id)
        return ApiKeyRotated(**_recognised(key), key=secret.key, previous_expires_at=key.previous_expires_at)

    async def revoke(self, caller: Principal, key_id: UUID) -> None:
        """It works nowhere any more, within a second."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            keys = KeyRepository(session, caller.tenant_id)
            key = await keys.get(key_id, lock=True)
            key.revoked_at, key.is_active = now(), False
            await keys.add(key)
            await audited(session, caller, "api_key.revoke", "api_key", key.id, old=_audited(key))
        self._process.authenticator.forget(key_id)

    def view(self, key: ApiKey) -> ApiKeyView:
        used = self._process.metering.last_use(key.id)
        overlaps = key.previous_expires_at is not None and key.previous_expires_at > now()
        return ApiKeyView(
            **key.model_dump(include=_SHOWN),
            prefix=key.key_prefix,
            masked_key=f"{key.key_prefix}…",
            permissions=sorted(_effective(key.scopes, key.permissions)),
            created_by=key.user_id,
            previous_expires_at=key.previous_expires_at if overlaps else None,
            # written every few seconds; what this process knows is newer
            last_used_at=max(filter(None, (key.last_used_at, used)), default=None),
        )

    def _new_secret(self) -> _Secret:
        settings = self._process.settings
        key = new_key(ENVIRONMENT_NAMES[settings.environment])
        return _Secret(key, visible_prefix(key), hash_key(settings.api_key_pepper.get_secret_value(), key))

    async def _check_rates(self, caller: Principal, wanted: ApiKeyCreate | ApiKeyUpdate) -> None:
        """A key may be given fewer requests than any key of its tenant has, not more."""
        most = await self._process.limits.of_executions(caller.tenant_id)
        given = (wanted.rate_limit_per_minute, wanted.rate_limit_per_hour)
        names = ("rate_limit_per_minute", "rate_limit_per_hour")
        problems = [
            Problem(name, f"Must be at most {limit}, which is what each key of the tenant has")
            for name, number, limit in zip(names, given, most, strict=True)
            if number is not None and limit is not None and number > limit
        ]
        if problems:
            raise _invalid(*problems)


_SHOWN = {
    *("id", "name", "scopes", "rate_limit_per_minute", "rate_limit_per_hour", "expires_at", "created_at"),
    *("rotated_at", "revoked_at", "is_active"),
}


def _recognised(key: ApiKey) -> dict[str, Any]:
    """What is told of a key beside the key itself."""
    return {**key.model_dump(include={"id", "name", "scopes", "expires_at"}), "prefix": key.key_prefix}


def _audited(key: ApiKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "prefix": key.key_prefix,
        "scopes": key.scopes,
        "permissions": key.permissions,
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
    }


def _effective(scopes: Iterable[str], permissions: Iterable[str] | None) -> frozenset[str]:
    given = permissions_of(frozenset(scopes))
    return given if permissions is None else given & frozenset(permissions)


def _in_order(scopes: Iterable[str]) -> list[str]:
    """Each scope once, the smallest first."""
    wanted = set(scopes)
    return [scope for scope in ("read", "write", "admin") if scope in wanted]


def _narrow(key: ApiKey, changes: dict[str, Any]) -> None:
    """Checks that a change takes away, and puts it into the form that is stored."""
    if "scopes" in changes:
        changes["scopes"] = _in_order(changes["scopes"])
    if "permissions" in changes:
        changes["permissions"] = sorted(set(changes["permissions"]))
    scopes = changes.get("scopes", key.scopes)
    if "permissions" in changes:
        _check_permissions(scopes, changes["permissions"])
    has = _effective(key.scopes, key.permissions)
    after = _effective(scopes, changes.get("permissions", key.permissions))
    if more := sorted(after - has):
        field = "permissions" if "permissions" in changes else "scopes"
        raise _invalid(Problem(field, f"Would give the key more than it has: {', '.join(more)}. Make another key"))
    _check_expiry(changes.get("expires_at"))
    later = key.expires_at is not None and changes.get("expires_at", key.expires_at) > key.expires_at
    if later:
        raise _invalid(Problem("expires_at", "Would give the key more time than it has. Make another key"))


def _check_permissions(scopes: Iterable[str], permissions: Iterable[str] | None) -> None:
    outside = sorted(frozenset(permissions or ()) - permissions_of(frozenset(scopes)))
    if outside:
        raise _invalid(Problem("permissions", f"Not among what the scopes give: {', '.join(outside)}"))


def _check_expiry(expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= now():
        raise _invalid(Problem("expires_at", "Must be in the future"))


def _check_held(caller: Principal, permissions: frozenset[str]) -> None:
    missing = sorted(permissions - caller.permissions)
    if missing:
        raise NotPermitted(
            f"Nobody makes a key that may do more than himself: you lack {', '.join(missing)}.", missing=missing
        )


def _invalid(*problems: Problem) -> InvalidInput:
    return InvalidInput(f"{problems[0].path}: {problems[0].message}.", problems)
