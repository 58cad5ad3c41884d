"""The tool `calculator`: arithmetic on numbers, bounded so that no expression can hold up or fill a worker.

`simpleeval` parses and walks the expression; the operators and functions here accept numbers only and refuse integers
beyond `MAX_BITS`, because one power of integers can take hours.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import simpleeval
from pydantic import Field

from activities.adapters.base import ToolFailed

#: Largest integer, about 3,000 decimal digits: more than a person asks for, less than Python refuses to print.
MAX_BITS = 10_000
_MAX_LENGTH = 1_000
#: Operations and calls inside one another. Our own bound: libraries move the interpreter's.
MAX_DEPTH = 300

Number = int | float


def calculator(
    expression: Annotated[str, Field(description="For example: (2 + 3) * sqrt(16) / 4", max_length=_MAX_LENGTH)],
) -> Number:
    """Calculates an arithmetic expression: + - * / // % **, parentheses, pi, e, tau, and the functions abs, round, floor,
    ceil, trunc, min, max, sum, sqrt, exp, log, log2, log10, sin, cos, tan, asin, acos, atan, atan2, sinh, cosh, tanh,
    degrees, radians, hypot, pow, factorial, gcd, comb."""
    if "^" in expression:
        raise ToolFailed("The operator ^ is not known here. Write ** for a power.")
    try:
        tree = ast.parse(expression.strip(), mode="eval")
        _check_depth(tree.body)
        result = _evaluator().eval(expression, previously_parsed=tree.body)
    except ToolFailed:
        raise
    except ZeroDivisionError as error:
        raise ToolFailed("The expression divides by zero.") from error
    except OverflowError as error:
        raise ToolFailed("A number in the expression is too large.") from error
    except (RecursionError, MemoryError) as error:
        raise ToolFailed("The expression is nested too deeply.") from error
    except SyntaxError as error:
        raise ToolFailed(f"This is not an arithmetic expression: {error.msg}.") from error
    except simpleeval.OperatorNotDefined as error:
        raise ToolFailed(f"The operator {type(error.attr).__name__} is not known here.") from error
    except (simpleeval.FunctionNotDefined, simpleeval.NameNotDefined) as error:
        unknown = error.func_name if isinstance(error, simpleeval.FunctionNotDefined) else error.name
        raise ToolFailed(f"{unknown!r} is not known here. Known are: {', '.join([*_NAMES, *_FUNCTIONS])}.") from error
    except (simpleeval.InvalidExpression, ValueError, TypeError, KeyError) as error:
        raise ToolFailed(f"The expression cannot be calculated: {error}") from error
    return _plain(result)


def _check_depth(tree: ast.expr) -> None:
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    raise ToolFailed("The expression is nested too deeply.")


def _plain(result: Any) -> Number:
    number = _number(result)
    if isinstance(number, float) and not math.isfinite(number):
        raise ToolFailed("The result is not a finite number.")
    return number


def _number(value: Any) -> Number:
    # bool is an int for Python, but True + True is no arithmetic.
    if isinstance(value, int) and not isinstance(value, bool):
        if value.bit_length() > MAX_BITS:
            raise ToolFailed("A number in the expression is too large.")
        return value
    if isinstance(value, float):
        return value
    raise ToolFailed(f"The calculator works on numbers only, not on a {type(value).__name__}.")


def _on_numbers(function: Callable[..., Any]) -> Callable[..., Number]:
    """The function with its arguments and its result checked."""
    return lambda *values: _number(function(*map(_number, values)))


def _on_lists(function: Callable[..., Any]) -> Callable[..., Number]:
    """The same for a function of many numbers, which may come as one list."""
    checked = _on_numbers(function)
    return lambda *values: checked(*(values[0] if len(values) == 1 and isinstance(values[0], list) else values))


def _power(base: Number, exponent: Number) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > 2 * MAX_BITS:
        raise ToolFailed(f"The power {_shown(base)} ** {_shown(exponent)} is too large.")
    return base**exponent


def _factorial(value: Number) -> int:
    if not isinstance(value, int) or value > MAX_BITS // 10:
        raise ToolFailed(f"factorial needs a whole number up to {MAX_BITS // 10}.")
    return math.factorial(value)


def _comb(total: int, chosen: int) -> int:
    if total > MAX_BITS:
        raise ToolFailed(f"comb needs whole numbers up to {MAX_BITS}.")
    return math.comb(total, chosen)


def _round(value: Number, digits: int = 0) -> Number:
    return round(value, digits) if digits else round(value)


def _shown(value: Number) -> str:
    return str(value) if abs(value) < 10**20 else "(large number)"


_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: _on_numbers(operator.add),
    ast.Sub: _on_numbers(operator.sub),
    ast.Mult: _on_numbers(operator.mul),
    ast.Div: _on_numbers(operator.truediv),
    ast.FloorDiv: _on_numbers(operator.floordiv),
    ast.Mod: _on_numbers(operator.mod),
    ast.Pow: _on_numbers(_power),
    ast.USub: _on_numbers(operator.neg),
    ast.UAdd: _on_numbers(operator.pos),
}
_OWN_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "round": _round,
    "pow": _power,
    "factorial": _factorial,
    "comb": _comb,
}
_MATH_FUNCTIONS = (
    *("floor", "ceil", "trunc", "sqrt", "exp", "log", "log2", "log10", "hypot", "gcd"),
    *("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "degrees", "radians"),
)
_LIST_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "min": lambda *values: min(values),
    "max": lambda *values: max(values),
    "sum": lambda *values: sum(values),
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **{name: _on_numbers(getattr(math, name)) for name in _MATH_FUNCTIONS},
    **{name: _on_numbers(function) for name, function in _OWN_FUNCTIONS.items()},
    **{name: _on_lists(function) for name, function in _LIST_FUNCTIONS.items()},
}
_NAMES: Mapping[str, float] = {"pi": math.pi, "e": math.e, "tau": math.tau}
_NODES = (ast.Expr, ast.Constant, ast.UnaryOp, ast.BinOp, ast.Call, ast.Name, ast.List, ast.Tuple)


def _evaluator() -> simpleeval.EvalWithCompoundTypes:
    """An evaluator that knows arithmetic and nothing else: no attributes, no subscripts, no comprehensions."""
    evaluator = simpleeval.EvalWithCompoundTypes(
        operators=dict(_OPERATORS), functions=dict(_FUNCTIONS), names=dict(_NAMES)
    )
    evaluator.nodes = {kind: handler for kind, handler in evaluator.nodes.items() if kind in _NODES}
    return evaluator
