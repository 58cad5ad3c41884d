"""`omium auth`: signing in on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omium.cli.output import JsonFlag, cell, fail, moment, plain, print_json, show_fields, show_table
from omium.cli.session import connect, connect_openly
from omium.errors import OmiumAPIError, OmiumError

if TYPE_CHECKING:
    from omium.client import OmiumClient

app = typer.Typer(no_args_is_help=True, help="Sign up, in and out; your tenants, your password, your codes.")
mfa = typer.Typer(no_args_is_help=True, help="Codes of an authenticator app.")
app.add_typer(mfa, name="mfa")

Email = Annotated[str, typer.Option(prompt="E-mail", help="Your address.")]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
Token = Annotated[str, typer.Argument(metavar="TOKEN", help="The token of the mail.")]
Code = Annotated[str | None, typer.Option(help="Code of your authenticator app, or a recovery code.")]


@app.command()
def register(
    email: Email,
    tenant_name: Annotated[str | None, typer.Option("--tenant-name", "--tenant", help="Name of your tenant.")] = None,
    first_name: Annotated[str | None, typer.Option(help="Your first name.")] = None,
    last_name: Annotated[str | None, typer.Option(help="Your last name.")] = None,
    password_stdin: FromStdin = False,
    as_json: JsonFlag = False,
) -> None:
    """Make an account with a tenant of its own, and sign in."""
    password = _password(password_stdin, new=True)
    with connect_openly() as client:
        answer = client.auth.register(
            email, password, first_name=first_name, last_name=last_name, tenant_name=tenant_name
        )
        _keep(client, answer, as_json)


@app.command()
def login(
    email: Email,
    tenant_id: Annotated[
        str | None, typer.Option("--tenant-id", help="The tenant; else that of the last time.")
    ] = None,
    code: Code = None,
    password_stdin: FromStdin = False,
    as_json: JsonFlag = False,
) -> None:
    """Sign in. Commands act as you from now on, unless OMIUM_API_KEY is set."""
    password = _password(password_stdin)
    with connect_openly() as client:
        try:
            answer = client.auth.login(email, password, totp_code=code, tenant_id=tenant_id)
        except OmiumAPIError as error:
            if error.code != "AUTH_MFA_REQUIRED" or password_stdin:
                raise
            answer = client.auth.login(email, password, totp_code=typer.prompt("Code"), tenant_id=tenant_id)
        _keep(client, answer, as_json)


@app.command()
def logout(
    everywhere: Annotated[bool, typer.Option("--everywhere", help="End all your sessions, not only this one.")] = False,
) -> None:
    """Sign out on this machine."""
    from omium import login as logins
    from omium.config import resolve

    try:
        known = logins.read(resolve().base_url)
    except OmiumError as error:
        fail(str(error))
    if known is None:
        typer.echo("Nobody is signed in here.")
        return
    with connect_openly() as client:
        try:
            client.auth.logout(known.refresh_token, everywhere=everywhere or None)
        except OmiumAPIError as error:
            # a session that is over already needs no end
            if error.status_code != 401:
                raise
        finally:
            logins.forget()
    typer.echo(f"Signed out {plain(known.email)}.")


@app.command()
def whoami(as_json: JsonFlag = False) -> None:
    """Show who is asking: you, or an API key."""
    with connect() as client:
        me = client.auth.me()
    if as_json:
        print_json(me)
        return
    tenants = [f"{item.get('slug')}{' (here)' if item.get('current') else ''}" for item in me.get("tenants", [])]
    show_fields(
        [
            ("who", cell(me.get("email") or _key(me.get("api_key") or {}))),
            ("name", cell(me.get("full_name"))),
            ("tenant", cell(me.get("tenant", {}).get("slug"))),
            ("roles", cell(", ".join(me.get("roles", [])))),
            ("tenants", cell(", ".join(tenants))),
            ("codes", cell("asked for" if me.get("mfa_enabled") else "not asked for")),
        ]
    )


@app.command()
def switch(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="Id or slug of another tenant of yours.")],
    as_json: JsonFlag = False,
) -> None:
    """Act for another of your tenants from now on."""
    with connect() as client:
        known = client.auth.me().get("tenants", [])
        found = [item["id"] for item in known if tenant in (item.get("id"), item.get("slug"))]
        if not found:
            fail(f"You belong to no tenant {tenant!r}; there are: {', '.join(item['slug'] for item in known)}.")
        _keep(client, client.auth.switch_tenant(found[0]), as_json)


@app.command()
def sessions(as_json: JsonFlag = False) -> None:
    """List where you are signed in."""
    with connect() as client:
        answer = client.auth.sessions()
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(item.get("id")),
            cell("here" if item.get("current") else ""),
            cell(item.get("address")),
            cell(item.get("user_agent")),
            moment(item.get("refreshed_at")),
        )
        for item in answer.get("sessions", [])
    ]
    show_table(("id", "", "address", "agent", "last used"), rows, "No sessions.")


@app.command("end-session")
def end_session(session_id: Annotated[str, typer.Argument(metavar="SESSION_ID", help="Id of the session.")]) -> None:
    """Sign yourself out somewhere else."""
    with connect() as client:
        client.auth.end_session(session_id)
    typer.echo(f"Session {plain(session_id)} is over.")


@app.command("verify-email")
def verify_email(token: Token) -> None:
    """Confirm your address."""
    with connect_openly() as client:
        typer.echo(plain(client.auth.verify_email(token).get("message")))


@app.command("forgot-password")
def forgot_password(email: Email) -> None:
    """Ask for a mail with which you can set a new password."""
    with connect_openly() as client:
        typer.echo(plain(client.auth.forgot_password(email).get("message")))


@app.command("reset-password")
def reset_password(token: Token, password_stdin: FromStdin = False) -> None:
    """Set a new password with the token of the mail."""
    password = _password(password_stdin, new=True)
    with connect_openly() as client:
        typer.echo(plain(client.auth.reset_password(token, password).get("message")))


@app.command("change-password")
def change_password() -> None:
    """Change your password; your other sessions end."""
    current = typer.prompt("Current password", hide_input=True)
    password = _password(False, new=True)
    with connect() as client:
        typer.echo(plain(client.auth.change_password(current, password).get("message")))


@app.command("accept-invitation")
def accept_invitation(
    token: Token,
    first_name: Annotated[str | None, typer.Option(help="Your first name.")] = None,
    last_name: Annotated[str | None, typer.Option(help="Your last name.")] = None,
    code: Code = None,
    password_stdin: FromStdin = False,
    as_json: JsonFlag = False,
) -> None:
    """Join a tenant: with your password, or with a new one if you have no account yet."""
    password = _password(password_stdin)
    with connect_openly() as client:
        answer = client.auth.accept_invitation(
            token, password, totp_code=code, first_name=first_name, last_name=last_name
        )
        _keep(client, answer, as_json)


@mfa.command("enable")
def mfa_enable() -> None:
    """Ask for a code at each sign-in. Shows recovery codes: keep them."""
    with connect() as client:
        enrolment = client.auth.enroll_mfa(_password(False))
        typer.echo(f"Secret: {plain(enrolment.get('secret'))}\n{plain(enrolment.get('otpauth_uri'))}")
        codes = client.auth.confirm_mfa(typer.prompt("Code")).get("recovery_codes", [])
    typer.echo("Recovery codes, each for once:\n" + "\n".join(plain(code) for code in codes))


@mfa.command("disable")
def mfa_disable() -> None:
    """Ask for no code any more."""
    with connect() as client:
        answer = client.auth.disable_mfa(_password(False), typer.prompt("Code"))
    typer.echo(plain(answer.get("message")))


def _key(key: Mapping[str, Any]) -> str:
    return f"the API key {key.get('name')} ({key.get('prefix')}…; {', '.join(key.get('scopes', []))})"


def _password(from_stdin: bool, *, new: bool = False) -> str:
    if from_stdin:
        return typer.get_text_stream("stdin").readline().rstrip("\r\n")
    return str(typer.prompt("New password" if new else "Password", hide_input=True, confirmation_prompt=new))


def _keep(client: OmiumClient, answer: Mapping[str, Any], as_json: bool) -> None:
    """Saves who signed in, and says so; with --json, without the tokens."""
    from omium import login as logins

    if "access_token" not in answer:
        typer.echo(plain(answer.get("message")))
        return
    kept = logins.from_answer(client.base_url, answer)
    path = logins.write(kept)
    if as_json:
        print_json({"user": answer["user"], "tenant": answer["tenant"], "file": str(path)})
    else:
        typer.echo(f"Signed in as {plain(kept.email)} to {plain(kept.tenant)} (saved in {path}).")
