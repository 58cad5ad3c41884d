"""What the supervisor must know of a part to run it."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workers.local.processes import Account


@dataclass(frozen=True)
class Part:
    """One server of the stack: how it is started, how one sees that it is ready, how it is stopped.

    `ready` is asked again and again with the process id until it says yes; it must not raise for "not yet".
    `before_start` runs before every start, the first one included.
    """

    name: str
    title: str
    command: Sequence[str]
    env: Mapping[str, str]
    ready: Callable[[int], Awaitable[bool]]
    address: str = ""
    cwd: Path | None = None
    account: Account | None = None
    before_start: Callable[[], None] = field(default=lambda: None)
    stop_signal: signal.Signals = signal.SIGTERM
    #: Sent by the kernel when the supervisor is gone.
    death_signal: signal.Signals = signal.SIGKILL
    #: An exit by itself before it was ever ready is final: a setting is wrong, and trying again cannot mend it.
    explains_its_exit: bool = False
    #: Seconds between the stop signal and SIGKILL.
    grace: float = 10.0
