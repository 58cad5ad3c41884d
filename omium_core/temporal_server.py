"""What a Temporal server must be told before it can serve us, locally and on a cluster (temporal-config/).

Plain data without the Temporal client, so that what only starts a server loads quickly.
"""

from __future__ import annotations

#: Names of the search attributes; all are of the type Keyword. A run that uses an unregistered one hangs for ever.
SEARCH_ATTRIBUTE_NAMES = ("Tenant", "Definition", "Framework", "RunState")

#: Settings of the server (temporal-config/dynamicconfig).
DYNAMIC_CONFIG: dict[str, object] = {
    # one queue read per 50 ms is the development server's default; at 200 a step takes a quarter of the time
    "history.transferProcessorMaxPollRPS": 200,
    "history.timerProcessorMaxPollRPS": 200,
    "history.visibilityProcessorMaxPollRPS": 200,
    "history.timerProcessorMaxTimeShift": "50ms",
    "matching.enableFairness": True,
    # fairness orders a partition, so one partition gives a strict order
    "matching.numTaskqueueReadPartitions": 1,
    "matching.numTaskqueueWritePartitions": 1,
    # a step in flight is cancelled in 30 ms, whether it heartbeats or not
    "system.enableCancelActivityWorkerCommand": True,
    "frontend.WorkerCommandsEnabled": True,
}
