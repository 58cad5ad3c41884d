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

A tool that changes the world says how it is undone when a run is rolled back:

    @tool(inverse="refund")
    def charge(customer: str, cents: int, idempotency_key: str) -> dict: ...

    @tool
    def refund(customer: str, cents: int, result: dict, idempotency_key: str) -> None: ...

The inverse is given, by the names of its parameters: `result` (what the call returned), `arguments` (what it was called
with), `idempotency_key` (its own, the same in each attempt), else an argument of the call, else a field of its result.
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
    *,
    name: str | None = None,
    description: str | None = None,
    reversible: bool | None = None,
    inverse: str | Callable[..., Any] | None = None,
) -> Callable[[Function], Function]: ...


def tool(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    reversible: bool | None = None,
    inverse: str | Callable[..., Any] | None = None,
) -> Function | Callable[[Function], Function]:
    """Marks a function (sync or async) as a tool; the function itself stays as it is.

    `name` (default: the function's) is what definitions and models call it: letters, digits, `_` and `-`, at most 64.
    `description` (default: the docstring's beginning) tells a model when to use it. `inverse` is the name of the tool that
    undoes a call, or a function that does. `reversible=True` without one says that nothing has to be done to undo a call,
    `reversible=False` that it cannot be undone: then a rollback behind it asks for a confirmation. Without either, calls
    are taken to change nothing.
    """

    def mark(marked: Function) -> Function:
        said = {"name": name, "description": description, "reversible": reversible, "inverse": inverse}
        setattr(marked, MARK, said)
        return marked

    return mark if function is None else mark(function)
