"""The other side of `benchmarks.api`: one FastAPI route, one SELECT, and nothing else. `python -m benchmarks.bare_api <port> <database>`.

No key, no tenant, no sealed value, no middleware: the row as the database has it. Bytes become base64.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import uvicorn
from fastapi import FastAPI, HTTPException
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from models.repositories.execution_reads import QUERY

SELECT = text(QUERY.replace("$1", ":tenant").replace("$2", ":execution"))


def make(url: str) -> FastAPI:
    engine: AsyncEngine = create_async_engine(url, pool_size=10, max_overflow=10)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)

    @app.get("/tenants/{tenant_id}/executions/{execution_id}")
    async def get(tenant_id: UUID, execution_id: UUID) -> dict[str, Any]:
        async with engine.connect() as connection:
            found = await connection.execute(SELECT, {"tenant": tenant_id, "execution": execution_id})
            row = found.mappings().one_or_none()
        if row is None:
            raise HTTPException(404)
        return {name: _plain(value) for name, value in row.items()}

    return app


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    uvicorn.run(make(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
