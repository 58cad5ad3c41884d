"""How the end of a run of an external agent stands in the journal."""

from __future__ import annotations

import json
from dataclasses import asdict

from activities.connections.base import RemoteRun, Tokens
from activities.gateway.journal import Answer, Call


class NotThere(Exception):
    """The journal has no end of this run."""


async def not_there() -> Answer:
    raise NotThere


def answer_of(call: Call, run: RemoteRun, *, by_us: bool) -> Answer:
    tokens = run.tokens or Tokens()
    document = {**asdict(run), "by_us": by_us}
    return Answer(json.dumps(document).encode(), "application/json", call.name, tokens.input, tokens.output)


def run_of(answer: Answer) -> tuple[RemoteRun, bool]:
    document = json.loads(answer.body)
    by_us = bool(document.pop("by_us"))
    tokens = document.pop("tokens")
    return RemoteRun(**document, tokens=None if tokens is None else Tokens(**tokens)), by_us
