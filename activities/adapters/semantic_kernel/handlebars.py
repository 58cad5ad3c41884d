"""Handlebars templates, translated into the platform's Liquid. Pure.

Libraries for Handlebars turn a template into Python code and let it reach the attributes of what it is given, so that a template
of a stranger could run anything. Liquid is bounded and knows data alone. What is translated: variables and paths (`a.b`,
`this`, `../a`, `@index`, `@first`, `@last`, `@root`), `#if`, `#unless`, `#each` over lists, `#with`, `else`, comments.
"""

from __future__ import annotations

import re
from typing import Final

#: How tags begin, longest first, and how each of them ends.
_ENDS: Final = (("{{!--", "--}}"), ("{{{", "}}}"), ("{{", "}}"))
_MAX_TAG: Final = 1_000
_MAX_DEPTH: Final = 50
_PATH: Final = re.compile(r"(?:\.\./)*(?:@root\.)?(?:this|\.|[A-Za-z_]\w*)(?:[./](?:\w+))*")
_BLOCK: Final = re.compile(r"#\s*(\w+)\s+(\S+)")
_LOOP: Final = {"@index": "forloop.index0", "@first": "forloop.first", "@last": "forloop.last"}

#: The name under which Liquid finds the data of a template.
ROOT: Final = "data"


class HandlebarsError(ValueError):
    """A template that cannot be translated; the message is a sentence for its author."""


def to_liquid(source: str) -> str:
    """The same template in Liquid, over one variable `data`. Raises `HandlebarsError`."""
    return _Translation(source).text()


def variables(source: str) -> frozenset[str]:
    """The names that a template takes from its data. Raises `HandlebarsError`."""
    translation = _Translation(source)
    translation.text()
    return frozenset(translation.names)


class _Translation:
    def __init__(self, source: str) -> None:
        self._source = source
        #: Open blocks: their word, and the context inside them.
        self._open: list[tuple[str, str]] = []
        self.names: set[str] = set()

    def text(self) -> str:
        out: list[str] = []
        position = 0
        while (start := self._source.find("{{", position)) >= 0:
            out.append(_literal(self._source[position:start]))
            begin, end = next(pair for pair in _ENDS if self._source.startswith(pair[0], start))
            stop = self._source.find(end, start + len(begin))
            if stop < 0:
                raise HandlebarsError(f"{begin} is not closed by {end}.")
            position = stop + len(end)
            if begin != "{{!--":
                out.append(self._tag(self._source[start + len(begin) : stop]))
        out.append(_literal(self._source[position:]))
        if self._open:
            raise HandlebarsError(f"{{{{#{self._open[-1][0]}}}}} is not closed.")
        return "".join(out)

    def _tag(self, tag: str) -> str:
        if len(tag) > _MAX_TAG:
            raise HandlebarsError(f"{{{{{tag[:50]}... is longer than the {_MAX_TAG} characters that a tag may have.")
        inner = tag.strip()
        if inner.startswith("!"):
            return ""
        # `~` takes white space away, which no model minds.
        inner = inner.strip("~").strip()
        if inner.startswith("#"):
            return self._block(inner)
        if inner.startswith("/"):
            return self._close(inner[1:].strip())
        if inner in ("else", "^"):
            return self._else()
        return "{{ " + self._path(inner.removeprefix("&").strip()) + " }}"

    def _block(self, inner: str) -> str:
        found = _BLOCK.fullmatch(inner)
        word, path = (found[1], found[2]) if found else (inner[1:].split(" ")[0], "")
        if word not in ("if", "unless", "each", "with") or not path:
            raise HandlebarsError(
                f"{{{{{inner}}}}} is not supported: blocks are #if, #unless, #each and #with, with one path."
            )
        if len(self._open) == _MAX_DEPTH:
            raise HandlebarsError(f"Blocks are nested more than {_MAX_DEPTH} deep.")
        value, context = self._path(path), self._context()
        if word == "each":
            item = f"item{len(self._open)}"
            self._open.append((word, item))
            return f"{{% for {item} in {value} %}}"
        self._open.append((word, value if word == "with" else context))
        holds = f"{value} and {value} != empty and {value} != 0"
        return f"{{% if {holds} %}}" + ("{% else %}" if word == "unless" else "")

    def _else(self) -> str:
        if not self._open or self._open[-1][0] == "unless":
            raise HandlebarsError("{{else}} stands in #if, #each and #with.")
        return "{% else %}"

    def _close(self, word: str) -> str:
        if not self._open or self._open[-1][0] != word:
            raise HandlebarsError(f"{{{{/{word}}}}} closes nothing that is open.")
        self._open.pop()
        return "{% endfor %}" if word == "each" else "{% endif %}"

    def _context(self, up: int = 0) -> str:
        changing = [context for word, context in self._open if word in ("each", "with")]
        return ([ROOT, *changing])[-1 - up] if up <= len(changing) else ROOT

    def _path(self, path: str) -> str:
        if path in _LOOP:
            if not any(word == "each" for word, _ in self._open):
                raise HandlebarsError(f"{{{{{path}}}}} stands in #each.")
            return _LOOP[path]
        if not _PATH.fullmatch(path):
            raise HandlebarsError(
                f"{{{{{path}}}}} is not supported: name a variable, as in {{{{topic}}}} or {{{{item.name}}}}."
            )
        ups = path.count("../")
        rest = path.replace("../", "")
        context = self._context(ups)
        if rest.startswith("@root."):
            context, rest = ROOT, rest.removeprefix("@root.")
        segments = [part for part in re.split(r"[./]", rest) if part not in ("", "this")]
        if context == ROOT and segments:
            self.names.add(segments[0])
        return context + "".join(f"[{part}]" if part.isdigit() else f'["{part}"]' for part in segments)


def _literal(text: str) -> str:
    """Text that Liquid must not read: only the beginnings of its tags mean something to it."""
    return text.replace("{%", '{{ "{" }}%')
