"""`/webhooks/stripe`: what Stripe tells. Open to everybody, and good for nobody without the secret that signs it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request

from api.deps import StripeInbox
from api.schemas.billing_payments import EventReceived

router = APIRouter(prefix="/webhooks", tags=["billing"])

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "An event as Stripe writes it, byte for byte: the signature is over its bytes.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["id", "type"],
                    "properties": {"id": {"type": "string", "maxLength": 255}, "type": {"type": "string"}},
                }
            }
        },
    }
}


@router.post("/stripe", response_model=EventReceived, openapi_extra=_BODY)
async def receive(
    request: Request,
    inbox: StripeInbox,
    stripe_signature: Annotated[str | None, Header(description="`t=<time>,v1=<signature>`, as Stripe signs")] = None,
) -> EventReceived:
    """Stores an event of Stripe, once, and answers before anything comes of it."""
    return EventReceived(received=await inbox.receive(await request.body(), stripe_signature))
