"""`omium connections`: agents that run elsewhere, and model providers of one's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omium.cli.inputs import json_option
from omium.cli.output import JsonFlag, cell, fail, moment, plain, print_json, show_fields, show_more, show_table
from omium.cli.session import connect

if TYPE_CHECKING:
    from omium.types import Connection

app = typer.Typer(
    no_args_is_help=True, help="Connections to agents that run elsewhere, and to model providers of one's own."
)

#: Short words for the types.
TYPES = {
    "crewai": "crewai_aop",
    "langgraph": "langgraph_cloud",
    "autogen": "autogen_studio",
    "model-provider": "model_provider",
}

ConnectionId = Annotated[str, typer.Argument(metavar="CONNECTION_ID", help="Id of the connection.")]
Name = Annotated[str, typer.Option(help="What people and definitions call it.")]
Url = Annotated[str, typer.Option(help="Address of the service.")]
TokenFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="File that holds the token; - is standard input. Left out, it is asked for without being shown.",
    ),
]
NoToken = Annotated[bool, typer.Option("--no-token", help="The service asks for none.")]
Assistant = Annotated[str | None, typer.Option(help="LangGraph: id of the assistant, or name of its graph.")]
Team = Annotated[int | None, typer.Option(help="AutoGen Studio: number of the team.")]
User = Annotated[str | None, typer.Option(help="AutoGen Studio: the user whose team it is.")]
Models = Annotated[
    list[str] | None, typer.Option("--model", help="Model provider: a model that it is used for; several times.")
]
Default = Annotated[
    bool | None, typer.Option("--default/--no-default", help="Model provider: used for all others too.")
]
Metadata = Annotated[str | None, typer.Option(metavar="JSON", help="What the service wants beside: JSON, @FILE, or -.")]


@app.command("list")
def list_(
    type_: Annotated[str | None, typer.Option("--type", help="Only those of this type, such as crewai.")] = None,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List connections, the newest first."""
    with connect() as client:
        answer = client.connections.list(connection_type=_type(type_), limit=limit, cursor=cursor)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("id")),
            cell(item.get("connection_name")),
            cell(item.get("connection_type")),
            cell(item.get("crew_url")),
            cell("yes" if item.get("is_active") else "no"),
        )
        for item in answer.get("connections", [])
    ]
    show_table(("id", "name", "type", "address", "active"), rows, "No connections.")
    show_more(answer)


@app.command()
def get(connection_id: ConnectionId, as_json: JsonFlag = False) -> None:
    """Show a connection. Its token is never shown."""
    with connect() as client:
        connection = client.connections.get(connection_id)
    _show(connection, as_json)


@app.command()
def create(
    type_: Annotated[str, typer.Argument(metavar="TYPE", help=f"One of {', '.join(TYPES)}.")],
    name: Name,
    url: Url,
    token_file: TokenFile = None,
    no_token: NoToken = False,
    assistant: Assistant = None,
    team: Team = None,
    user: User = None,
    models: Models = None,
    default: Default = None,
    metadata: Metadata = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a connection. The token is no option: options are seen by everybody on the machine."""
    token = None if no_token else _token(token_file)
    with connect() as client:
        connection = client.connections.create(
            _type(type_) or "",
            name,
            url,
            token=token,
            assistant_id=assistant,
            team_id=team,
            user_id=user,
            models=models or None,
            default=default,
            metadata=json_option(metadata, "--metadata") if metadata is not None else None,
        )
    _show(connection, as_json)


@app.command()
def update(
    connection_id: ConnectionId,
    name: Annotated[str | None, typer.Option(help="Its new name.")] = None,
    url: Annotated[str | None, typer.Option(help="Its new address; with another host, the token is needed.")] = None,
    token_file: TokenFile = None,
    new_token: Annotated[bool, typer.Option("--new-token", help="Ask for a new token.")] = False,
    active: Annotated[bool | None, typer.Option("--active/--inactive", help="Whether it is used.")] = None,
    assistant: Assistant = None,
    team: Team = None,
    user: User = None,
    models: Models = None,
    default: Default = None,
    metadata: Metadata = None,
    as_json: JsonFlag = False,
) -> None:
    """Change a connection. Runs use it as it is now within seconds, a new token too."""
    changes: dict[str, Any] = {
        "connection_name": name,
        "url": url,
        "token": _token(token_file) if new_token or token_file else None,
        "is_active": active,
        "assistant_id": assistant,
        "team_id": team,
        "user_id": user,
        "models": models or None,
        "default": default,
        "metadata": json_option(metadata, "--metadata") if metadata is not None else None,
    }
    if all(value is None for value in changes.values()):
        fail("Say what is to change, for instance with --new-token.", code=2)
    with connect() as client:
        connection = client.connections.update(connection_id, **changes)
    _show(connection, as_json)


@app.command("test")
def try_out(connection_id: ConnectionId, as_json: JsonFlag = False) -> None:
    """Ask the service whether it is there and knows the token. Ends with 1 if not."""
    with connect() as client:
        answer = client.connections.test(connection_id)
    if as_json:
        print_json(answer)
    else:
        typer.echo(plain(answer.get("message")))
    if not answer.get("ok"):
        raise typer.Exit(1)


@app.command()
def delete(connection_id: ConnectionId, as_json: JsonFlag = False) -> None:
    """Delete a connection and its token. The API's answer is empty, so --json prints nothing."""
    with connect() as client:
        client.connections.delete(connection_id)
    if not as_json:
        typer.echo(f"Connection {plain(connection_id)} is deleted.")


@app.command()
def inputs(connection_id: ConnectionId, as_json: JsonFlag = False) -> None:
    """Show what the agent takes."""
    with connect() as client:
        answer = client.connections.inputs(connection_id)
    if as_json:
        print_json(answer)
        return
    show_table(("input",), [(cell(name),) for name in answer.get("inputs", [])], "It names no inputs.")


@app.command()
def execute(
    connection_id: ConnectionId,
    given: Annotated[str, typer.Option("--inputs", metavar="JSON", help="What it is given: JSON, @FILE, or -.")] = "{}",
    idempotency_key: Annotated[str | None, typer.Option(help="The same key never starts it a second time.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Start the agent at its service, outside of any run of the platform."""
    with connect() as client:
        answer = client.connections.execute(
            connection_id, json_option(given, "--inputs"), idempotency_key=idempotency_key
        )
    if as_json:
        print_json(answer)
        return
    show_fields([("kickoff", cell(answer.get("kickoff_id"))), ("status", cell(answer.get("status")))])


@app.command()
def status(
    connection_id: ConnectionId,
    kickoff_id: Annotated[str, typer.Argument(metavar="KICKOFF_ID", help="What `execute` printed.")],
    as_json: JsonFlag = False,
) -> None:
    """Show how a run stands that the service started."""
    with connect() as client:
        answer = client.connections.status(connection_id, kickoff_id)
    if as_json:
        print_json(answer)
        return
    fields = [("status", cell(answer.get("status"))), ("tokens", cell(answer.get("token_usage")))]
    if answer.get("error"):
        fields.append(("error", cell(answer.get("error"))))
    show_fields(fields)
    if answer.get("output"):
        typer.echo(plain(answer.get("output")))


def _type(given: str | None) -> str | None:
    """The API's name of a type; what is no short word is taken as it is."""
    return None if given is None else TYPES.get(given, given)


def _token(file: str | None) -> str:
    if file is None:
        if not sys.stdin.isatty():
            fail("Give the token in a file with --token-file, or on standard input with --token-file -.", code=2)
        return str(typer.prompt("Token", hide_input=True)).strip()
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"--token-file: cannot read {file}: {error.__class__.__name__}.", code=2)
    return text.strip()


def _show(connection: Connection, as_json: bool) -> None:
    if as_json:
        print_json(connection)
        return
    hint = connection.get("token_hint")
    show_fields(
        [
            ("connection", cell(connection.get("id"))),
            ("name", cell(connection.get("connection_name"))),
            ("type", cell(connection.get("connection_type"))),
            ("address", cell(connection.get("crew_url"))),
            ("token", cell(f"...{hint}" if hint else "not shown")),
            ("active", cell("yes" if connection.get("is_active") else "no")),
            ("last answer", moment(connection.get("last_synced_at"))),
            ("updated", moment(connection.get("updated_at"))),
        ]
    )
    if connection.get("metadata"):
        print_json(connection.get("metadata"))
