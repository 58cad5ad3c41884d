"""Refusals in Stripe's own shape."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """An answer that is an error: `{"error": {"type", "code", "message", ...}}`."""

    def __init__(self, status: int, kind: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": kind, "message": message, **more}}


def missing(kind: str, found: str, param: str = "id") -> Refusal:
    return Refusal(404, "invalid_request_error", f"No such {kind}: '{found}'", code="resource_missing", param=param)


def invalid(message: str, param: str, code: str | None = None) -> Refusal:
    more = {"param": param} if code is None else {"param": param, "code": code}
    return Refusal(400, "invalid_request_error", message, **more)


def declined(code: str, decline_code: str | None, intent: dict[str, Any]) -> Refusal:
    messages = {
        "card_declined": "Your card was declined.",
        "authentication_required": "Your card was declined. This transaction requires authentication.",
    }
    return Refusal(
        402,
        "card_error",
        messages.get(code, "Your card was declined."),
        code=code,
        decline_code=decline_code or code,
        payment_intent=intent,
    )
