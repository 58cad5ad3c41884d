"""`omium members`: the people of the tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from omium.cli.output import JsonFlag, cell, moment, plain, print_json, show_fields, show_more, show_table
from omium.cli.session import connect

if TYPE_CHECKING:
    from omium.types import Member, RoleShort

app = typer.Typer(no_args_is_help=True, help="The people of the tenant, and those who are invited.")

UserId = Annotated[str, typer.Argument(metavar="USER_ID", help="Id of the member.")]
Roles = Annotated[list[str], typer.Option("--role", help="Name or id of a role; may be given several times.")]
Limit = Annotated[int | None, typer.Option(help="How many at most.")]
Cursor = Annotated[str | None, typer.Option(help="Where the page before ended.")]


@app.command("list")
def list_(
    email: Annotated[str | None, typer.Option(help="Only the one with this address.")] = None,
    limit: Limit = None,
    cursor: Cursor = None,
    as_json: JsonFlag = False,
) -> None:
    """List members, the newest first."""
    with connect() as client:
        answer = client.members.list(email=email, limit=limit, cursor=cursor)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("id")),
            cell(item.get("email")),
            cell(item.get("full_name")),
            cell(_names(item.get("roles", []))),
            moment(item.get("last_login_at")),
        )
        for item in answer.get("members", [])
    ]
    show_table(("id", "e-mail", "name", "roles", "last sign-in"), rows, "No members.")
    show_more(answer)


@app.command()
def get(user_id: UserId, as_json: JsonFlag = False) -> None:
    """Show a member."""
    with connect() as client:
        member = client.members.get(user_id)
    _show(member, as_json)


@app.command("set-roles")
def set_roles(user_id: UserId, role: Roles, as_json: JsonFlag = False) -> None:
    """Give a member these roles, and no other."""
    with connect() as client:
        member = client.members.set_roles(user_id, role)
    _show(member, as_json)


@app.command()
def remove(user_id: UserId, as_json: JsonFlag = False) -> None:
    """Remove a member; their sessions end, and the API keys that they made are revoked."""
    with connect() as client:
        client.members.remove(user_id)
    if not as_json:
        typer.echo(f"Member {plain(user_id)} is removed.")


@app.command()
def invite(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="Whom to invite.")],
    role: Roles,
    as_json: JsonFlag = False,
) -> None:
    """Mail somebody a token with which they join."""
    with connect() as client:
        invitation = client.members.invite(email, role)
    if as_json:
        print_json(invitation)
    else:
        typer.echo(f"Invited {plain(invitation.get('email'))} as {plain(_names(invitation.get('roles', [])))}.")


@app.command()
def invitations(limit: Limit = None, cursor: Cursor = None, as_json: JsonFlag = False) -> None:
    """List the invitations that may still be accepted."""
    with connect() as client:
        answer = client.members.invitations(limit=limit, cursor=cursor)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("id")),
            cell(item.get("email")),
            cell(_names(item.get("roles", []))),
            moment(item.get("expires_at")),
        )
        for item in answer.get("invitations", [])
    ]
    show_table(("id", "e-mail", "roles", "until"), rows, "No invitations.")
    show_more(answer)


@app.command()
def uninvite(
    invitation_id: Annotated[str, typer.Argument(metavar="INVITATION_ID", help="Id of the invitation.")],
    as_json: JsonFlag = False,
) -> None:
    """Revoke an invitation."""
    with connect() as client:
        client.members.revoke_invitation(invitation_id)
    if not as_json:
        typer.echo(f"Invitation {plain(invitation_id)} is revoked.")


def _names(roles: list[RoleShort]) -> str:
    return ", ".join(str(role.get("name")) for role in roles)


def _show(member: Member, as_json: bool) -> None:
    if as_json:
        print_json(member)
        return
    show_fields(
        [
            ("member", cell(member.get("id"))),
            ("e-mail", cell(member.get("email"))),
            ("name", cell(member.get("full_name"))),
            ("roles", cell(_names(member.get("roles", [])))),
            ("last sign-in", moment(member.get("last_login_at"))),
            ("since", moment(member.get("created_at"))),
        ]
    )
