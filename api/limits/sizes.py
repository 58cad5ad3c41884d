"""How large the inputs of an execution may be."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from omium_core.errors import PayloadTooLarge
from omium_core.settings import Settings


def check_input_size(settings: Settings, inputs: dict[str, Any] | None, field: str = "inputs") -> None:
    """Raises `PayloadTooLarge`, which names the field. Takes JSON that can be stored."""
    size = len(to_json(inputs)) if inputs else 0
    if size > settings.max_input_bytes:
        message = f"{field}: Has {size} bytes as JSON; at most {settings.max_input_bytes} are taken."
        raise PayloadTooLarge(
            message,
            field=field,
            size_bytes=size,
            limit_bytes=settings.max_input_bytes,
            errors=[{"path": field, "message": message.removeprefix(f"{field}: ")}],
        )
