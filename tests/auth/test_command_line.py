"""`omium auth`, `members`, `roles` before an API process of its own, whose log is where its mails go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from omium import login as logins

from tests.auth.conftest import PASSWORD, an_email
from tests.auth.mailbox import TOKEN
from tests.sdk.command_line import run
from tests.support.database import PostgresServer
from tests.support.loopback import free_port, wait_until

Mails = Callable[[str, str], str]


@pytest.fixture
def mails(postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mails]:
    """Starts the API; finds the token of a mail to an address in its log."""
    port, ready, log = free_port(), tmp_path / "ready", tmp_path / "log"
    for name in [name for name in os.environ if name.startswith("OMIUM_")]:
        monkeypatch.delenv(name)
    settings = {
        "OMIUM_DATABASE_URL": postgres.url,
        "OMIUM_STORE_PATH": str(tmp_path / "objects"),
        "OMIUM_API_PORT": str(port),
        "OMIUM_READY_FILE": str(ready),
        "OMIUM_PASSWORD_MEMORY_KIB": "8",
        "OMIUM_PASSWORD_PASSES": "1",
    }
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "api"], env=os.environ | settings, stdout=output, stderr=subprocess.STDOUT
        )
    monkeypatch.setenv("OMIUM_CONFIG_FILE", str(tmp_path / "settings" / "config.toml"))
    monkeypatch.setenv("OMIUM_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.chdir(tmp_path)

    def token(email: str, about: str) -> str:
        found: list[str] = []

        def look() -> bool:
            for line in log.read_text().splitlines():
                mail = json.loads(line) if line.startswith("{") else {}
                if mail.get("message") == "mail" and mail["to"] == email and about in mail["subject"]:
                    match = TOKEN.search(mail["text"])
                    assert match is not None
                    found.append(match[0])
            return bool(found)

        wait_until(look, seconds=60, what=f"a mail to {email}")
        return found[-1]

    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, seconds=60, what="the API")
        assert process.poll() is None, log.read_text()
        yield token
    finally:
        process.terminate()
        process.wait(60)


def done(*arguments: str, stdin: str | None = None) -> str:
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 0, (arguments, result.output)
    return result.stdout


def test_people_work_from_the_command_line(mails: Mails, tmp_path: Path) -> None:
    owner, guest = an_email(), an_email()
    password = f"{PASSWORD}\n"
    assert f"Signed in as {owner}" in done(
        "auth", "register", "--email", owner, "--tenant-name", "Acme", "--password-stdin", stdin=password
    )
    kept = tmp_path / "settings" / "login.json"
    assert kept.stat().st_mode & 0o077 == 0
    assert "confirmed" in done("auth", "verify-email", mails(owner, "Confirm"))
    me = json.loads(done("auth", "whoami", "--json"))
    assert (me["email"], me["roles"], me["email_verified"]) == (owner, ["owner"], True)

    made = json.loads(done("api-keys", "create", "--name", "Production Key", "--scopes", "read,write", "--json"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMIUM_API_KEY", made["key"])
        assert f"Production Key ({made['prefix']}" in done("auth", "whoami")
    assert run("api-keys", "create", "--name", "x", "--expires-in-days", "999999999").exit_code == 2

    done("roles", "create", "--name", "Night shift", "--permission", "execution:read", "--permission", "member:read")
    assert "Invited" in done("members", "invite", guest, "--role", "Night shift")
    token = mails(guest, "Invitation")
    assert guest in done("members", "invitations")
    assert "Signed out" in done("auth", "logout")
    refused = run("members", "list")
    assert refused.exit_code == 1

    done("auth", "accept-invitation", token, "--password-stdin", stdin=password)
    members = json.loads(done("members", "list", "--json"))["members"]
    assert {member["email"] for member in members} == {owner, guest}
    forbidden = run("members", "remove", members[0]["id"])
    assert forbidden.exit_code == 1
    assert "AUTH_INSUFFICIENT_PERMISSIONS" in forbidden.stderr

    done("auth", "login", "--email", owner, "--password-stdin", stdin=password)
    member = next(member["id"] for member in members if member["email"] == guest)
    assert "viewer" in done("members", "set-roles", member, "--role", "viewer")
    done("members", "remove", member)
    assert json.loads(done("members", "list", "--json"))["total"] == 1

    _refreshes_once(me["tenant"]["slug"])
    assert "Signed out" in done("auth", "logout", "--everywhere")
    assert "Nobody" in done("auth", "logout")


def _refreshes_once(tenant: str) -> None:
    """Commands that come at once with a token that is nearly over share one refresh, and the session lives on."""
    present = logins.read(os.environ["OMIUM_BASE_URL"] + "/api/v1")
    assert present is not None
    assert present.tenant == tenant
    assert PASSWORD not in repr(present)
    assert present.access_token not in repr(present)
    logins.write(
        logins.Login(
            present.base_url,
            present.email,
            present.tenant,
            present.access_token,
            present.refresh_token,
            time.time() + 1,
            present.lifetime,
        )
    )
    from omium.cli.session import access_token

    with ThreadPoolExecutor(6) as threads:
        tokens = {future.result() for future in [threads.submit(access_token) for _ in range(6)]}
    assert len(tokens) == 1
    assert tokens != {present.access_token}
    done("auth", "whoami")
