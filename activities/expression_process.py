"""Evaluates one expensive expression in a process of its own, with limits on time and memory.

Run as a script: reads `{"source", "variables"}` as JSON from the standard input and answers `{"value"}`, which is JSON, or
`{"error": [kind, message]}`. Imports nothing of the platform and gets no environment, so there is nothing to take.
"""

from __future__ import annotations

import json
import math
import resource
import sys

import cel

MIN_CPU_SECONDS = 0.5
MEMORY_BYTES = 1024**3
MAX_RESULT = 1_000_000


def limit() -> None:
    """From here on; loading the library has taken its own time."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    # The limit counts whole seconds of the process's life, so this gives between half a second and one and a half.
    seconds = math.ceil(usage.ru_utime + usage.ru_stime + MIN_CPU_SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(value: object) -> str:
    try:
        answer = json.dumps({"value": value}, allow_nan=False)
    except (TypeError, ValueError):
        return json.dumps({"error": ["NoJson", type(value).__name__]})
    return answer if len(answer) <= MAX_RESULT else json.dumps({"error": ["TooLarge", ""]})


def main() -> None:
    asked = json.load(sys.stdin)
    limit()
    try:
        value = cel.compile(asked["source"]).execute(asked["variables"])
        answer = _answer(value)
    except Exception as error:
        answer = json.dumps({"error": [type(error).__name__, str(error)]})
    sys.stdout.write(answer)


if __name__ == "__main__":
    main()
