"""Health and metrics, for machines that keep the API running. Open to everybody who reaches the port."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest

from api.deps import Process
from api.wiring import Wiring

log = structlog.get_logger(__name__)
router = APIRouter(tags=["health"])

PATIENCE = 3.0


@router.get("/health/live")
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/health/ready", responses={503: {"description": "A part does not answer"}})
async def ready(process: Process) -> JSONResponse:
    """What the process needs answers too; 503 names the part that does not."""
    names = ("database", "temporal")
    results = await asyncio.gather(_database(process), _temporal(process), return_exceptions=True)
    checks: dict[str, str] = {}
    for name, result in zip(names, results, strict=True):
        checks[name] = "does not answer" if isinstance(result, BaseException) else "ok"
        if isinstance(result, BaseException):
            # addresses and logins are for the log: anybody may ask this
            log.warning("a part does not answer", part=name, error=f"{type(result).__name__}: {result}"[:200])
    well = all(check == "ok" for check in checks.values())
    return JSONResponse({"status": "ok" if well else "unavailable", "checks": checks}, 200 if well else 503)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics() -> Response:
    """Prometheus text."""
    return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})


async def _database(process: Wiring) -> None:
    async with asyncio.timeout(PATIENCE), process.database.system() as session:
        await session.execute(text("SELECT 1"))


async def _temporal(process: Wiring) -> None:
    request = DescribeNamespaceRequest(namespace=process.settings.temporal_namespace)
    async with asyncio.timeout(PATIENCE):
        await process.temporal.workflow_service.describe_namespace(request, timeout=timedelta(seconds=PATIENCE))
