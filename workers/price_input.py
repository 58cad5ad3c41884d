"""A price as an operator writes it down: JSON, in credits."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from omium_core.errors import InvalidInput, Problem

#: What a price is for, and whether that has a name.
KINDS = {"model": True, "tool": True, "step": False, "storage": False}
AMOUNTS = ("per_call", "input_per_1m", "cached_per_1m", "output_per_1m")
#: Of a model alone: nothing else counts tokens.
_OF_MODELS = ("input_per_1m", "cached_per_1m", "output_per_1m", "max_output_tokens")
_KNOWN = (*KINDS, *AMOUNTS, "max_output_tokens", "effective_from", "tenant")
_MOST = 10**9
_LONGEST = 255
_MOST_TOKENS = 2**31 - 1


def read_price(text: str) -> dict[str, Any]:
    """The columns of a price, and `tenant` as it was named.

    Raises `InvalidInput`, whose problems name the fields: an unknown one, an amount that is no number from 0 on with up to
    six decimals. Exact numbers may be strings; null says nothing.
    """
    given = _object(text)
    problems = [
        Problem(name, f"is no field of a price; there are {', '.join(_KNOWN)}") for name in given.keys() - {*_KNOWN}
    ]
    kinds = [kind for kind in KINDS if kind in given]
    if len(kinds) != 1:
        problems.append(Problem(kinds[1] if kinds else "model", f"say one of {', '.join(KINDS)}"))
    elif (problem := _name_problem(kinds[0], given[kinds[0]])) is not None:
        problems.append(Problem(kinds[0], problem))
    elif kinds[0] != "model":
        problems += [Problem(name, "is for models alone") for name in _OF_MODELS if name in given]
    amounts = {name: _number(given[name]) for name in AMOUNTS if given.get(name) is not None}
    problems += [Problem(name, problem) for name, value in amounts.items() if (problem := amount_problem(value))]
    if not amounts:
        problems.append(Problem("per_call", f"say at least one of {', '.join(AMOUNTS)}"))
    limit = given.get("max_output_tokens")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= _MOST_TOKENS):
        problems.append(Problem("max_output_tokens", "must be a whole number from 1 on"))
    tenant = given.get("tenant")
    if tenant is not None and (not isinstance(tenant, str) or not tenant):
        problems.append(Problem("tenant", "must be the slug or the id of a tenant"))
    begins = _moment(given.get("effective_from"), problems)
    if problems:
        raise refusal(problems)
    kind = kinds[0]
    price = {"kind": kind, "name": given[kind] if KINDS[kind] else "", "tenant": tenant, "max_output_tokens": limit}
    price |= {name: Decimal(value) for name, value in amounts.items()}
    return price if begins is None else {**price, "effective_from": begins}


def refusal(problems: list[Problem]) -> InvalidInput:
    """All problems in one sentence, for people."""
    return InvalidInput("; ".join(f"{problem.path}: {problem.message}" for problem in problems) + ".", problems)


def amount_problem(value: Any) -> str | None:
    """What is wrong with an amount of credits that cannot be below zero."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return "must be a number"
    amount = Decimal(value)
    if not amount.is_finite() or amount < 0:
        return "must be a number from 0 on"
    if amount > _MOST:
        return f"must be {_MOST} at most"
    if amount != round(amount, 6):
        return "must have six decimals at most"
    return None


def _number(value: Any) -> Any:
    """A decimal number that was written as a string, as which exact ones travel in JSON; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return Decimal(value)
    except ArithmeticError:
        return value


def _object(text: str) -> dict[str, Any]:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in found]
        twice = [Problem(name, "is there twice") for name in names if names.count(name) > 1]
        if twice:
            raise refusal(twice[:1])
        return dict(found)

    try:
        # NaN and Infinity are read as what they are, so that the field is named
        given = json.loads(text, parse_float=Decimal, parse_constant=Decimal, object_pairs_hook=pairs)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise InvalidInput(f"A price is a JSON object: {error}.") from error
    if not isinstance(given, dict):
        raise InvalidInput('A price is a JSON object, as {"model": "small", "input_per_1m": 15, "output_per_1m": 60}.')
    return given


def _name_problem(kind: str, value: Any) -> str | None:
    if not KINDS[kind]:
        return None if value is True or value == "" else "has no name: write true"
    if not isinstance(value, str) or not value.strip():
        return f"must be the name of a {kind}"
    if value != value.strip():
        return "must not begin or end with a blank"
    if len(value) > _LONGEST or not value.isprintable():
        return f"must be up to {_LONGEST} printable characters"
    return None


def _moment(value: Any, problems: list[Problem]) -> datetime | None:
    if value is None:
        return None
    try:
        return in_utc(value)
    except (TypeError, ValueError, OverflowError):
        problems.append(Problem("effective_from", "must be a time in ISO 8601, such as 2026-01-31T12:00:00Z"))
        return None


def in_utc(value: str) -> datetime:
    """A time in ISO 8601; UTC where no zone is given. Raises `TypeError`, `ValueError`, `OverflowError`."""
    found = datetime.fromisoformat(value)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
