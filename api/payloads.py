"""Who may see what goes into runs and what comes out of them.

Fields of answers that hold such content are declared `Payload[...]`, in a view that is `HoldsPayloads`. For a caller without
the permission `payload:read` they are null, and the view says `payloads_hidden`. The check of a route's permission
(`api.deps.requires`) says which it is; before anybody said so, everything is hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, GetCoreSchemaHandler, computed_field
from pydantic_core.core_schema import CoreSchema, wrap_serializer_function_ser_schema

from api.auth.principal import Principal
from omium_core.errors import NotPermitted

PERMISSION = "payload:read"

T = TypeVar("T")
_shown: ContextVar[bool] = ContextVar("omium_payloads_shown", default=False)


def show_payloads_to(caller: Principal) -> None:
    """From here on, answers of this request are written for this caller."""
    _shown.set(caller.may(PERMISSION))


def check_payloads(caller: Principal) -> None:
    """For what is nothing but payload. Raises `NotPermitted`."""
    if not caller.may(PERMISSION):
        raise NotPermitted(f"This needs the permission {PERMISSION}.", permission=PERMISSION)


@contextmanager
def for_ourselves() -> Iterator[None]:
    """Inside the block, views are written whole: for what is stored, and not shown to the caller."""
    token = _shown.set(True)
    try:
        yield
    finally:
        _shown.reset(token)


def _if_shown(value: Any, serialize: Callable[[Any], Any]) -> Any:
    return serialize(value) if _shown.get() else None


class _Hideable:
    """Writes null for who may not see; the API's description keeps the type."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler(source)
        serialization = wrap_serializer_function_ser_schema(_if_shown, schema=inner, return_schema=inner)
        return {**inner, "serialization": serialization}


#: A field that holds content of a run.
Payload = Annotated[T | None, _Hideable()]


class HoldsPayloads(BaseModel):
    """A view with fields that not everybody may see."""

    @computed_field(description="Whether fields are null because the caller lacks `payload:read`")  # type: ignore[prop-decorator]
    @property
    def payloads_hidden(self) -> bool:
        return not _shown.get()
