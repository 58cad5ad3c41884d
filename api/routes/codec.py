"""`/temporal/codec`: the remote codec of Temporal's Web UI (`--ui-codec-endpoint`) and command line (`--codec-endpoint`).

Takes a browser's session too, since the Web UI sends nothing else.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from api.auth.principal import Principal
from api.deps import Codec, requires
from api.schemas.codec import CodecPayloads

router = APIRouter(prefix="/temporal/codec", tags=["temporal"])


@router.post("/decode", response_model=CodecPayloads)
async def decode(
    body: CodecPayloads, codec: Codec, caller: Annotated[Principal, requires("payload:read")]
) -> CodecPayloads:
    """Opens what the tenant's keys open; everything else comes back as it is."""
    return CodecPayloads(payloads=await codec.decode(caller, body.payloads))


@router.post("/encode", response_model=CodecPayloads)
async def encode(
    body: CodecPayloads, codec: Codec, caller: Annotated[Principal, requires("payload:read")]
) -> CodecPayloads:
    """Seals with the tenant's newest key, as signals that are sent from a shell can be."""
    return CodecPayloads(payloads=await codec.encode(caller, body.payloads))
