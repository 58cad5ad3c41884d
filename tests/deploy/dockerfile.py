"""A Dockerfile as its stages and their instructions: just enough to ask questions about it."""

from __future__ import annotations

import re
from pathlib import Path

_CONTINUED = re.compile(r"\\\n\s*")


class Dockerfile:
    """`stages` maps each stage's name to its instructions, in order; `bases` to what the stage is built from."""

    def __init__(self, path: Path) -> None:
        lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
        self.arguments: dict[str, str] = {}
        self.stages: dict[str, list[tuple[str, str]]] = {}
        self.bases: dict[str, str] = {}
        current: list[tuple[str, str]] = []
        for line in _CONTINUED.sub("", "\n".join(lines)).splitlines():
            keyword, _, rest = line.strip().partition(" ")
            if keyword == "FROM":
                base, _, name = rest.partition(" AS ")
                current = self.stages[name] = []
                self.bases[name] = base
            elif keyword == "ARG" and not self.stages:
                name, _, value = rest.partition("=")
                self.arguments[name] = value
            elif keyword:
                current.append((keyword, rest.strip()))

    def instructions(self, target: str) -> list[tuple[str, str]]:
        """All instructions that make a target, those of the stages below it first."""
        below = self.instructions(self.bases[target]) if self.bases[target] in self.stages else []
        return below + self.stages[target]

    def last(self, target: str, keyword: str) -> str | None:
        """What the last such instruction says; None when there is none."""
        return next((rest for found, rest in reversed(self.instructions(target)) if found == keyword), None)
