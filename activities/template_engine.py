"""Liquid, cut down to what a template in a definition may do: write a text out of data, in bounded time and memory.

Left out are tags that load other templates, and everything that depends on the clock: a step that is taken up again must
write the same prompt, or its model call would not be found in the journal. Added is a budget of work, because the
library's own limits count neither what a filter makes nor loops that follow each other.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from liquid import BoundTemplate, Environment, RenderContext, Token
from liquid.builtin.output import Output, OutputNode
from liquid.builtin.tags.echo_tag import EchoNode, EchoTag
from liquid.builtin.tags.for_tag import ForLoop
from liquid.builtin.tags.tablerow_tag import TableRow
from liquid.exceptions import ResourceLimitError
from liquid.stringify import to_liquid_string
from liquid.undefined import Undefined
from liquid.utils import ReadOnlyChainMap

MAX_OUTPUT = 1024 * 1024
MAX_ROUNDS = 10_000
#: Steps of about a microsecond that one rendering may take.
_WORK = 3_000_000
#: Characters of a template that stand for one step in each round of a loop around them.
_CHARACTERS_A_STEP = 16
_MAX_INTEGER_BITS = 4_096

_REFUSED_TAGS = ("include", "render")
_REFUSED_FILTERS = ("date", "safe", "escapejs")
#: Filters that read whatever they get as text.
_TEXT_FILTERS = frozenset(
    {"append", "prepend", "capitalize", "downcase", "upcase", "strip", "lstrip", "rstrip", "squish", "truncate"}
    | {"truncatewords", "replace", "replace_first", "replace_last", "remove", "remove_first", "remove_last", "escape"}
    | {"escape_once", "newline_to_br", "strip_html", "strip_newlines", "url_encode", "url_decode", "base64_encode"}
    | {"base64_decode", "base64_url_safe_encode", "base64_url_safe_decode"}
)


class OutOfBounds(ResourceLimitError):
    """A template that would work too long or make too much."""


class Context(RenderContext):
    """What one rendering knows, and what it has left to spend."""

    __slots__ = ("_work",)

    def __init__(self, template: BoundTemplate, **options: Any) -> None:
        super().__init__(template, **options)
        # Without the library's `now` and `today`.
        self.scope = ReadOnlyChainMap(self.locals, self.globals, self.counters)
        self._work = _WORK

    def spend(self, steps: int) -> None:
        self._work -= steps
        if self._work < 0:
            raise OutOfBounds("the template does too much work over this data", token=None)

    @contextmanager
    def loop(self, namespace: Mapping[str, object], forloop: ForLoop | TableRow) -> Iterator[RenderContext]:
        assert isinstance(self.template, Template)
        self.spend(forloop.length * (1 + self.template.length // _CHARACTERS_A_STEP))
        with super().loop(namespace, forloop) as context:
            yield context

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        function = super().filter(name, token)

        @functools.wraps(function)
        def bounded(left: object, *arguments: Any, **named: Any) -> object:
            if name in _TEXT_FILTERS:
                left, arguments = _as_argument(left), tuple(map(_as_argument, arguments))
            elif name == "join" and isinstance(left, list | tuple):
                left = [as_text(item) for item in left]
            for value in (left, *arguments):
                self.spend(1 + _size(value))
            self.spend(_growth(name, left, arguments))
            result = function(left, *arguments, **named)
            self.spend(_size(result))
            return result

        return bounded


class Template(BoundTemplate):
    """A parsed template."""

    context_class = Context
    #: Characters of its source.
    length = 0

    def value(self, variables: Mapping[str, object]) -> object:
        """What the template's only output gives, before it becomes text."""
        (node,) = self.nodes
        assert isinstance(node, OutputNode)
        return node.expression.evaluate(self.context_class(self, globals=variables))

    @property
    def is_one_value(self) -> bool:
        """Whether the template is one `{{ ... }}` and nothing around it."""
        return len(self.nodes) == 1 and type(self.nodes[0]) is _JsonOutputNode


class _JsonOutputNode(OutputNode):
    """Writes lists and maps as JSON, where the library writes Python."""

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        return buffer.write(as_text(self.expression.evaluate(context)))


class _JsonEchoNode(EchoNode):
    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        return buffer.write(as_text(self.expression.evaluate(context)))


class _Output(Output):
    node_class = _JsonOutputNode


class _Echo(EchoTag):
    node_class = _JsonEchoNode


class TemplateEnvironment(Environment):
    """The language: its tags, its filters, its limits."""

    template_class = Template
    loop_iteration_limit = MAX_ROUNDS
    local_namespace_limit = MAX_OUTPUT
    output_stream_limit = MAX_OUTPUT

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        for tag in _REFUSED_TAGS:
            del self.tags[tag]
        for name in _REFUSED_FILTERS:
            del self.filters[name]
        self.add_tag(_Output)
        self.add_tag(_Echo)
        self.add_filter("json", as_json)


def as_json(value: object) -> str:
    """A value as JSON text."""
    return json.dumps(plain(value), ensure_ascii=False)


def as_text(value: object) -> str:
    """A value as it stands in a text."""
    if isinstance(value, list | tuple | dict):
        return as_json(value)
    return to_liquid_string(value, autoescape=False)


def _as_argument(value: object) -> object:
    return as_json(value) if isinstance(value, list | tuple | dict) else value


def plain(value: object) -> Any:
    """A value as JSON data: what is undefined is null, a range is a list, anything of the library's own is text."""
    match value:
        case None | bool() | int() | str():
            return str(value) if isinstance(value, str) else value
        case float():
            return value if math.isfinite(value) else str(value)
        case Undefined():
            return None
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | range():
            return [plain(item) for item in value]
        case _:
            return str(value)


def _size(value: object) -> int:
    """Steps to touch a value once."""
    if isinstance(value, str):
        return len(value) // _CHARACTERS_A_STEP
    if isinstance(value, int):
        if value.bit_length() > _MAX_INTEGER_BITS:
            raise OutOfBounds("a number in the template is too large", token=None)
        return 0
    return len(value) if isinstance(value, list | tuple | dict | range) else 0


def _growth(name: str, left: object, arguments: Sequence[Any]) -> int:
    """Steps to make what is much larger than what it is made of: filters that write a text again and again."""
    if name == "replace" and len(arguments) == 2:
        return _size(as_text(arguments[1])) * as_text(left).count(as_text(arguments[0]))
    if name == "join" and arguments:
        return _size(as_text(arguments[0])) * _size(left)
    return 0
