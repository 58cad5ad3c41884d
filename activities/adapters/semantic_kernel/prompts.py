"""What the text of a template tells: whether it can be read, which variables it uses, which functions it calls. Pure.

Formats are Semantic Kernel's own (`{{$name}}`, `{{tool argument=$name}}`), Handlebars, and Liquid. Jinja2 is not among them:
its loops have no bounds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from activities import templates
from activities.adapters.base import Json
from activities.adapters.semantic_kernel import handlebars

#: What begins, ends or hides the end of a tag in Semantic Kernel's format.
_MARK: Final = re.compile(r"\{\{|\}\}|\\[\\'\"]|'|\"")
#: Characters of one tag.
_MAX_TAG: Final = 1_000
_VARIABLE: Final = re.compile(r"\$[0-9A-Za-z_]+")
_VALUE: Final = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_CALL: Final = re.compile(r"(?:[0-9A-Za-z_]+\.)?([0-9A-Za-z_]+)")
_ARGUMENT: Final = re.compile(rf"(?:([0-9A-Za-z_]+)\s*=\s*)?({_VARIABLE.pattern}|{_VALUE.pattern})(?=\s|$)", re.DOTALL)


@dataclass(frozen=True)
class Template:
    """What a template uses. `problem` is a sentence for its author, and then nothing else is known."""

    variables: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    problem: str | None = None


def look(source: str, template_format: str) -> Template:
    """Reads a template of any format."""
    if template_format == "handlebars":
        try:
            names = handlebars.variables(source)
        except handlebars.HandlebarsError as error:
            return Template(problem=str(error))
        return Template(names, problem=templates.check(handlebars.to_liquid(source)))
    if template_format == "liquid":
        problem = templates.check(source)
        return Template(problem=problem) if problem else Template(templates.variables(source))
    return _semantic_kernel(source)


def render(source: str, template_format: str, values: dict[str, Json]) -> str:
    """Fills a Handlebars or Liquid template. Raises `templates.TemplateError` or `HandlebarsError`."""
    if template_format == "handlebars":
        return templates.render(handlebars.to_liquid(source), {handlebars.ROOT: values})
    return templates.render(source, values)


def _semantic_kernel(source: str) -> Template:
    names: set[str] = set()
    functions: set[str] = set()
    for content in _tags(source):
        tag = f"{{{{{content[:50]}}}}}"
        if len(content) > _MAX_TAG:
            return Template(problem=f"{tag}... is longer than the {_MAX_TAG} characters that a tag may have.")
        if not content or _VALUE.fullmatch(content):
            continue
        if content.startswith("$"):
            if not _VARIABLE.fullmatch(content):
                return Template(problem=f"{tag} is no variable: names are letters, digits and underscores.")
            names.add(content[1:])
            continue
        called = _CALL.match(content)
        arguments = content[called.end() :] if called else ""
        if called is None or _ARGUMENT.sub("", arguments).strip():
            wanted = "{{$variable}}, {{'text'}} or {{tool argument=$variable}}"
            return Template(problem=f"{tag} cannot be read: a tag holds {wanted}.")
        if any(name and re.search(r"\s", value) for name, value in _ARGUMENT.findall(arguments)):
            # The framework parts a tag at spaces, also where they are quoted.
            return Template(problem=f"{tag} cannot be read: the value of a named argument must have no space.")
        functions.add(called[1])
        names.update(name[1:] for name in _VARIABLE.findall(_VALUE.sub("", arguments)))
    return Template(frozenset(names), frozenset(functions))


def _tags(source: str) -> Iterator[str]:
    """What stands between `{{` and `}}`, found as the framework finds it, in one pass."""
    start, quote = -1, ""
    for mark in _MARK.finditer(source):
        text = mark[0]
        if quote:
            quote = "" if text == quote else quote
        elif text == "{{":
            start = mark.end()
        elif start >= 0 and text in ("'", '"'):
            quote = text
        elif start >= 0 and text == "}}":
            yield source[start : mark.start()].strip()
            start = -1
