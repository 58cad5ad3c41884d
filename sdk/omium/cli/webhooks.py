"""`omium webhooks`: addresses that are told of what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from omium.cli.output import JsonFlag, cell, fail, moment, plain, print_json, show_fields, show_more, show_table
from omium.cli.session import connect

if TYPE_CHECKING:
    from omium.types import Webhook, WebhookDeliveryEnvelope

app = typer.Typer(no_args_is_help=True, help="Addresses that are told of what happens, and what they were told.")

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK_ID", help="Id of the endpoint.")]
DeliveryId = Annotated[str, typer.Argument(metavar="DELIVERY_ID", help="Id of the delivery.")]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", help="An event, execution.* for all of a kind, or '*' for all; several times."),
]
Description = Annotated[str | None, typer.Option(help="What it is for.")]
Enabled = Annotated[bool | None, typer.Option("--enabled/--disabled", help="Whether it is told of anything.")]


@app.command()
def create(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are sent to.")],
    events: Events = None,
    description: Description = None,
    enabled: Enabled = None,
    as_json: JsonFlag = False,
) -> None:
    """Tell an address of events. The secret that signs them is shown this once."""
    with connect() as client:
        webhook = client.webhooks.create(url, events or None, description, enabled)
    _show(webhook, as_json)


@app.command("list")
def list_(
    enabled: Enabled = None,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List endpoints, the newest first."""
    with connect() as client:
        answer = client.webhooks.list(enabled=enabled, limit=limit, cursor=cursor)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("id")),
            cell(item.get("url")),
            cell(", ".join(item.get("events", []))),
            cell(_state(item)),
        )
        for item in answer.get("webhooks", [])
    ]
    show_table(("id", "url", "events", "state"), rows, "No webhooks.")
    show_more(answer)


@app.command()
def events(as_json: JsonFlag = False) -> None:
    """List the events that an endpoint can be told of."""
    with connect() as client:
        answer = client.webhooks.events()
    if as_json:
        print_json(answer)
        return
    rows = [(cell(item.get("name")), cell(item.get("description"))) for item in answer.get("events", [])]
    show_table(("event", "what happened"), rows, "No events.")


@app.command()
def get(webhook_id: WebhookId, as_json: JsonFlag = False) -> None:
    """Show an endpoint, without its secret."""
    with connect() as client:
        webhook = client.webhooks.get(webhook_id)
    _show(webhook, as_json)


@app.command()
def update(
    webhook_id: WebhookId,
    url: Annotated[str | None, typer.Option(help="Where events are sent to.")] = None,
    events: Events = None,
    description: Description = None,
    enabled: Enabled = None,
    as_json: JsonFlag = False,
) -> None:
    """Change what is given; --enabled switches one on again that was switched off."""
    if url is None and not events and description is None and enabled is None:
        fail("Say what is to change, for instance with --event.", code=2)
    with connect() as client:
        webhook = client.webhooks.update(webhook_id, url, events or None, description, enabled)
    _show(webhook, as_json)


@app.command()
def delete(webhook_id: WebhookId, as_json: JsonFlag = False) -> None:
    """Delete an endpoint with the log of its deliveries. The API's answer is empty, so --json prints nothing."""
    with connect() as client:
        client.webhooks.delete(webhook_id)
    if not as_json:
        typer.echo(f"Webhook {plain(webhook_id)} is deleted.")


@app.command("rotate-secret")
def rotate_secret(webhook_id: WebhookId, as_json: JsonFlag = False) -> None:
    """Make a new secret, shown this once. The one before signs as well for a while."""
    with connect() as client:
        webhook = client.webhooks.rotate_secret(webhook_id)
    _show(webhook, as_json)


@app.command("test")
def send_test(webhook_id: WebhookId, as_json: JsonFlag = False) -> None:
    """Send the event webhook.test to an endpoint."""
    with connect() as client:
        answer = client.webhooks.test(webhook_id)
    _tell(answer, as_json)


@app.command()
def deliveries(
    webhook_id: WebhookId,
    status: Annotated[str | None, typer.Option(help="Only those pending, delivered or failed.")] = None,
    event: Annotated[str | None, typer.Option(help="Only those of this event.")] = None,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List what an endpoint was told, the newest first."""
    with connect() as client:
        answer = client.webhooks.deliveries(webhook_id, status, event, limit, cursor)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("id")),
            cell(item.get("event_type")),
            cell(item.get("status")),
            cell(item.get("attempts")),
            cell(item.get("response_code")),
            moment(item.get("created_at")),
            moment(item.get("next_attempt_at")),
            cell(item.get("last_error")),
        )
        for item in answer.get("deliveries", [])
    ]
    show_table(("id", "event", "status", "attempts", "answer", "made", "next", "error"), rows, "No deliveries.")
    show_more(answer)


@app.command()
def redeliver(webhook_id: WebhookId, delivery_id: DeliveryId, as_json: JsonFlag = False) -> None:
    """Send one again now, with all attempts before it."""
    with connect() as client:
        answer = client.webhooks.redeliver(webhook_id, delivery_id)
    _tell(answer, as_json)


def _state(webhook: Webhook) -> str:
    if webhook.get("enabled"):
        return "enabled"
    reason = webhook.get("disabled_reason")
    return f"disabled ({reason})" if reason else "disabled"


def _tell(answer: WebhookDeliveryEnvelope, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"{plain(answer.get('message'))} Delivery {plain(answer.get('delivery', {}).get('id'))}.")


def _show(webhook: Webhook, as_json: bool) -> None:
    if as_json:
        print_json(webhook)
        return
    fields = [
        ("webhook", cell(webhook.get("id"))),
        ("url", cell(webhook.get("url"))),
        ("events", cell(", ".join(webhook.get("events", [])))),
        ("description", cell(webhook.get("description"))),
        ("state", cell(_state(webhook))),
        ("failing since", moment(webhook.get("failing_since"))),
    ]
    if "secret" in webhook:
        fields.append(("secret", cell(webhook.get("secret"))))
        fields.append(("", cell("It is shown this once.")))
    show_fields(fields)
