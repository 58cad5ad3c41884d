"""`omium keys`: rotation of tenants' keys and of the master key, and sealing anew of what older keys sealed.

Everybody else goes on working meanwhile. Each command may be stopped and run again. Heavy modules are imported inside.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli_errors import plain_errors

if TYPE_CHECKING:
    from models.database import Database
    from omium_core.settings import Settings

TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's slug or id.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]
StackOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", help="Of the stack that `omium up` runs there, and not of what OMIUM_DATABASE_URL names."
    ),
]


def keys_commands() -> typer.Typer:
    """The group `omium keys`."""
    app = typer.Typer(no_args_is_help=True, help="Keys that protect what tenants store (OMIUM_MASTER_KEY).")
    app.command("rotate-tenant")(rotate_tenant)
    app.command("rotate-master")(rotate_master)
    app.command("reseal")(reseal)
    app.command("rotate-signing")(rotate_signing)
    return app


def rotate_tenant(tenant: TenantArgument, data_dir: StackOption = None, as_json: JsonOption = False) -> None:
    """Give a tenant a new key. What older keys sealed stays readable; `omium keys reseal` seals it anew."""

    async def work(database: Database, _: Settings) -> dict[str, Any]:
        from workers.resealing import tenant_named

        tenant_id = await tenant_named(database, tenant)
        return {"tenant_id": str(tenant_id), "key_id": str(await database.keys.rotate(tenant_id))}

    done = run_work(work, data_dir)
    print_done(done, f"Tenant {done['tenant_id']} has the new key {done['key_id']}; it seals in ten seconds.", as_json)


def rotate_master(data_dir: StackOption = None, as_json: JsonOption = False) -> None:
    """Wrap all keys with the present master key: the first of OMIUM_MASTER_KEY, or that of KMS."""

    async def work(database: Database, _: Settings) -> dict[str, Any]:
        from workers.resealing import rewrap_all

        return {"rewrapped": await rewrap_all(database)}

    done = run_work(work, data_dir)
    print_done(done, f"{done['rewrapped']} keys are wrapped by the present master key now.", as_json)


def rotate_signing(
    now: Annotated[
        bool, typer.Option("--now", help="A key leaked: nothing that was signed before counts, and people refresh.")
    ] = False,
    data_dir: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign access tokens with a new key. What the old one signed is good until it is over, an hour by default."""

    async def work(database: Database, settings: Settings) -> dict[str, Any]:
        from models.signing import SigningKeys

        keys = SigningKeys(database, database.keys.wrapper, settings.access_token_seconds, settings.signing_key_days)
        return {"kid": str(await keys.rotate(revoke=now)), "revoked": now}

    done = run_work(work, data_dir)
    print_done(done, f"Access tokens are signed with {done['kid']} within seconds.", as_json)


def reseal(
    tenant: Annotated[str | None, typer.Argument(metavar="[TENANT]", help="Slug or id; without it, all.")] = None,
    data_dir: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Seal with the present keys what older ones sealed, and what was stored before values were sealed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=Console(stderr=True),
        disable=as_json,
        transient=True,
    )

    async def work(database: Database, settings: Settings) -> list[dict[str, Any]]:
        from activities.stores.factory import open_object_store
        from workers.resealing import all_tenants, reseal_tenant, tenant_named

        objects = open_object_store(settings, database.keys)
        wanted = await all_tenants(database) if tenant is None else [await tenant_named(database, tenant)]
        task = bars.add_task("", total=None)

        def begin(what: str, total: int | None) -> None:
            bars.reset(task, description=what, total=total)

        def advance(parts: int) -> None:
            bars.advance(task, parts)

        return [asdict(await reseal_tenant(database, objects, one, begin, advance)) for one in wanted]

    with bars:
        done = run_work(work, data_dir)
    rows, files = (sum(part[kind] for part in done) for kind in ("rows", "objects"))
    print_done({"tenants": done}, f"{rows} rows and {files} objects of {len(done)} tenants were sealed anew.", as_json)
    for place in (place for part in done for place in part["unreadable"]):
        typer.echo(f"omium: cannot be opened, and stays as it is: {place}", err=True)


def run_work(work: Callable[[Database, Settings], Awaitable[Any]], data_dir: Path | None) -> Any:
    """Does it with the database of a stack or of the settings; tells in a sentence what a person can mend."""
    import asyncio

    from models.database import is_database_away, open_database
    from omium_core.errors import Unavailable
    from omium_core.settings import load_settings

    async def connected() -> Any:
        settings = load_settings()
        database = open_database(settings)
        try:
            return await work(database, settings)
        except Exception as error:
            if not is_database_away(error):
                raise
            raise Unavailable("The database does not answer: is the stack up, or OMIUM_DATABASE_URL right?") from error
        finally:
            await database.close()

    with plain_errors():
        if data_dir is not None:
            use_stack(data_dir)
        return asyncio.run(connected())


def use_stack(data_dir: Path) -> None:
    """Takes the settings of a stack's own processes. Raises `StackError` when it was never started."""
    from workers.local import own_parts
    from workers.local.datadir import DataDir
    from workers.local.errors import StackError

    directory = DataDir(data_dir)
    stack = directory.read_stack()
    if stack is None:
        raise StackError(f"No stack was started on {directory.root}.")
    os.environ.update(own_parts.environment(directory, directory.load_secrets(), stack["ports"], with_model=False))


def print_done(done: dict[str, Any], sentence: str, as_json: bool) -> None:
    """JSON for programs, a sentence for people."""
    typer.echo(json.dumps(done) if as_json else sentence)
