"""`omium billing grant | adjust | prices | rebuild`: what operators do with credits, beside what the client's commands show.

They work on the database of a local stack (`--data-dir`), or on that of OMIUM_DATABASE_URL. Heavy modules are imported inside.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.keys import JsonOption, StackOption, print_done, run_work

if TYPE_CHECKING:
    from models.database import Database
    from models.ledger_rebuild import Rebuilt
    from omium_core.settings import Settings

TenantOption = Annotated[
    str | None, typer.Option("--tenant", help="The tenant's slug or id; the first tenant if not said.")
]
EffectiveOption = Annotated[str | None, typer.Option("--effective-from", help="From when on, in ISO 8601; else now.")]
KeyOption = Annotated[
    str | None, typer.Option("--idempotency-key", help="However often it is said with the same key, it is done once.")
]
_MOST = 10**9


class Source(StrEnum):
    manual = "manual"
    gift = "gift"
    purchase = "purchase"
    plan = "plan"


def add_billing(app: typer.Typer) -> None:
    """Adds the commands to the group `billing`, and to its `prices`, which belong to the client's command line."""
    for group in app.registered_groups:
        if group.name != "billing" or group.typer_instance is None:
            continue
        billing = group.typer_instance
        for command in (grant, adjust, rebuild):
            billing.command()(command)
        for inner in billing.registered_groups:
            if inner.name == "prices" and inner.typer_instance is not None:
                prices = inner.typer_instance
                for name, change in (("list", prices_list), ("set", prices_set), ("remove", prices_remove)):
                    prices.command(name)(change)
                if prices.registered_callback is not None and prices.registered_callback.callback is not None:
                    shown = _either(prices.registered_callback.callback)
                    prices.callback(invoke_without_command=True)(shown)


def grant(
    credits: Annotated[str, typer.Option("--credits", help="How many; one is a US cent. Up to six decimals.")],
    tenant: TenantOption = None,
    source: Annotated[
        Source, typer.Option(help="Where they come from: plans burn first, purchases last.")
    ] = Source.manual,
    expires_at: Annotated[str | None, typer.Option(help="When what is left of them goes, in ISO 8601.")] = None,
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=36500, help="The same, in days from now.")] = None,
    note: Annotated[str | None, typer.Option(help="What they are for; the tenant sees it.")] = None,
    idempotency_key: KeyOption = None,
    data_dir: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Grant credits to a tenant. Runs that wait for credits go on by themselves."""
    amount = _amount(credits)
    if amount <= 0:
        raise typer.BadParameter("must be more than 0", param_hint="--credits")
    if expires_at is not None and expires_in_days is not None:
        raise typer.BadParameter("say --expires-at or --expires-in-days", param_hint="--expires-in-days")
    expires = _expiry(expires_at, expires_in_days)

    async def work(database: Database, _: Settings) -> dict[str, Any]:
        from workers import credits as operators

        tenant_id = await operators.tenant_meant(database, tenant)
        return await operators.grant(
            database,
            tenant_id,
            amount,
            source=source.value,
            key=_key(idempotency_key),
            note=_note(note),
            expires_at=expires,
        )

    _print_moved(run_work(work, data_dir), as_json)


def adjust(
    credits: Annotated[str, typer.Option("--credits", help="How many: below 0 they are taken, above they are added.")],
    note: Annotated[str, typer.Option(help="Why; the tenant sees it.")],
    tenant: TenantOption = None,
    idempotency_key: KeyOption = None,
    data_dir: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Correct a balance. What is held for calls under way is not taken, and nobody falls below 0."""
    amount = _amount(credits)
    if amount == 0:
        raise typer.BadParameter("must not be 0", param_hint="--credits")

    async def work(database: Database, _: Settings) -> dict[str, Any]:
        from workers import credits as operators

        tenant_id = await operators.tenant_meant(database, tenant)
        return await operators.adjust(database, tenant_id, amount, note=_note(note) or "", key=_key(idempotency_key))

    _print_moved(run_work(work, data_dir), as_json)


def _either(by_api: Callable[..., Any]) -> Callable[..., None]:
    """`omium billing prices` alone: what the API says, or with --data-dir or --tenant what the database does."""

    def show_prices(
        context: typer.Context, tenant: TenantOption = None, data_dir: StackOption = None, as_json: JsonOption = False
    ) -> None:
        """Show what models, tools, steps and storage cost: asks the API, or with --data-dir the database."""
        if context.invoked_subcommand is not None:
            return
        if tenant is None and data_dir is None:
            by_api(context, as_json=as_json)
        else:
            prices_list(tenant, data_dir, as_json)

    return show_prices


def prices_list(tenant: TenantOption = None, data_dir: StackOption = None, as_json: JsonOption = False) -> None:
    """List all prices of the installation with their versions; with --tenant those that concern it."""

    async def work(database: Database, _: Settings) -> list[dict[str, Any]]:
        from workers import credits as operators

        return await operators.list_prices(database, tenant)

    found = run_work(work, data_dir)
    if as_json:
        print_done({"prices": found}, "", as_json)
    else:
        from workers.billing_tables import show_prices

        show_prices(found)


def prices_set(
    price: Annotated[
        str, typer.Argument(metavar="JSON", help='{"model": "small", "input_per_1m": 15, ...}, in credits.')
    ],
    data_dir: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set a price in credits, from now or from a time on. Calls that were made keep theirs.

    Fields: one of "model", "tool" (a name, or "*" for any that has no own), "step", "storage" (true); "per_call",
    "input_per_1m", "cached_per_1m", "output_per_1m"; "max_output_tokens", "effective_from", "tenant".
    """

    async def work(database: Database, _: Settings) -> dict[str, Any]:
        from workers import credits as operators
        from workers.price_input import read_price

        return await operators.set_price(database, read_price(price))

    print_done(done := run_work(work, data_dir), f"The price holds from {done['effective_from']} on.", as_json)


def prices_remove(
    model: Annotated[str | None, typer.Option(help="The price of this model.")] = None,
    tool: Annotated[str | None, typer.Option(help="The price of this tool.")] = None,
    step: Annotated[bool, typer.Option("--step", help="The fee for each step.")] = False,
    storage: Annotated[bool, typer.Option("--storage", help="The price of storage.")] = False,
    tenant: Annotated[str | None, typer.Option(help="What this tenant has of its own, not what holds for all.")] = None,
    effective_from: EffectiveOption = None,
    data_dir: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Withdraw a price. A tenant's own that goes leaves that for all."""
    meant = [*[("model", model)] * (model is not None), *[("tool", tool)] * (tool is not None)]
    meant += [*[("step", "")] * step, *[("storage", "")] * storage]
    if len(meant) != 1:
        raise typer.BadParameter("say one of --model, --tool, --step, --storage")
    kind, name = meant[0]
    values: dict[str, Any] = {"kind": kind, "name": name, "tenant": tenant}
    if effective_from is not None:
        values["effective_from"] = _moment(effective_from, "--effective-from")

    async def work(database: Database, _: Settings) -> dict[str, Any]:
        from workers import credits as operators

        return await operators.set_price(database, values, withdrawn=True)

    print_done(done := run_work(work, data_dir), f"The price is withdrawn from {done['effective_from']} on.", as_json)


def rebuild(
    tenant: Annotated[str | None, typer.Option(help="Only this one, by slug or id; else all.")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Repair what differs. Calls of the tenant wait meanwhile.")
    ] = False,
    data_dir: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute balances, lots, holds and budgets from the ledger's entries, and compare.

    Exit code 1 when something differs that was not repaired: in these tables, in the entries themselves (numbers without a
    gap, legs that sum to zero), or between what the journal and the ledger say of a call.
    """

    async def work(database: Database, _: Settings) -> list[Rebuilt]:
        from models.ledger_rebuild import rebuild as recompute
        from omium_core.errors import TenantErased
        from workers.resealing import all_tenants, tenant_named

        found = []
        for one in await all_tenants(database) if tenant is None else [await tenant_named(database, tenant)]:
            try:
                found.append(await recompute(database, one, write=write))
            except TenantErased:
                if tenant is not None:
                    raise
        return found

    from workers.billing_tables import rebuilt_as_json, show_rebuilt

    found: list[Rebuilt] = run_work(work, data_dir)
    if as_json:
        print_done(rebuilt_as_json(found), "", as_json)
    else:
        show_rebuilt(found)
    left = [each for one in found for each in one.differences if not (one.repaired and each.repairable)]
    raise typer.Exit(1 if left else 0)


def _print_moved(done: dict[str, Any], as_json: bool) -> None:
    how = "had moved before with this key" if done["repeated"] else "moved"
    print_done(
        done,
        f"{done['credits']} credits {how}. The balance of tenant {done['tenant_id']} is {done['balance']}.",
        as_json,
    )


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text.strip())
    except InvalidOperation:
        raise typer.BadParameter("must be a number", param_hint="--credits") from None
    if not amount.is_finite() or abs(amount) > _MOST:
        raise typer.BadParameter(f"must be a number up to {_MOST}", param_hint="--credits")
    if amount != round(amount, 6):
        raise typer.BadParameter("must have six decimals at most", param_hint="--credits")
    return amount


def _expiry(expires_at: str | None, days: int | None) -> datetime | None:
    from models.tables.base import now

    if days is not None:
        return now() + timedelta(days=days)
    if expires_at is None:
        return None
    found = _moment(expires_at, "--expires-at")
    if found <= now():
        raise typer.BadParameter("is over", param_hint="--expires-at")
    return found


def _moment(text: str, option: str) -> datetime:
    from workers.price_input import in_utc

    try:
        return in_utc(text)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            "must be a time in ISO 8601, such as 2026-01-31T12:00:00Z", param_hint=option
        ) from None


def _key(text: str | None) -> str | None:
    if text is not None and not (0 < len(text) <= 200 and text.isprintable()):
        raise typer.BadParameter("must be 1 to 200 printable characters", param_hint="--idempotency-key")
    return text


def _note(text: str | None) -> str | None:
    if text is not None and ("\x00" in text or len(text) > 1000):
        raise typer.BadParameter("must be up to 1000 characters", param_hint="--note")
    return text
