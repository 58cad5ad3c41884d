"""Conditions and values in definitions (`when`, post-conditions), written in CEL: a language without loops, calls or side effects.

`docs/expressions.md` describes it for users. Sources and data come from users, so both are bounded, and what looks
expensive is evaluated in a process of its own that can be ended (`expression_process`).
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activities.adapters.base import Json
from activities.expression_cost import MAX_DATA_DEPTH, is_cheap, measure

if TYPE_CHECKING:
    import cel

MAX_SOURCE = 2_000
#: Characters of JSON that an expression may give.
MAX_RESULT = 1_000_000
#: Generous: it holds the start of an interpreter on a busy machine. The evaluation itself has a limit of its own.
_PROCESS_TIMEOUT = 20.0
_PROCESS = Path(__file__).with_name("expression_process.py")

_FUNCTIONS = frozenset(
    {"size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string", "bytes", "type", "dyn"}
    | {"timestamp", "duration", "getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"}
    | {"getHours", "getMinutes", "getSeconds", "getMilliseconds"}
)
_TYPE_NAMES = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"})
_BOUND_NAME = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_POSITION = re.compile(r"<input>:(\d+):(\d+): (.*)")
_NO_JSON = "It gives a value that is no JSON; string(...) makes a text of a timestamp or a duration."
_TOO_LARGE = "It gives more than 1 MB."
_KINDS = {"float": "double", "str": "string", "dict": "map", "NoneType": "null"}


class ExpressionError(ValueError):
    """A condition that is wrong or cannot be evaluated; the message is a sentence for its author."""


def scope(state: Mapping[str, Json], inputs: Json, output: Json = None) -> dict[str, Json]:
    """The names that conditions and templates may use: every field of the state, and `state`, `inputs`, `output`."""
    return {**state, "state": dict(state), "inputs": inputs, "output": output}


def check(source: str, *, gives_value: bool = False) -> str | None:
    """What is wrong with a condition, as far as its text tells; None if nothing is. `gives_value`: with an expression for `calculate`."""
    try:
        program = _compiled(source)
    except ExpressionError as error:
        return str(error)
    unknown = sorted(name for name in program.functions() if name.isidentifier() and name not in _FUNCTIONS)
    if unknown:
        return f"There is no function {unknown[0]!r}."
    if not program.variables() and is_cheap(source, measure({})):
        try:
            calculate(source, {}) if gives_value else evaluate(source, {})
        except ExpressionError as error:
            return str(error)
    return None


def variables(source: str) -> frozenset[str]:
    """The top-level names that a condition uses. `ExpressionError` if it cannot be read."""
    return frozenset(_compiled(source).variables()) - set(_BOUND_NAME.findall(source)) - _TYPE_NAMES


def evaluate(source: str, variables: Mapping[str, Json]) -> bool:
    """Whether a condition holds.

    `ExpressionError` if it cannot be read or evaluated, names what is not there, or gives no boolean. Takes a moment;
    over large data it may block for about a second, in which other threads run.
    """
    result = _result(source, variables)
    if not isinstance(result, bool):
        kind = type(result).__name__
        raise ExpressionError(f"A condition must give true or false; this one gives {_KINDS.get(kind, kind)}.")
    return result


def calculate(source: str, variables: Mapping[str, Json]) -> Json:
    """The value that an expression gives, as plain JSON. Bounds and errors are those of `evaluate`.

    A timestamp, a duration or bytes are no JSON: `string(...)` makes a text of them.
    """
    result = _result(source, variables)
    try:
        text = json.dumps(result, allow_nan=False)
    except (TypeError, ValueError):
        raise ExpressionError(_NO_JSON) from None
    if len(text) > MAX_RESULT:
        raise ExpressionError(_TOO_LARGE)
    return json.loads(text)


def _result(source: str, variables: Mapping[str, Json]) -> Any:
    program = _compiled(source)
    named = {name: variables[name] for name in program.variables() if name in variables}
    size = measure(named)
    if size.depth > MAX_DATA_DEPTH:
        raise ExpressionError(f"The data is nested more than {MAX_DATA_DEPTH} levels deep.")
    return _evaluate_here(program, named) if is_cheap(source, size) else _evaluate_apart(source, named)


@functools.lru_cache(maxsize=1024)
def _compiled(source: str) -> cel.Program:
    # Loaded late: the library brings a command line with it that takes half a second to import.
    import cel

    if len(source) > MAX_SOURCE:
        raise ExpressionError(f"A condition may have {MAX_SOURCE} characters; this one has {len(source)}.")
    try:
        return cel.compile(source)
    except ValueError as error:
        raise ExpressionError(_syntax_sentence(str(error))) from None


def _evaluate_here(program: cel.Program, named: dict[str, Json]) -> Any:
    try:
        return program.execute(named)
    except Exception as error:
        raise ExpressionError(_sentence(type(error).__name__, str(error), named)) from error


def _evaluate_apart(source: str, named: dict[str, Json]) -> Any:
    """The same, in a process of its own."""
    command = [sys.executable, "-I", str(_PROCESS)]
    asked = json.dumps({"source": source, "variables": named}).encode()
    try:
        done = subprocess.run(command, input=asked, capture_output=True, env={}, timeout=_PROCESS_TIMEOUT, check=True)
    except subprocess.SubprocessError as error:
        raise ExpressionError("The condition takes too much time or memory over this data.") from error
    answer: dict[str, Any] = json.loads(done.stdout)
    if "error" in answer:
        kind, message = answer["error"]
        raise ExpressionError(_sentence(kind, message, named))
    return answer["value"]


def _syntax_sentence(message: str) -> str:
    found = _POSITION.search(message)
    if found is None:
        return "The condition cannot be read."
    line, column, reason = found.groups()
    if "Recursion limit" in reason:
        reason = "nested too deeply"
    reason = reason.removeprefix("Syntax error: ").partition(" expecting ")[0]
    return f"Line {line}, column {column}: {reason.replace('<EOF>', 'end of the condition')}."


def _sentence(kind: str, message: str, named: Mapping[str, Json]) -> str:
    quoted = re.search(r"'([^']*)'", message)
    match kind:
        case "KeyError":
            return f"There is no field {message}."
        case "RuntimeError" if message.startswith("Undefined variable") and quoted:
            present = f" Present are: {', '.join(sorted(named))}." if named else ""
            return f"There is no {quoted[1]!r} here.{present}"
        case "TypeError":
            return (
                f"The types do not fit: {message.partition('. ')[0]}. 1 and 1.0 are of different types for + - * / %."
            )
        case "NoJson":
            return _NO_JSON
        case "TooLarge":
            return _TOO_LARGE
        case _:
            return f"It cannot be evaluated: {message.partition('. Check ')[0].splitlines()[0].rstrip('.:')}."
