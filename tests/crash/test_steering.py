"""A run that is paused, approved, voted on, rolled back over two effects and forked, while parts die at every event.

With `--all` the worker dies at every moment of the history of one trip per framework, each number of moments apart from the
next so that the run can get up again, and inside of each call that changes the world. Then PostgreSQL and Temporal die at
some moments. Without, one case of each is taken.
"""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from omium_core.settings import FRAMEWORKS as ALL
from tests.crash import trips
from tests.crash.histories import Follower
from tests.crash.scenario import Operator
from tests.crash.verdict import assert_ended_right
from tests.support.platform import Platform, running_platform
from tests.support.quick_worker import NO_FRAMEWORKS, QuickWorker
from tests.support.sampling import sampled

AGENTS = Path(__file__).parent / "agents"
FRAMEWORKS = tuple(trips.DEFINITIONS)
#: Moments in the longest of the histories, and how many there are between two deaths in one run: of all runs, and of one
#: that is to be over soon.
MOMENTS, APART, FAR_APART = 144, 16, 48
#: Runs that go side by side; each death hits all of them.
SIDE_BY_SIDE = 4
#: Deaths of the other parts in one run.
OTHER_DEATHS = 3
EFFECTS_AND_INVERSES = 8

pytestmark = pytest.mark.timeout(900)

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    env = {"OMIUM_AGENT_PATH": str(AGENTS), "OMIUM_TOOL_MODULES": "steering_tools", **NO_FRAMEWORKS}
    # of the time that a death costs, most is the wait for the heartbeats to end
    env["OMIUM_HEARTBEAT_TIMEOUT"] = "2"
    with running_platform(tmp_path_factory.mktemp("steering") / "data", env=env) as platform:
        yield platform


@pytest.fixture(scope="module", autouse=True)
def worker(platform: Platform, request: pytest.FixtureRequest) -> Iterator[QuickWorker]:
    # a flow is made of others; to load a framework takes longer than a death
    chosen = frameworks(request.config)
    with QuickWorker(platform.stack, ALL if "flow" in chosen else chosen) as worker:
        yield worker


def frameworks(config: pytest.Config) -> list[str]:
    """One for the whole of a quick run."""
    return sampled(config, sorted(FRAMEWORKS), 1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    config, names = metafunc.config, metafunc.fixturenames
    if "first_deaths" in names:
        if config.getoption("--all"):
            groups = [tuple(range(n, n + SIDE_BY_SIDE)) for n in range(1, APART + 1, SIDE_BY_SIDE)]
        else:
            groups = [(n,) for n in range(1, FAR_APART + 1)]
        cases = [(framework, group) for framework in frameworks(config) for group in groups]
        metafunc.parametrize(("framework", "first_deaths"), sampled(config, cases, 1))
    elif "framework" in names:
        metafunc.parametrize("framework", frameworks(config))
    elif "part" in names:
        metafunc.parametrize("part", sampled(config, ["postgres", "temporal"], 1))


class Reaper:
    """Kills something, and remembers when."""

    def __init__(self, kill: Callable[[], object]) -> None:
        self._kill = kill
        self._lock = threading.Lock()
        self.times: list[float] = []

    def kill(self) -> None:
        with self._lock:
            self.times.append(time.time())
            # it may just have died for another run
            with suppress(psutil.NoSuchProcess):
                self._kill()


@dataclass
class Trip:
    """One run through the scenario; `due` are the moments at which `reaper` comes."""

    platform: Platform
    framework: str
    folder: Path
    reaper: Reaper
    due: set[int] = field(default_factory=set)
    moments: int = 0

    def __post_init__(self) -> None:
        self.name = f"trip-{next(_numbers)}-in-{self.framework}"
        self.folder = self.folder / self.name
        self.folder.mkdir()

    def world(self) -> list[dict[str, str]]:
        """The calls that its tools have got so far."""
        world = self.folder / "world.jsonl"
        return [json.loads(line) for line in world.read_text().splitlines()] if world.exists() else []

    def at(self, moment: int) -> None:
        if moment in self.due:
            self.due.remove(moment)
            self.reaper.kill()

    def go(self) -> None:
        stack = self.platform.stack
        with Follower(stack["temporal_address"], stack["temporal_namespace"], self.at) as follower:
            operator = Operator(self.platform, self.framework, self.name, self.folder, follower.follow)
            operator.steer()
        self.moments = follower.moments
        assert_ended_right(self.platform, operator, self.name, self.reaper.times)
        assert all(moment > self.moments for moment in self.due), f"nobody died at {self.due}"


def go(platform: Platform, *given: Trip) -> None:
    """All of them side by side, to their ends."""
    platform.model.set_script([rule for trip in given for rule in trips.rules(trip.name, trip.folder)])
    with ThreadPoolExecutor(len(given)) as pool:
        for done in [pool.submit(trip.go) for trip in given]:
            done.result()


@pytest.mark.thorough
def test_nothing_dies(platform: Platform, worker: QuickWorker, tmp_path: Path) -> None:
    """What the other tests count with: no history has more moments than are tried."""
    given = [Trip(platform, framework, tmp_path, Reaper(worker.kill)) for framework in FRAMEWORKS]
    go(platform, *given)
    assert all(MOMENTS // 2 < trip.moments <= MOMENTS for trip in given), [trip.moments for trip in given]


def test_worker_dies_at_every_event(
    platform: Platform, worker: QuickWorker, framework: str, first_deaths: tuple[int, ...], tmp_path: Path
) -> None:
    reaper = Reaper(worker.kill)
    apart = APART if len(first_deaths) > 1 else FAR_APART
    dues = [set(range(first, MOMENTS + 1, apart)) for first in first_deaths]
    go(platform, *(Trip(platform, framework, tmp_path, reaper, due) for due in dues))


def test_worker_dies_in_every_effect_and_inverse(
    platform: Platform, worker: QuickWorker, framework: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Between the call and the moment when its answer is known: it is made again, with the same key."""
    reaper = Reaper(worker.kill)
    trip = Trip(platform, framework, tmp_path, reaper)
    (trip.folder / "hold").touch()
    deadly = set(sampled(request.config, list(range(EFFECTS_AND_INVERSES)), 2))
    ended = threading.Event()

    def kill_in_each() -> None:
        answered = 0
        while not ended.wait(0.01):
            for key in dict.fromkeys(call["key"] for call in trip.world()):
                if not (trip.folder / key).exists():
                    if answered in deadly:
                        reaper.kill()
                    (trip.folder / key).touch()
                    answered += 1

    killer = threading.Thread(target=kill_in_each)
    killer.start()
    try:
        go(platform, trip)
    finally:
        ended.set()
        killer.join()
    assert len(reaper.times) == len(deadly)
    assert len(trip.world()) == EFFECTS_AND_INVERSES + len(deadly)


def test_another_part_dies(platform: Platform, part: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    chosen = random.Random(f"{request.config.getoption('--seed')}-{part}")
    reaper = Reaper(lambda: platform.stack.kill(part))
    deaths = OTHER_DEATHS if request.config.getoption("--all") else 1
    given = [
        Trip(platform, framework, tmp_path, reaper, set(chosen.sample(range(1, MOMENTS - APART), deaths)))
        for framework in frameworks(request.config)
    ]
    go(platform, *given)
    platform.stack.wait_ready(part)
