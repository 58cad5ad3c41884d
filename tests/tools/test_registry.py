"""The registry: built-in tools, operators' functions, and what happens when one of them fails."""

from __future__ import annotations

import asyncio
import contextvars
import json
import sys
import textwrap
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel

from activities.adapters.base import ToolFailed
from activities.tools.functions import Tool, from_function
from activities.tools.names import BUILTIN_TOOLS
from activities.tools.registry import ToolRegistry
from activities.tools.undoing import Nature
from omium_core.errors import ConfigurationError

#: Visible to a tool only if the caller's context travels with the call.
step = contextvars.ContextVar("step", default="none")

ModuleWriter = Callable[[str, str], str]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleWriter:
    """Writes a module of an operator, importable for this test alone."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in set(sys.modules):
        if name.startswith("shop_"):
            monkeypatch.delitem(sys.modules, name)

    def write(name: str, source: str) -> str:
        (tmp_path / f"{name}.py").write_text("from omium.tools import tool\n" + textwrap.dedent(source))
        return name

    return write


def registry(*functions: Callable[..., Any]) -> ToolRegistry:
    return ToolRegistry([from_function(function) for function in functions])


def test_the_shipped_tools_are_those_the_api_knows() -> None:
    shipped = ToolRegistry.load([], [])
    assert shipped.names == BUILTIN_TOOLS
    for spec in shipped.specs(sorted(BUILTIN_TOOLS)):
        jsonschema.Draft202012Validator.check_schema(spec.parameters)
        assert spec.parameters["type"] == "object"
        assert spec.description
        assert "idempotency_key" not in spec.parameters["properties"]


async def test_shipped_tools_run() -> None:
    shipped = ToolRegistry.load([], [])
    assert await shipped.run("calculator", {"expression": "6 * 7"}, "k") == 42
    assert await shipped.run("json_query", {"data": {"a": [1, 2]}, "query": "a[1]"}, "k") == 2
    with pytest.raises(ToolFailed, match="not a public address"):
        await shipped.run("http_request", {"url": "http://127.0.0.1/"}, "k")


async def test_functions_of_an_operator(module: ModuleWriter) -> None:
    name = module(
        "shop_tools",
        '''
        from typing import Literal

        @tool
        def charge(customer: str, cents: int, idempotency_key: str, currency: Literal["EUR", "USD"] = "EUR") -> dict:
            """Charges a customer's card.

            Nothing is charged twice.

            Args:
                customer: number of the
                    customer
                cents (int): amount

            Returns:
                What was charged.
            """
            return {"customer": customer, "cents": cents, "currency": currency, "key": idempotency_key}

        @tool(name="look-up", description="Finds things.", reversible=True)
        async def find(what: str) -> list:
            return [what]

        def unmarked() -> None: ...
        ''',
    )
    tools = ToolRegistry.load([name], [])
    assert tools.names - BUILTIN_TOOLS == {"charge", "look-up"}
    charge, find = tools.specs(["charge", "look-up"])
    assert charge.description == "Charges a customer's card. Nothing is charged twice."
    assert charge.parameters == {
        "type": "object",
        "properties": {
            "customer": {"type": "string", "description": "number of the customer"},
            "cents": {"type": "integer", "description": "amount"},
            "currency": {"type": "string", "enum": ["EUR", "USD"], "default": "EUR"},
        },
        "required": ["customer", "cents"],
        "additionalProperties": False,
    }
    assert (find.description, tools.get("look-up").reversible, tools.get("charge").reversible) == (
        "Finds things.",
        True,
        None,
    )
    charged = await tools.run("charge", {"customer": "c1", "cents": 5}, "key-7")
    assert charged == {"customer": "c1", "cents": 5, "currency": "EUR", "key": "key-7"}
    assert await tools.run("look-up", {"what": "x"}, "k") == ["x"]


def test_two_tools_of_one_name_stop_the_start(module: ModuleWriter) -> None:
    first = module("shop_first", "@tool\ndef find(): ...")
    second = module("shop_second", "@tool\ndef find(): ...")
    with pytest.raises(ConfigurationError, match=r"'find': shop_first\.find and shop_second\.find"):
        ToolRegistry.load([first, second], [])
    with pytest.raises(ConfigurationError, match="'calculator'"):
        ToolRegistry.load([module("shop_own", "@tool\ndef calculator(): ...")], [])


def test_a_function_seen_from_two_modules_is_one_tool(module: ModuleWriter) -> None:
    first = module("shop_base", "@tool\ndef find(): ...")
    second = module("shop_again", "from shop_base import find")
    assert "find" in ToolRegistry.load([first, second, first], []).names


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
        ("import nowhere_at_all", "cannot be imported: ModuleNotFoundError"),
        ("@tool\ndef spread(*args): ...", "'spread' cannot be read.*'args'"),
        ("@tool\ndef spread(**kwargs): ...", "'spread' cannot be read.*'kwargs'"),
        ("@tool\ndef lost(a: 'Nowhere'): ...", "'lost' cannot be read.*Nowhere"),
        ("@tool\ndef odd(a: type(tool)): ...", "'odd' cannot be read"),
        ("@tool(name='no spaces')\ndef f(): ...", "'no spaces' cannot be used"),
    ],
)
def test_a_module_that_cannot_be_used_stops_the_start(module: ModuleWriter, source: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=f"(?s){told}"):
        ToolRegistry.load([module("shop_broken", source)], [])


def test_a_module_that_is_not_there() -> None:
    with pytest.raises(ConfigurationError, match="OMIUM_TOOL_MODULES names 'shop_nowhere'"):
        ToolRegistry.load(["shop_nowhere"], [])


def test_arguments_are_judged_with_paths() -> None:
    def order(items: list[int], json: dict[str, int], copy: bool = False) -> None: ...

    problems = registry(order).validate("order", {"items": [1, "x"], "copy": 3, "more": 1})
    assert {(problem.path, problem.message.partition(" is ")[2]) for problem in problems} >= {
        ("items[1]", "not of type 'integer'"),
        ("copy", "not of type 'boolean'"),
    }
    assert {problem.path for problem in problems} == {"items[1]", "copy", "more", "json"}
    assert registry(order).validate("order", {"items": [], "json": {"a": 1}}) == []


async def test_wrong_arguments_never_reach_the_tool() -> None:
    calls: list[int] = []

    def collect(number: int) -> None:
        calls.append(number)

    tools = registry(collect)
    with pytest.raises(ToolFailed, match=r"Wrong arguments for collect: number: 'x' is not of type 'integer'"):
        await tools.run("collect", {"number": "x"}, "k")
    assert calls == []


async def test_the_key_cannot_be_given_by_a_model() -> None:
    def pay(idempotency_key: str) -> str:
        return idempotency_key

    tools = registry(pay)
    assert await tools.run("pay", {}, "ours") == "ours"
    with pytest.raises(ToolFailed, match="idempotency_key: is not known"):
        await tools.run("pay", {"idempotency_key": "theirs"}, "ours")


class Item(BaseModel):
    price: float


def total(items: list[Item], day: date) -> str:
    return f"{sum(item.price for item in items)} on {day:%d.%m.%Y}"


async def test_arguments_become_the_types_of_the_signature() -> None:
    tools = registry(total)
    assert await tools.run("total", {"items": [{"price": 2}], "day": "2025-03-01"}, "k") == "2.0 on 01.03.2025"
    with pytest.raises(ToolFailed, match="Wrong arguments for total: day"):
        await tools.run("total", {"items": [], "day": "soon"}, "k")


async def test_a_blocking_tool_blocks_nobody_else() -> None:
    freed = threading.Event()

    def block() -> str:
        return "freed" if freed.wait(60) else "never freed"

    async def block_async() -> str:
        return block()

    def free() -> None:
        freed.set()

    tools = registry(block, block_async, free)
    waiting = [asyncio.create_task(tools.run(name, {}, "k")) for name in ["block", "block_async"] * 20]
    await asyncio.sleep(0)
    await tools.run("free", {}, "k")
    assert await asyncio.gather(*waiting) == ["freed"] * 40


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_the_callers_context_travels(kind: str) -> None:
    def which() -> str:
        return step.get()

    async def which_async() -> str:
        await asyncio.sleep(0)
        return step.get()

    step.set("step-3")
    assert await registry(which, which_async).run("which" if kind == "sync" else "which_async", {}, "k") == "step-3"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no such city"), "no such city"),
        (KeyError("city"), "KeyError: 'city'"),
        (RuntimeError(), "RuntimeError"),
        (SystemExit(3), "3"),
        (StopIteration("over"), "over"),
        (asyncio.CancelledError(), "CancelledError"),
        (ToolFailed("told so"), "told so"),
    ],
)
async def test_whatever_a_tool_raises_is_its_failure(error: BaseException, told: str) -> None:
    def fail() -> None:
        raise error

    async def fail_async() -> None:
        raise error

    for name in ("fail", "fail_async") if not isinstance(error, StopIteration) else ("fail",):
        with pytest.raises(ToolFailed) as caught:
            await registry(fail, fail_async).run(name, {}, "k")
        assert str(caught.value) == told


@pytest.mark.parametrize("result", [{1, 2}, object(), float("nan"), b"bytes", {"a": {(1, 2): 3}}, "\ud800"])
async def test_a_result_that_is_not_json_is_refused(result: Any) -> None:
    def give() -> Any:
        return result

    with pytest.raises(ToolFailed, match=r"'give' returned a .* that is not JSON data"):
        await registry(give).run("give", {}, "k")


async def test_a_result_is_what_json_makes_of_it() -> None:
    def give() -> Any:
        return {"pair": (1, None), 2: "ä\0"}

    result = await registry(give).run("give", {}, "k")
    assert result == json.loads(json.dumps(give()))


async def test_unknown_tool() -> None:
    tools = ToolRegistry.load([], [])
    for ask in (lambda: tools.get("nope"), lambda: tools.specs(["nope"]), lambda: tools.validate("nope", {})):
        with pytest.raises(ToolFailed, match=r"no tool 'nope'\. Registered are: calculator, http_request, json_query"):
            ask()


def test_sphinx_docstrings_are_read_too() -> None:
    def find(city: str) -> None:
        """Finds a city.

        :param city: its name
        """

    tool: Tool = from_function(find)
    assert tool.description == "Finds a city."
    assert tool.parameters["properties"]["city"]["description"] == "its name"


async def test_calls_that_change_the_world_say_how_they_are_undone(module: ModuleWriter) -> None:
    name = module(
        "shop_undo",
        """
        undone = []

        @tool(inverse="refund")
        def charge(customer: str, cents: int, currency: str = "EUR") -> dict:
            return {"charge_id": "c1", "cents": 0}

        @tool
        def refund(charge_id: str, cents: int, currency: str, result: dict, arguments: dict, idempotency_key: str, note: str = "-"):
            undone.append((charge_id, cents, currency, result, arguments, idempotency_key, note))

        def back(result: str):
            undone.append(result)
            return undone.append

        @tool(inverse=back)
        async def move(to: str) -> str:
            return "from " + to

        @tool(inverse=refund)
        def charge_more(cents: int) -> dict:
            return {}

        @tool(reversible=False)
        def send(text: str) -> None: ...

        @tool(reversible=True)
        def touch() -> None: ...
        """,
    )
    tools = ToolRegistry.load([name], [])
    assert tools.nature("calculator", {"expression": "1"}) is None
    assert tools.nature("refund", {}) is None
    assert tools.nature("charge", {}) == Nature(True, "refund")
    assert tools.nature("charge_more", {}) == Nature(True, "refund")
    assert tools.nature("move", {"to": "x"}) == Nature(True, "move.undo")
    assert (tools.nature("send", {}), tools.nature("touch", {})) == (Nature(False, None), Nature(True, None))
    for method in ("GET", "HEAD", "OPTIONS"):
        assert tools.nature("http_request", {"url": "http://x", "method": method}) is None
    assert tools.nature("http_request", {"url": "http://x"}) is None
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert tools.nature("http_request", {"url": "http://x", "method": method}) == Nature(False, None)

    assert "move.undo" not in tools.names
    for forbidden in (tools.get, lambda name: tools.specs([name])):
        with pytest.raises(ToolFailed):
            forbidden("move.undo")
    undone = sys.modules[name].undone
    arguments = {"customer": "a", "cents": 5}
    await tools.undo("charge", "refund", arguments, {"charge_id": "c1", "cents": 0}, "undo-k")
    assert undone.pop() == ("c1", 5, "EUR", {"charge_id": "c1", "cents": 0}, arguments, "undo-k", "-")
    await tools.undo("move", "move.undo", {"to": "x"}, "from x", "undo-k")
    assert undone.pop() == "from x"
    with pytest.raises(ToolFailed, match="charge_id"):
        await tools.undo("charge", "refund", arguments, {"cents": 0}, "undo-k")
    with pytest.raises(ToolFailed, match="no tool 'gone'"):
        await tools.undo("charge", "gone", arguments, {}, "undo-k")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ('@tool(inverse="nobody")\ndef a() -> dict: ...', "undone by 'nobody', which is not registered"),
        ("@tool(inverse=3)\ndef a() -> dict: ...", "neither a name nor a function"),
        ('@tool(inverse="b", reversible=False)\ndef a(): ...\n@tool\ndef b(): ...', "says that it is not reversible"),
        ('@tool(inverse="b")\ndef a(x: int) -> str: ...\n@tool\ndef b(y: int): ...', "parameter 'y'"),
        ("def b(*rest): ...\n@tool(inverse=b)\ndef a() -> dict: ...", "cannot be read"),
    ],
)
def test_inverses_that_cannot_work_are_found_at_once(module: ModuleWriter, source: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        ToolRegistry.load([module("shop_wrong", source)], [])


async def test_result_of_a_known_shape(module: ModuleWriter) -> None:
    source = """
    from typing_extensions import TypedDict

    class Charge(TypedDict):
        charge_id: str

    @tool(inverse="refund")
    def charge() -> Charge:
        return {"charge_id": "c1"}

    @tool
    def refund(PARAMETER: str) -> None: ...
    """
    right = module("shop_shape", source.replace("PARAMETER", "charge_id"))
    assert ToolRegistry.load([right], []).nature("charge", {}) == Nature(True, "refund")
    wrong = module("shop_other_shape", source.replace("PARAMETER", "charge_number"))
    with pytest.raises(ConfigurationError, match="charge_number"):
        ToolRegistry.load([wrong], [])
