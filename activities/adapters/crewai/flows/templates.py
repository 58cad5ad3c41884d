"""Templates of CrewAI's flows: texts with `${...}`, each of which is a CEL expression. Pure.

A text that is exactly one `${...}` gives the value itself, so that a list stays a list; beside other text, values that are no
texts become JSON, and null becomes nothing. Evaluated by the platform's own CEL, which is bounded in time and memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

from activities.adapters.base import Json
from activities.expressions import MAX_SOURCE, ExpressionError

#: What a brace inside an expression may hide in, and the braces that count.
_TOKEN = re.compile(
    r"""[rRbB]{0,2}("{3}.*?"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|[{}]""",
    re.DOTALL,
)
_STRING = re.compile(_TOKEN.pattern.removesuffix("|[{}]"), re.DOTALL)
_MAX_DEPTH = 50


class Source(str):
    """The source of one expression of a template."""


def texts_of(template: Json, path: str) -> Iterator[tuple[str, str]]:
    """All texts inside a template, with their paths. `ExpressionError` if it is nested too deeply."""
    found: list[tuple[str, str]] = []

    def note(text: str, where: str) -> Json:
        found.append((where, text))
        return None

    _walk(template, path, note, 0)
    yield from found


def expressions_of(text: str) -> list[str]:
    """The sources of the expressions in a text. `ExpressionError` where one does not end or is empty."""
    return [part for part in _parts(text) if isinstance(part, Source)]


def bare(source: str) -> str:
    """An expression without the `${...}` that may stand around it."""
    text = source.strip()
    return text[2:-1].strip() if text.startswith("${") and text.endswith("}") else text


def without_strings(source: str) -> str:
    """An expression whose texts are empty, to look for names in it."""
    return _STRING.sub("''", source)


def rendered(template: Json, path: str, calculate: Callable[[str], Json]) -> Json:
    """The template filled in with what `calculate` makes of its expressions; `ExpressionError` names the path of what cannot be."""

    def fill(text: str, where: str) -> Json:
        try:
            return _filled(text, calculate)
        except ExpressionError as error:
            raise ExpressionError(f"{where}: {error}") from error

    return _walk(template, path, fill, 0)


def _walk(template: Json, path: str, change: Callable[[str, str], Json], depth: int) -> Json:
    if depth > _MAX_DEPTH:
        raise ExpressionError(f"{path}: This is nested more than {_MAX_DEPTH} levels deep.")
    if isinstance(template, str):
        return change(template, path)
    if isinstance(template, list):
        return [_walk(item, f"{path}[{index}]", change, depth + 1) for index, item in enumerate(template)]
    if isinstance(template, dict):
        return {key: _walk(item, f"{path}.{key}", change, depth + 1) for key, item in template.items()}
    return template


def _filled(text: str, calculate: Callable[[str], Json]) -> Json:
    parts = _parts(text)
    sources = [part for part in parts if isinstance(part, Source)]
    if len(sources) == 1 and not "".join(part for part in parts if not isinstance(part, Source)).strip():
        return calculate(sources[0])
    return "".join(_text(calculate(part)) if isinstance(part, Source) else part for part in parts)


def _text(value: Json) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _parts(text: str) -> list[str]:
    """The text in pieces: plain ones, and the `Source`s of its expressions."""
    parts: list[str] = []
    at = 0
    while (start := text.find("${", at)) >= 0:
        end = _end(text, start + 2)
        source = text[start + 2 : end].strip()
        if not source:
            raise ExpressionError("There is nothing between ${ and }.")
        parts += [text[at:start], Source(source)]
        at = end + 1
    return [*parts, text[at:]]


def _end(text: str, start: int) -> int:
    depth = 1
    for token in _TOKEN.finditer(text, start, start + MAX_SOURCE + 1):
        if token[0] in ("{", "}"):
            depth += 1 if token[0] == "{" else -1
            if depth == 0:
                return token.start()
    raise ExpressionError(f"A ${{ is not closed by }} within {MAX_SOURCE} characters.")
