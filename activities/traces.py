"""Reads the text of a Python stack trace: where in the user's own code it was, and what was raised."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FRAME = re.compile(r'^ *File "(?P<file>[^"\n]+)", line (?P<line>\d+)(?:, in (?P<function>[^\n]+))?$', re.MULTILINE)
_EXCEPTION = re.compile(
    r"^(?P<name>[A-Za-z_][\w.]*(?:Error|Exception|Timeout|Interrupt|Exit|Warning|Group|[A-Z]\w*))(?::|$)"
)
#: Code that no user wrote: installed packages, Python's own, and what was made up while running.
_NOT_THEIRS = re.compile(r"[\\/](?:site|dist)-packages[\\/]|[\\/]lib[\\/]python3[^\\/]*[\\/]|^<")
_OURS = tuple(
    str(Path(__file__).resolve().parents[1] / name)
    for name in ("activities", "workers", "workflows", "models", "omium_core")
)


@dataclass(frozen=True)
class Frame:
    """One line of a trace: `code` is the source's line, empty where it is not shown."""

    file: str
    line: int
    function: str
    code: str = ""


def frames(trace: str) -> Iterator[Frame]:
    """All frames of a trace, the outermost first."""
    for match in _FRAME.finditer(trace):
        following = trace[match.end() :].lstrip("\n").partition("\n")[0]
        # the source is indented; without it the next frame, or the exception, follows
        shown = following.startswith("    ") and not following.lstrip().startswith('File "')
        yield Frame(
            file=match["file"],
            line=int(match["line"]),
            function=(match["function"] or "the module").strip(),
            code=following.strip() if shown else "",
        )


def users_frame(trace: str) -> Frame | None:
    """The innermost frame in code of the user; if there is none, the innermost of all."""
    last = None
    theirs = None
    for frame in frames(trace):
        last = frame
        if not _NOT_THEIRS.search(frame.file) and not frame.file.startswith(_OURS):
            theirs = frame
    return theirs or last


def exception_name(line: str) -> str:
    """The name of the exception in the last line of a trace; empty if there is none."""
    match = _EXCEPTION.match(line.strip())
    return match["name"] if match else ""
