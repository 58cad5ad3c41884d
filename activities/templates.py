"""Templates in definitions (prompts, arguments of tools), written in Liquid. `docs/expressions.md` describes them for users.

Templates and data come from users: both are bounded, and data is never read as a template.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from liquid.exceptions import LiquidError, LiquidInterrupt

from activities.adapters.base import Json
from activities.template_engine import MAX_OUTPUT, Template, TemplateEnvironment, plain

MAX_SOURCE = 100_000
#: Characters between the opening and the closing of one tag.
MAX_TAG = 1_000
_MAX_VALUE_DEPTH = 100

_OPENING = re.compile(r"\{\{|\{%")
_BLOCKS = {
    name: (re.compile(rf"\{{%-?\s{{0,50}}{name}\b"), re.compile(rf"\{{%-?\s{{0,50}}end{name}\s{{0,50}}-?%\}}"))
    for name in ("raw", "doc")
}

_environment = TemplateEnvironment(strict_filters=True)


class TemplateError(ValueError):
    """A template that is wrong or cannot be filled; the message is a sentence for its author."""


def check(source: str) -> str | None:
    """What is wrong with a template, as far as its text tells; None if nothing is."""
    try:
        template = _parsed(source)
    except TemplateError as error:
        return str(error)
    unknown = sorted(set(template.filter_names()) - set(_environment.filters))
    return f"There is no filter {unknown[0]!r}." if unknown else None


def variables(source: str) -> frozenset[str]:
    """The top-level names that a template uses and does not set itself. `TemplateError` if it cannot be read."""
    return frozenset(_parsed(source).global_variables())


def render(source: str, variables: Mapping[str, Json]) -> str:
    """The text that a template gives. What is not there is empty; lists and maps are JSON.

    `TemplateError` if it cannot be read or filled, or gives more than 1 MB.
    """
    template = _parsed(source)
    try:
        return template.render(variables)
    except (LiquidError, LiquidInterrupt, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise TemplateError(_sentence(error)) from error


def render_value(value: Json, variables: Mapping[str, Json]) -> Json:
    """JSON data with every text inside it rendered; keys stay as they are.

    A text that is exactly one `{{ ... }}` gives the value itself, so that a number stays a number; what is not there is
    null. `TemplateError` as in `render`; the texts of one value may be 1 MB together.
    """
    return _Filler(variables).fill(value)


class _Filler:
    def __init__(self, variables: Mapping[str, Json]) -> None:
        self._variables = variables
        self._left = MAX_OUTPUT

    def fill(self, value: Json, depth: int = 0) -> Json:
        if depth > _MAX_VALUE_DEPTH:
            raise TemplateError(f"The value is nested more than {_MAX_VALUE_DEPTH} levels deep.")
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            return [self.fill(item, depth + 1) for item in value]
        if isinstance(value, dict):
            return {key: self.fill(item, depth + 1) for key, item in value.items()}
        return value

    def _text(self, source: str) -> Json:
        template = _parsed(source)
        if template.is_one_value:
            try:
                return plain(template.value(self._variables))
            except (LiquidError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
                raise TemplateError(_sentence(error)) from error
        text = render(source, self._variables)
        self._left -= len(text)
        if self._left < 0:
            raise TemplateError("The texts of the value are larger than 1 MB together.")
        return text


@functools.lru_cache(maxsize=1024)
def _parsed(source: str) -> Template:
    if len(source) > MAX_SOURCE:
        raise TemplateError(f"A template may have {MAX_SOURCE} characters; this one has {len(source)}.")
    _refuse_what_is_not_closed(source)
    try:
        template = _environment.from_string(source)
    except (LiquidError, LiquidInterrupt, ValueError, RecursionError) as error:
        raise TemplateError(_sentence(error)) from error
    assert isinstance(template, Template)
    template.length = len(source)
    return template


def _refuse_what_is_not_closed(source: str) -> None:
    """The library looks for the end of each tag up to the end of the text, which takes minutes if there is none."""
    for opening in _OPENING.finditer(source):
        closing = "}}" if opening[0] == "{{" else "%}"
        if source.find(closing, opening.end(), opening.end() + MAX_TAG) < 0:
            raise TemplateError(
                f"{_place(source, opening.start())}: {opening[0]} is not closed by {closing} within {MAX_TAG} characters."
            )
    for name, (start, end) in _BLOCKS.items():
        last = max((opening.end() for opening in start.finditer(source)), default=None)
        if last is not None and not end.search(source, last):
            raise TemplateError(f"{{% {name} %}} is not closed by {{% end{name} %}}.")


def _place(source: str, index: int) -> str:
    before = source[:index]
    return f"Line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"


def _sentence(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "The template or its data is nested too deeply."
    if not isinstance(error, LiquidError):
        return f"The template cannot be filled: {error}."
    reason = str(error.message).rstrip(".")
    token = error.token
    if token is None or not 0 <= token.start_index < len(token.source):
        return f"{reason[:1].upper()}{reason[1:]}."
    return f"{_place(token.source, token.start_index)}: {reason}."
