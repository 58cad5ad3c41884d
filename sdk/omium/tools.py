"""Marks Python functions as tools that agents may call.

Name the module in `OMIUM_TOOL_MODULES` of the workers, and every function in it that carries the mark is registered.

    from omium import tool

    @tool
    def exchange_rate(base: str, target: str) -> float:
        \"\"\"The current price of one unit of a currency in another one.

        Args:
            base: three-letter code of the currency to price
            target: three-letter code of the currency to express it in
        \"\"\"
        ...

The arguments' schema comes from the signature, the texts from the docstring. A parameter named `idempotency_key` is not
shown to the model: it receives a text that stays the same when a call is tried again, so that a payment is made once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

Function = TypeVar("Function", bound=Callable[..., Any])

#: The attribute that the workers look for. A plain dictionary, so that they need not know this package.
MARK = "__omium_tool__"


@overload
def tool(function: Function, /) -> Function: ...


@overload
def tool(
    *, name: str | None = None, description: str | None = None, reversible: bool = False
) -> Callable[[Function], Function]: ...


def tool(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    reversible: bool = False,
) -> Function | Callable[[Function], Function]:
    """Marks a function (sync or async) as a tool; the function itself stays as it is.

    `name` (default: the function's) is what definitions and models call it: letters, digits, `_` and `-`, at most 64.
    `description` (default: the docstring's beginning) tells a model when to use it. `reversible` says that repeating or
    undoing a call does no harm.
    """

    def mark(marked: Function) -> Function:
        setattr(marked, MARK, {"name": name, "description": description, "reversible": reversible})
        return marked

    return mark if function is None else mark(function)
