"""A limit for requests without a caller, such as a sign-in: by the address that sent them."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, Request

from api.wiring import Wiring


def limited_by_address(name: str, *, per_minute: int, per_hour: int | None = None) -> Any:
    """A dependency of a route: each address may send it so many requests. `name` is shared by routes that count together.

    Answers 429 `RATE_LIMIT_EXCEEDED` with `Retry-After`. The address is that of the sender, also behind a trusted proxy.
    """

    async def check(request: Request) -> None:
        process: Wiring = request.app.state.wiring
        await process.limits.check_address(name, request.state.origin.address, per_minute, per_hour)

    return Depends(check)
