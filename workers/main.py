"""A worker process: `python -m workers.main`. Serves the queues of OMIUM_FRAMEWORKS until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog
import uvloop
from prometheus_client import start_http_server
from temporalio.client import Client
from temporalio.worker import Worker

from activities.adapters.registry import INSTALLED_AS
from activities.consensus import ConsensusActivities
from activities.frameworks import Frameworks
from activities.gateway import identity
from activities.gateway.gateway import Gateway
from activities.loops import LoopThread
from activities.maintenance.sealing import Sealer
from activities.payload_codec import sealing_converter
from activities.questions import Questions
from activities.records import Records
from activities.rollbacks import RollbackActivities
from activities.run_records import RunRecords
from activities.steps import StepActivities
from activities.stores.factory import open_bytes, open_object_store
from activities.stores.values import ValueStore
from activities.tools.registry import ToolRegistry
from activities.turns import Turns
from models.database import open_database
from models.startup import check_settings
from omium_core import temporal
from omium_core.connect import connect_temporal
from omium_core.errors import ConfigurationError, Unavailable
from omium_core.logging import configure_logging
from omium_core.settings import OWN_MODULES, Settings, load_settings
from workers.bookkeeper import Bookkeeper
from workers.funds import Funds
from workers.housekeeping import keep_house
from workers.maintenance import build_maintenance_worker
from workers.notices import Notices
from workers.notifier import Notifier
from workers.payments import PaymentKeeper
from workers.reconciler import Reconciler
from workers.registry import build_worker
from workers.schedules import ScheduleKeeper
from workers.step_share import StepShare
from workers.webhooks import Waker

log = structlog.get_logger(__name__)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Runs until `stop` is set, then lets the steps in flight end."""
    check_frameworks(settings)
    use_agent_path(settings)
    await check_settings(settings)
    with tempfile.TemporaryDirectory(prefix="omium-worker-") as scratch:
        registry = ToolRegistry.load(settings.tool_modules, settings.http_allow_private)
        gateway = Gateway(settings, registry)
        identity.install(gateway.host, gateway.port)
        gateway.start()
        agents_loop = LoopThread("omium-agents")
        database = open_database(settings)
        turns = Turns(database, settings)
        records = Records(database, turns.place_freed)
        values = ValueStore(open_object_store(settings, database.keys), inline_bytes=settings.inline_bytes)
        frameworks = Frameworks(settings, Path(scratch), registry, agents_loop, values)
        questions = Questions(database, values)
        run_records = RunRecords(database, values, records)
        steps = StepActivities(frameworks, gateway, records, questions, values, agents_loop)
        consensus = ConsensusActivities(database, records, gateway, steps)
        activities: list[Callable[..., Any]] = [
            steps.run_step,
            run_records.finish_run,
            run_records.record_state,
            run_records.record_failure,
            questions.record,
            consensus.record_round,
            consensus.ask_validators,
            RollbackActivities(database, values, registry, frameworks).roll_back,
            frameworks.check_definition,
        ]
        client = await connect_temporal(settings, sealing_converter(database.keys))
        try:
            await _serve_queues(
                client,
                settings,
                activities,
                frameworks,
                Reconciler(client, database, run_records, settings),
                Notifier(database, settings, Waker(client, database)),
                turns,
                ScheduleKeeper(client, database),
                PaymentKeeper(client, database, settings),
                Funds(client, database, settings),
                Notices(database, settings),
                Bookkeeper(database),
                build_maintenance_worker(client, database, values, settings),
                Sealer(database, settings, open_bytes(settings)),
                stop,
            )
        finally:
            gateway.stop()
            agents_loop.stop()
            await database.close()


async def _serve_queues(
    client: Client,
    settings: Settings,
    activities: Sequence[Callable[..., Any]],
    frameworks: Frameworks,
    reconciler: Reconciler,
    notifier: Notifier,
    turns: Turns,
    schedules: ScheduleKeeper,
    payments: PaymentKeeper,
    funds: Funds,
    notices: Notices,
    bookkeeper: Bookkeeper,
    maintenance: Worker,
    sealer: Sealer,
    stop: asyncio.Event,
) -> None:
    share = StepShare(settings)
    # frameworks may share a queue, and a process may serve a queue once
    by_queue = {temporal.queue_for(framework): framework for framework in settings.frameworks}
    workers = [build_worker(client, framework, settings, activities, [share]) for framework in by_queue.values()]
    workers.append(maintenance)
    serving = [asyncio.create_task(worker.run()) for worker in workers]
    log.info("worker is ready", frameworks=settings.frameworks)
    if settings.ready_file is not None:
        settings.ready_file.touch()
    repairing = asyncio.create_task(reconciler.run())
    notifying = asyncio.create_task(notifier.run())
    giving = asyncio.create_task(turns.run(client))
    keeping = asyncio.create_task(schedules.run())
    paying = asyncio.gather(payments.run(), funds.run(), notices.run(), bookkeeper.run())
    housekeeping = asyncio.create_task(keep_house(client, sealer))
    preloading = asyncio.create_task(_preload(frameworks, settings))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((stopping, repairing, giving, keeping, *serving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (repairing, notifying, giving, keeping, paying, housekeeping, preloading, stopping):
            task.cancel()
        # each waits for its pollers: all at once, or the last queue would wait for all others
        await asyncio.gather(*(worker.shutdown() for worker in workers))
    for task in (*serving, repairing, giving, keeping):
        if task.done() and not task.cancelled():
            task.result()


async def _preload(frameworks: Frameworks, settings: Settings) -> None:
    """Imports the frameworks while nobody waits for them, one after the other."""
    for framework in settings.frameworks:
        await frameworks.adapter(framework)
    # a framework is a hundred thousand objects that stay: the collector need not look at them again and again
    gc.collect()
    gc.freeze()
    # a step makes some ten thousand objects, nearly all of which are gone by their count before a collection
    gc.set_threshold(20_000, 20, 20)


def use_agent_path(settings: Settings) -> None:
    """Lets users' folders be imported from, after everything else, and refuses a folder that would hide one of ours."""
    for folder in settings.agent_path:
        path = Path(folder).resolve()
        if not path.is_dir():
            raise ConfigurationError(f"OMIUM_AGENT_PATH names {folder}, which is no folder.")
        if str(path) not in sys.path:
            sys.path.append(str(path))
    for module in (*settings.agent_modules, *settings.tool_modules):
        top = module.partition(".")[0]
        if top in OWN_MODULES or top in sys.stdlib_module_names:
            raise ConfigurationError(
                f"The module {module!r} has the name of a module of Omium or of Python: rename it."
            )
        if not top.isidentifier() or importlib.util.find_spec(top) is None:
            raise ConfigurationError(
                f"The module {module!r} is not found. OMIUM_AGENT_PATH must name the folder that holds it."
            )


def check_frameworks(settings: Settings) -> None:
    """Refuses to serve a framework that is not installed: each of its steps would fail."""
    for framework in settings.frameworks:
        module = INSTALLED_AS.get(framework, framework)
        if module and importlib.util.find_spec(module) is None:
            raise ConfigurationError(
                f"OMIUM_FRAMEWORKS names {framework}, which is not installed: install the extra {framework.replace('_', '-')!r}, "
                "or name only what this worker is to serve."
            )


def serve_metrics(settings: Settings) -> None:
    if settings.metrics_port is None:
        return
    try:
        start_http_server(settings.metrics_port, addr="127.0.0.1")
    except OSError as error:
        raise ConfigurationError(
            f"OMIUM_METRICS_PORT={settings.metrics_port} cannot be used: {error.strerror}."
        ) from error


def main() -> None:
    try:
        settings = load_settings()
        configure_logging(settings, service="worker")
        serve_metrics(settings)
    except ConfigurationError as error:
        sys.exit(f"omium worker: {error.message}")

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(settings, stop)

    try:
        uvloop.run(run())
    except (ConfigurationError, Unavailable) as error:
        sys.exit(f"omium worker: {error.message}")


if __name__ == "__main__":
    main()
