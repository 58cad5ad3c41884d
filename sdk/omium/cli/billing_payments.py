"""The commands of `omium billing` that Stripe is behind: top-ups, the subscription, invoices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from omium.cli.billing import app
from omium.cli.output import JsonFlag, cell, fail, moment, print_json, show_fields, show_more, show_table
from omium.cli.session import connect

if TYPE_CHECKING:
    from omium.types import AutoTopUp, Subscription

#: The whole group: these commands beside those of `omium.cli.billing`.
group = app
subscription = typer.Typer(no_args_is_help=True, help="The plan that the tenant has.")
app.add_typer(subscription, name="subscription")

AmountUsd = Annotated[str, typer.Argument(metavar="AMOUNT_USD", help="US dollars, such as 25 or 99.50.")]
PlanName = Annotated[str, typer.Argument(metavar="PLAN", help="developer, pro or enterprise.")]
Key = Annotated[str | None, typer.Option("--idempotency-key", help="The same key pays once.")]


@app.command()
def topup(amount_usd: AmountUsd, idempotency_key: Key = None, as_json: JsonFlag = False) -> None:
    """Begin a payment. A page confirms it with the client secret; the credits come when it is paid."""
    with connect() as client:
        made = client.billing.topup(_number(amount_usd), idempotency_key=idempotency_key)
    if as_json:
        print_json(made)
        return
    show_fields(
        [
            ("payment", cell(made.get("payment_intent_id"))),
            ("to pay", cell(_dollars((made.get("amount_cents") or 0) / 100))),
            ("credits", cell(made.get("credits_to_add"))),
            ("client secret", cell(made.get("client_secret"))),
            ("publishable key", cell(made.get("publishable_key"))),
        ]
    )


@app.command()
def plans(as_json: JsonFlag = False) -> None:
    """List what there is to subscribe to."""
    with connect() as client:
        answer = client.billing.plans()
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(plan.get("name")),
            cell("by agreement" if plan.get("price_usd") is None else f"{_dollars(plan.get('price_usd'))} a month"),
            cell(plan.get("credits_per_month") or ""),
            cell("yours" if plan.get("current") else "" if plan.get("available") else "not sold here"),
        )
        for plan in answer.get("plans", [])
    ]
    show_table(("plan", "price", "credits a month", ""), rows, "No plans.")


@app.command()
def invoices(
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List invoices, the newest first."""
    with connect() as client:
        answer = client.billing.invoices(limit=limit, cursor=cursor)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("number") or item.get("id")),
            moment(item.get("created_at")),
            cell(_dollars(item.get("total_usd"))),
            cell(item.get("status")),
            cell(item.get("pdf_url")),
        )
        for item in answer.get("invoices", [])
    ]
    show_table(("invoice", "made", "total", "status", "pdf"), rows, "No invoices.")
    show_more(answer)


@app.command()
def portal(
    return_url: Annotated[str | None, typer.Option(help="Where the page leads back to.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print the address of a page where cards, addresses and plans are changed."""
    with connect() as client:
        made = client.billing.portal(return_url=return_url)
    if as_json:
        print_json(made)
        return
    typer.echo(made.get("url", ""))


@app.command("auto-topup")
def auto_topup(
    below: Annotated[int | None, typer.Option(help="The balance in credits below which is paid.")] = None,
    amount_usd: Annotated[str | None, typer.Option(help="What is paid each time, in US dollars.")] = None,
    max_per_month: Annotated[int | None, typer.Option(help="How often in a month at most.")] = None,
    off: Annotated[bool, typer.Option("--off", help="No payment by itself any more.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show the rule by which the balance is filled up by itself; with options, set it."""
    if (below is None) != (amount_usd is None):
        fail("Give --below and --amount-usd together.", code=2)
    with connect() as client:
        rule = client.billing.auto_topup()
        if off and below is None:
            if rule.get("amount_usd") is not None:
                rule = client.billing.set_auto_topup(
                    int(rule.get("threshold_credits") or 0),
                    rule.get("amount_usd") or 0,
                    max_per_month=max_per_month or rule.get("max_per_month"),
                    enabled=False,
                )
        elif below is not None and amount_usd is not None:
            rule = client.billing.set_auto_topup(
                below, _number(amount_usd), max_per_month=max_per_month, enabled=not off
            )
    if as_json:
        print_json(rule)
        return
    _show_rule(rule)


@subscription.command("show")
def show_subscription(as_json: JsonFlag = False) -> None:
    """Show the plan that the tenant has, and how it stands."""
    with connect() as client:
        found = client.billing.get_subscription()
    _show(found, as_json)


@subscription.command("start")
def start_subscription(
    plan: PlanName,
    success_url: Annotated[str | None, typer.Option(help="Where Stripe's page leads when it is paid.")] = None,
    cancel_url: Annotated[str | None, typer.Option(help="Where it leads when it is not.")] = None,
    idempotency_key: Key = None,
    as_json: JsonFlag = False,
) -> None:
    """Begin a subscription: prints the address of the page where it is paid."""
    with connect() as client:
        made = client.billing.subscribe(
            plan, success_url=success_url, cancel_url=cancel_url, idempotency_key=idempotency_key
        )
    if as_json:
        print_json(made)
        return
    typer.echo(made.get("checkout_url") or "")


@subscription.command("change")
def change_subscription(plan: PlanName, idempotency_key: Key = None, as_json: JsonFlag = False) -> None:
    """To a dearer plan at once, to a cheaper one with the next period."""
    with connect() as client:
        found = client.billing.change_plan(plan, idempotency_key=idempotency_key)
    _show(found, as_json)


@subscription.command("cancel")
def cancel_subscription(
    now: Annotated[bool, typer.Option("--now", help="At once, and not with the period that was paid.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """End the subscription with the period that was paid, or at once."""
    with connect() as client:
        found = client.billing.cancel_subscription(immediately=now)
    _show(found, as_json)


@subscription.command("resume")
def resume_subscription(as_json: JsonFlag = False) -> None:
    """Take back that the subscription ends with the period."""
    with connect() as client:
        found = client.billing.resume_subscription()
    _show(found, as_json)


def _show(found: Subscription, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    end = "ends" if found.get("cancel_at_period_end") else "next period"
    show_fields(
        [
            ("plan", cell(found.get("plan") or "none")),
            ("status", cell(found.get("status"))),
            ("tier", cell(found.get("tier"))),
            ("credits a month", cell(found.get("credits_per_month"))),
            (end, moment(found.get("current_period_end"))),
            ("then", cell(found.get("next_plan"))),
        ]
    )


def _show_rule(rule: AutoTopUp) -> None:
    show_fields(
        [
            ("automatic top-up", cell("on" if rule.get("enabled") else "off")),
            ("below", cell(rule.get("threshold_credits"))),
            ("pays", cell(_dollars(rule.get("amount_usd")))),
            ("at most a month", cell(rule.get("max_per_month"))),
            ("this month", cell(rule.get("topups_this_month"))),
            ("paused because", cell(rule.get("paused_reason"))),
        ]
    )


def _number(text: str) -> float:
    """US dollars from the command line; whether they can be paid is the API's affair."""
    try:
        return float(text)
    except ValueError:
        fail(f"{text} is no amount of US dollars, such as 25 or 99.50.", code=2)


def _dollars(amount: Any) -> str:
    return f"${amount:,.2f}" if isinstance(amount, int | float) else ""
