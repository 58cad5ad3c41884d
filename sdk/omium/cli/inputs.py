"""JSON that a user gives: in an option, in a file, or on standard input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from omium.cli.output import fail

#: Options that change a run as it goes on from a checkpoint.
Edit = Annotated[
    list[str] | None,
    typer.Option(
        "--edit",
        metavar="PATH=VALUE",
        help="What changes, as prompts.writer='Be brief' or values.score=3 (also models, inputs); several times.",
    ),
]
EditsJson = Annotated[
    str | None, typer.Option("--edits", metavar="JSON", help="All that changes in one object: JSON, @FILE, or -.")
]
EDIT_PARTS = ("prompts", "append_prompts", "models", "values", "inputs")


def edits_options(pairs: list[str] | None, whole: str | None) -> dict[str, Any] | None:
    """The edits of `--edits` with those of each `--edit` laid over them; None if there are none. Else the command ends.

    Values of `values` and `inputs` are JSON where they can be read as such, else text; prompts and models are text.
    """
    edits: dict[str, Any] = json_option(whole, "--edits") if whole is not None else {}
    for pair in pairs or ():
        path, equals, text = pair.partition("=")
        part, _, name = path.partition(".")
        if not equals or part not in EDIT_PARTS or not name:
            fail(f"--edit {pair!r}: write it as PATH=VALUE, where PATH begins with {', '.join(EDIT_PARTS)}.", code=2)
        target = edits.setdefault(part, {})
        if not isinstance(target, dict):
            fail(f"--edits: {part} must be an object.", code=2)
        target[name] = _value(text) if part in ("values", "inputs") else text
    return edits or None


def json_value(text: str, option: str) -> Any:
    """Any JSON value in an option: JSON itself, `@FILE`, or `-`; what is no JSON is the text itself."""
    if text == "-" or text.startswith("@"):
        return _value(_read(text if text == "-" else text[1:], option)[0].strip())
    return _value(text)


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text


def json_option(value: str, option: str) -> dict[str, Any]:
    """The object in an option's value: JSON itself, `@FILE`, or `-` for standard input. Else the command ends."""
    if value == "-":
        return json_file("-", option)
    if value.startswith("@"):
        return json_file(value[1:], option)
    return _parse(value, option)


def json_file(name: str, option: str) -> dict[str, Any]:
    """The object in a file; `-` is standard input. If there is none, the command ends."""
    return _parse(*_read(name, option))


def _read(name: str, option: str) -> tuple[str, str]:
    """The text of a file or of standard input, and what to call it in errors."""
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        fail(f"{option}: cannot read {name}: {error.strerror}.", code=2)
    source = f"{option}: {'standard input' if name == '-' else name}"
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fail(f"{source} is not valid UTF-8 (byte {error.start + 1}).", code=2)
    return text, source


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        fail(f"{source} is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno}).", code=2)
    except (ValueError, RecursionError) as error:
        fail(f"{source} is not valid JSON: {error}.", code=2)
    if not isinstance(value, dict):
        fail(f"{source} must hold a JSON object, as in {{...}}.", code=2)
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number that JSON knows")
