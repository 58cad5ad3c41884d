"""`omium api-keys`: keys for programs, and what they may use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from omium.cli.output import JsonFlag, cell, fail, moment, plain, print_json, show_fields, show_more, show_table
from omium.cli.session import connect

if TYPE_CHECKING:
    from omium.types import ApiKey, CreatedApiKey

app = typer.Typer(no_args_is_help=True, help="Keys for programs: make, list, rotate, revoke; what they may use.")

KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="Id of the key; not the key itself.")]
Scopes = Annotated[str, typer.Option(help="Of read, write and admin, separated by commas.")]
Permissions = Annotated[
    str | None, typer.Option(help="What the key holds of its scopes, such as execution:read,execution:create.")
]


@app.command("list")
def list_(
    include_revoked: Annotated[bool, typer.Option("--all", help="Also those that were revoked.")] = False,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List keys, the newest first."""
    with connect() as client:
        answer = client.api_keys.list(include_revoked=include_revoked or None, limit=limit, cursor=cursor)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(key.get("id")),
            cell(key.get("name")),
            cell(key.get("masked_key")),
            cell(", ".join(key.get("scopes", []))),
            moment(key.get("last_used_at")),
            moment(key.get("expires_at")),
            cell("revoked" if key.get("revoked_at") else "active"),
        )
        for key in answer.get("api_keys", [])
    ]
    show_table(("id", "name", "key", "scopes", "last used", "expires", ""), rows, "No keys.")
    show_more(answer)


@app.command()
def get(key_id: KeyId, as_json: JsonFlag = False) -> None:
    """Show a key: what it may do, and when it was used last."""
    with connect() as client:
        key = client.api_keys.get(key_id)
    if as_json:
        print_json(key)
    else:
        _show(key)


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scopes: Scopes = "read,write",
    permissions: Permissions = None,
    expires_in_days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="When it ends; never without it.")
    ] = None,
    rate_limit: Annotated[
        int | None, typer.Option(min=1, help="Requests a minute to executions, checkpoints and failures.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a key. It is printed this once, and stored nowhere."""
    until = None if expires_in_days is None else datetime.now(UTC) + timedelta(days=expires_in_days)
    with connect() as client:
        made = client.api_keys.create(
            name,
            scopes=_words(scopes),
            permissions=None if permissions is None else _words(permissions),
            expires_at=until.isoformat() if until else None,
            rate_limit_per_minute=rate_limit,
        )
    _show_secret(made, as_json)


@app.command()
def rotate(
    key_id: KeyId,
    overlap: Annotated[int | None, typer.Option(min=0, help="Seconds that the key so far works beside it.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a new key under the same id. It is printed this once."""
    with connect() as client:
        made = client.api_keys.rotate(key_id, overlap_seconds=overlap)
    _show_secret(made, as_json)
    if not as_json and (until := made.get("previous_expires_at")):
        typer.echo(f"The key so far works until {plain(until)}.", err=True)


@app.command()
def revoke(key_id: KeyId, as_json: JsonFlag = False) -> None:
    """End a key. It stops working within a second. The API's answer is empty, so --json prints nothing."""
    with connect() as client:
        client.api_keys.revoke(key_id)
    if not as_json:
        typer.echo(f"Key {plain(key_id)} is revoked.")


@app.command()
def limits(as_json: JsonFlag = False) -> None:
    """Show what the tenant of the key in use may use, and what it has used."""
    with connect() as client:
        found = client.api_keys.limits()
    if as_json:
        print_json(found)
        return
    rows = [
        (
            cell(f"requests of the {window.get('scope')} in {window.get('window_seconds')} s"),
            cell(window.get("limit", 0) - window.get("remaining", 0)),
            cell(window.get("limit")),
        )
        for window in found.get("requests", [])
    ]
    quotas, places = found.get("quotas", {}), found.get("executions", {})
    calls, checkpoints = quotas.get("api_calls", {}), quotas.get("checkpoints", {})
    rows += [
        (cell("requests this month"), cell(calls.get("used")), cell(calls.get("limit"))),
        (cell("checkpoints this month"), cell(checkpoints.get("used")), cell(checkpoints.get("limit"))),
        (cell("executions under way"), cell(places.get("running")), cell(places.get("max_concurrent"))),
        (cell("executions that wait"), cell(places.get("queued")), cell("")),
    ]
    show_table(("what", "used", "limit"), rows, "No limits.")


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        fail("Name at least one.", code=2)
    return words


def _show(key: ApiKey) -> None:
    show_fields(
        [
            ("key", cell(key.get("id"))),
            ("name", cell(key.get("name"))),
            ("begins with", cell(key.get("prefix"))),
            ("scopes", cell(", ".join(key.get("scopes", [])))),
            ("permissions", cell(", ".join(key.get("permissions", [])))),
            ("expires", moment(key.get("expires_at"))),
            ("last used", moment(key.get("last_used_at"))),
            ("made", moment(key.get("created_at"))),
            ("rotated", moment(key.get("rotated_at"))),
        ]
    )


def _show_secret(made: CreatedApiKey, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    show_fields(
        [
            ("key", cell(made.get("id"))),
            ("name", cell(made.get("name"))),
            ("begins with", cell(made.get("prefix"))),
            ("scopes", cell(", ".join(made.get("scopes", [])))),
            ("expires", moment(made.get("expires_at"))),
        ]
    )
    typer.echo(f"\n{plain(made.get('key'))}\n")
    typer.echo("This is the only time that the key is shown.", err=True)
