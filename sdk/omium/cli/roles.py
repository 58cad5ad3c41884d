"""`omium roles`: sets of permissions with a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from omium.cli.output import JsonFlag, cell, fail, plain, print_json, show_fields, show_more, show_table
from omium.cli.session import connect

if TYPE_CHECKING:
    from omium.types import Role

app = typer.Typer(no_args_is_help=True, help="Roles: what members may do.")

RoleId = Annotated[str, typer.Argument(metavar="ROLE_ID", help="Id of the role.")]
Description = Annotated[str | None, typer.Option(help="What it is for.")]
Permission = Annotated[
    list[str] | None, typer.Option("--permission", help="Such as execution:create; may be given several times.")
]


@app.command("list")
def list_(
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List roles."""
    with connect() as client:
        answer = client.roles.list(limit=limit, cursor=cursor)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("id")),
            cell(item.get("name")),
            cell("system" if item.get("is_system_role") else "own"),
            cell(len(item.get("permissions", []))),
            cell(item.get("description")),
        )
        for item in answer.get("roles", [])
    ]
    show_table(("id", "name", "kind", "permissions", "for"), rows, "No roles.")
    show_more(answer)


@app.command()
def get(role_id: RoleId, as_json: JsonFlag = False) -> None:
    """Show a role with its permissions."""
    with connect() as client:
        role = client.roles.get(role_id)
    _show(role, as_json)


@app.command()
def create(
    name: Annotated[str, typer.Option(help="Name of the role.")],
    permission: Permission = None,
    description: Description = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a role."""
    with connect() as client:
        role = client.roles.create(name, permission or [], description=description)
    _show(role, as_json)


@app.command()
def update(
    role_id: RoleId,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    permission: Permission = None,
    description: Description = None,
    as_json: JsonFlag = False,
) -> None:
    """Change a role, for everybody who has it. The permissions that are given take the place of all others."""
    if name is None and not permission and description is None:
        fail("Say what is to change, for instance with --permission.", code=2)
    with connect() as client:
        role = client.roles.update(role_id, name=name, permissions=permission or None, description=description)
    _show(role, as_json)


@app.command()
def delete(role_id: RoleId, as_json: JsonFlag = False) -> None:
    """Delete a role that nobody holds."""
    with connect() as client:
        client.roles.delete(role_id)
    if not as_json:
        typer.echo(f"Role {plain(role_id)} is deleted.")


@app.command()
def permissions(as_json: JsonFlag = False) -> None:
    """List every permission; a star marks those that you hold, and may give to a role."""
    with connect() as client:
        answer = client.roles.permissions()
    if as_json:
        print_json(answer)
        return
    held = set(answer.get("held", []))
    for name in answer.get("permissions", []):
        typer.echo(f"{'*' if name in held else ' '} {plain(name)}")


def _show(role: Role, as_json: bool) -> None:
    if as_json:
        print_json(role)
        return
    show_fields(
        [
            ("role", cell(role.get("id"))),
            ("name", cell(role.get("name"))),
            ("kind", cell("system" if role.get("is_system_role") else "own")),
            ("for", cell(role.get("description"))),
            ("permissions", cell(", ".join(role.get("permissions", [])))),
        ]
    )
