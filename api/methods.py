"""Which methods the routes of a path have, for OPTIONS and for the answer to a method that is none of them."""

from __future__ import annotations

from starlette.routing import Match
from starlette.types import Scope

_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


def allowed_methods(scope: Scope) -> list[str]:
    """Empty where no route is. HEAD goes where GET goes."""
    # asked one by one, because a router that was included tells of its first route only
    found = {method for method in _METHODS if _has(scope, method)}
    if not found:
        return []
    return sorted(found | {"OPTIONS"} | ({"HEAD"} if "GET" in found else set()))


def _has(scope: Scope, method: str) -> bool:
    asked = {**scope, "method": method}
    return any(route.matches(asked)[0] is Match.FULL for route in scope["app"].router.routes)
