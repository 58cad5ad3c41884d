"""How much work something is, told apart from what else the machine does meanwhile."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds that this thread spends on a piece of work.

    Not the other threads' time, and without the collector, which would look at all that other tests left behind.
    """
    gc.disable()
    began = time.thread_time()
    try:
        work()
    finally:
        gc.enable()
    return time.thread_time() - began
