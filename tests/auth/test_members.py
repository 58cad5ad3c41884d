"""Members, invitations, roles, and what changes when they do."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
from fastapi import FastAPI

from api.auth.permissions import OWN, SYSTEM_ROLES
from api.auth.slugs import RESERVED, slug_of
from models.database import Database
from models.repositories import roles as stored_roles
from omium_core.settings import Settings
from tests.auth.conftest import PASSWORD, Person, SignUp, an_email, client_of
from tests.auth.mailbox import Mailbox
from tests.auth.test_sign_in import gone
from tests.support.tenants import add_key


async def invite(inviter: Person, email: str, *roles: str) -> httpx.Response:
    return await inviter.http.post("/invitations", json={"email": email, "roles": list(roles)})


async def join(inviter: Person, app: FastAPI, mailbox: Mailbox, *roles: str, email: str | None = None) -> Person:
    """Somebody new with these roles in the inviter's tenant."""
    email = email or an_email()
    answer = await invite(inviter, email, *roles)
    assert answer.status_code == 201, answer.text
    token = await mailbox.token_to(email, "Invitation")
    async with client_of(app) as client:
        joined = await client.post("/auth/accept-invitation", json={"token": token, "password": PASSWORD})
    assert joined.status_code == 201, joined.text
    return Person(email, client_of(app, joined.json()["access_token"]), joined.json())


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_system_roles_are_those_of_the_permissions() -> None:
    assert tuple(SYSTEM_ROLES) == stored_roles.SYSTEM_ROLES


def test_slugs_of_odd_names() -> None:
    assert [slug_of(name) for name in ("Acme Corp.", "  --  ", "ÆON & Łódź", "x" * 200, "ＦＵＬＬ Width")] == [
        "acme-corp",
        "tenant",
        "aeon-lodz",
        "x" * 60,
        "full-width",
    ]
    assert "admin" in RESERVED


async def test_somebody_new_is_invited(
    sign_up: SignUp, app: FastAPI, mailbox: Mailbox, http: httpx.AsyncClient
) -> None:
    owner = await sign_up(tenant_name="Evil\r\nBcc: thief@example.com Ltd")
    email = an_email()
    answer = await invite(owner, email.upper(), "developer", "billing")
    assert answer.status_code == 201
    assert "token" not in answer.json()
    assert [role["name"] for role in answer.json()["roles"]] == ["developer", "billing"]
    assert [entry["email"] for entry in (await owner.http.get("/invitations")).json()["invitations"]] == [email]
    message = await mailbox.mail_to(email, "Invitation")
    assert message["Bcc"] is None
    token = message.get_content().split("Your token: ")[1].split()[0]
    refused = await http.post("/auth/accept-invitation", json={"token": token})
    assert code_of(refused) == (422, "INVALID_INPUT")
    body = {"token": token, "password": PASSWORD, "first_name": "Ada"}
    answers = await asyncio.gather(*(http.post("/auth/accept-invitation", json=body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers)[0] == 201
    assert sum(answer.status_code == 201 for answer in answers) == 1
    joined = next(answer for answer in answers if answer.status_code == 201).json()
    assert joined["tenant"]["id"] == str(owner.tenant_id)
    async with client_of(app, joined["access_token"]) as client:
        me = (await client.get("/auth/me")).json()
    assert (me["email"], me["roles"], me["email_verified"]) == (email, ["developer", "billing"], True)
    members = (await owner.http.get("/members")).json()
    assert {member["email"] for member in members["members"]} == {email, owner.email}
    assert (await owner.http.get("/invitations")).json()["total"] == 0


async def test_member_of_two_tenants_switches(
    sign_up: SignUp, app: FastAPI, mailbox: Mailbox, http: httpx.AsyncClient
) -> None:
    owner, guest = await sign_up(), await sign_up()
    await invite(owner, guest.email, "viewer")
    token = await mailbox.token_to(guest.email, "Invitation")
    thief = await sign_up()
    stolen = await thief.http.post("/auth/accept-invitation", json={"token": token})
    assert stolen.status_code == 401
    wrong = await http.post("/auth/accept-invitation", json={"token": token, "password": "not the password"})
    assert wrong.status_code == 401
    joined = await guest.http.post("/auth/accept-invitation", json={"token": token})
    assert joined.status_code == 201, joined.text
    me = (await guest.http.get("/auth/me")).json()
    assert {entry["id"] for entry in me["tenants"]} == {str(owner.tenant_id), str(guest.tenant_id)}
    switched = await guest.http.post("/auth/switch-tenant", json={"tenant_id": str(owner.tenant_id)})
    assert switched.status_code == 200
    async with client_of(app, switched.json()["access_token"]) as there:
        me = (await there.get("/auth/me")).json()
        assert (me["tenant_id"], me["roles"]) == (str(owner.tenant_id), ["viewer"])
        assert set(me["permissions"]) == SYSTEM_ROLES["viewer"][1]
        assert (await there.get("/members")).status_code == 403
    assert (await guest.http.get("/auth/me")).json()["tenant_id"] == str(guest.tenant_id)
    for unknown in (uuid4(), thief.tenant_id):
        answer = await guest.http.post("/auth/switch-tenant", json={"tenant_id": str(unknown)})
        assert code_of(answer) == (403, "AUTH_INSUFFICIENT_PERMISSIONS")
    # the member is found by the id that they have at home, too
    assert (await owner.http.delete(f"/members/{guest.user_id}")).status_code == 204


async def test_invitations_are_revoked_replaced_and_private(
    sign_up: SignUp, mailbox: Mailbox, http: httpx.AsyncClient
) -> None:
    owner, stranger, email = await sign_up(), await sign_up(), an_email()
    await invite(owner, email, "viewer")
    first = await mailbox.token_to(email, "Invitation")
    second = (await invite(owner, email, "viewer")).json()["id"]
    token = await mailbox.token_to(email, "Invitation")
    assert code_of(await stranger.http.delete(f"/invitations/{second}")) == (404, "INVITATION_NOT_FOUND")
    assert (await owner.http.delete(f"/invitations/{second}")).status_code == 204
    assert code_of(await owner.http.delete(f"/invitations/{second}")) == (404, "INVITATION_NOT_FOUND")
    for spent in (first, token, "made up"):
        answer = await http.post("/auth/accept-invitation", json={"token": spent, "password": PASSWORD})
        assert answer.status_code == 401
    assert code_of(await invite(owner, owner.email, "viewer")) == (409, "CONFLICT")
    assert code_of(await invite(owner, email, "no such role")) == (422, "INVALID_INPUT")


async def test_changed_roles_hold_at_once(sign_up: SignUp, app: FastAPI, mailbox: Mailbox) -> None:
    owner = await sign_up()
    member = await join(owner, app, mailbox, "viewer")
    assert (await member.http.get("/members")).status_code == 403
    answer = await owner.http.patch(f"/members/{member.user_id}", json={"roles": ["admin"]})
    assert [role["name"] for role in answer.json()["roles"]] == ["admin"]
    await gone(member.http, "/members", status=200)
    made = await member.http.post("/api-keys", json={"name": "mine", "scopes": ["admin"]})
    async with client_of(app) as program:
        program.headers["x-api-key"] = made.json()["key"]
        assert (await program.get("/members")).status_code == 200
        await owner.http.patch(f"/members/{member.user_id}", json={"role": "viewer"})
        await gone(member.http, "/members", status=403)
        await gone(program, "/members", status=403)
        back = await program.patch(f"/members/{member.user_id}", json={"role": "admin"})
        assert back.status_code == 403, "a key is no way back to what its maker held"
        assert (await program.get("/workflows")).status_code == 200
    await member.http.aclose()


async def test_removed_member_is_out_at_once(
    sign_up: SignUp, app: FastAPI, mailbox: Mailbox, http: httpx.AsyncClient, database: Database, settings: Settings
) -> None:
    owner = await sign_up()
    member = await join(owner, app, mailbox, "admin")
    key = await add_key(
        database, owner.tenant_id, settings.api_key_pepper.get_secret_value(), "read", user_id=member.user_id
    )
    async with client_of(app) as program:
        program.headers["x-api-key"] = key
        assert (await program.get("/workflows")).status_code == 200
        assert (await owner.http.delete(f"/members/{member.user_id}")).status_code == 204
        await gone(member.http, "/auth/me")
        await gone(program, "/workflows")
    refreshed = await http.post("/auth/refresh", json={"refresh_token": member.answer["refresh_token"]})
    assert refreshed.status_code == 401
    answer = await http.post("/auth/login", json={"email": member.email, "password": PASSWORD})
    assert answer.status_code == 403
    assert code_of(await owner.http.get(f"/members/{member.user_id}")) == (404, "MEMBER_NOT_FOUND")
    back = await invite(owner, member.email, "viewer")
    assert back.status_code == 201
    token = await mailbox.token_to(member.email, "Invitation")
    joined = await http.post("/auth/accept-invitation", json={"token": token, "password": PASSWORD})
    assert joined.json()["user"]["id"] == str(member.user_id)
    await member.http.aclose()


async def test_one_owner_stays(sign_up: SignUp, app: FastAPI, mailbox: Mailbox) -> None:
    owner = await sign_up()
    for answer in (
        await owner.http.patch(f"/members/{owner.user_id}", json={"roles": ["admin"]}),
        await owner.http.delete(f"/members/{owner.user_id}"),
    ):
        assert code_of(answer) == (409, "LAST_OWNER")
    other = await join(owner, app, mailbox, "owner")
    # both demote the other at the same moment: one of them comes second
    answers = await asyncio.gather(
        owner.http.patch(f"/members/{other.user_id}", json={"roles": ["viewer"]}),
        other.http.patch(f"/members/{owner.user_id}", json={"roles": ["viewer"]}),
    )
    assert sorted(answer.status_code for answer in answers) in ([200, 403], [200, 409])
    await other.http.aclose()


async def test_nobody_gives_or_takes_what_they_do_not_hold(sign_up: SignUp, app: FastAPI, mailbox: Mailbox) -> None:
    owner = await sign_up()
    admin = await join(owner, app, mailbox, "admin")
    for answer in (
        await invite(admin, an_email(), "owner"),
        await admin.http.patch(f"/members/{admin.user_id}", json={"roles": ["owner"]}),
        await admin.http.patch(f"/members/{owner.user_id}", json={"roles": ["viewer"]}),
        await admin.http.delete(f"/members/{owner.user_id}"),
        await admin.http.post("/roles", json={"name": "Eraser", "permissions": ["tenant:erase"]}),
    ):
        assert code_of(answer) == (403, "AUTH_INSUFFICIENT_PERMISSIONS")
        assert set(answer.json()["error"]["details"]["permissions"]) <= OWN
    await admin.http.aclose()


async def test_custom_roles(sign_up: SignUp, app: FastAPI, mailbox: Mailbox) -> None:
    owner = await sign_up()
    wanted: dict[str, Any] = {
        "name": "  Night   shift ",
        "permissions": ["execution:read", "execution:pause", "member:read"],
    }
    made = await owner.http.post("/roles", json=wanted)
    assert made.status_code == 201
    role = made.json()
    assert (role["name"], role["is_system_role"]) == ("Night shift", False)
    for taken in ("night shift", "OWNER"):
        answer = await owner.http.post("/roles", json={"name": taken, "permissions": []})
        assert code_of(answer) == (409, "CONFLICT")
    unknown = await owner.http.post("/roles", json={"name": "x", "permissions": ["execution:destroy"]})
    assert code_of(unknown) == (422, "INVALID_INPUT")
    member = await join(owner, app, mailbox, role["id"])
    assert (await member.http.get("/members")).status_code == 200
    assert code_of(await owner.http.delete(f"/roles/{role['id']}")) == (409, "ROLE_IN_USE")
    changed = await owner.http.patch(f"/roles/{role['id']}", json={"permissions": ["execution:read"]})
    assert changed.json()["permissions"] == ["execution:read"]
    await gone(member.http, "/members", status=403)
    await owner.http.patch(f"/members/{member.user_id}", json={"roles": ["viewer"]})
    assert (await owner.http.delete(f"/roles/{role['id']}")).status_code == 204
    assert code_of(await owner.http.get(f"/roles/{role['id']}")) == (404, "ROLE_NOT_FOUND")
    await member.http.aclose()


async def test_system_roles_stay_as_they_are(sign_up: SignUp) -> None:
    owner, stranger = await sign_up(), await sign_up()
    roles = {role["name"]: role for role in (await owner.http.get("/roles")).json()["roles"]}
    assert set(roles["viewer"]["permissions"]) == SYSTEM_ROLES["viewer"][1]
    path = f"/roles/{roles['viewer']['id']}"
    assert code_of(await owner.http.patch(path, json={"permissions": []})) == (409, "CONFLICT")
    assert code_of(await owner.http.delete(path)) == (409, "CONFLICT")
    assert code_of(await stranger.http.get(path)) == (404, "ROLE_NOT_FOUND")
    assert code_of(await stranger.http.patch(path, json={"name": "mine"})) == (404, "ROLE_NOT_FOUND")
    assert code_of(await stranger.http.get(f"/members/{owner.user_id}")) == (404, "MEMBER_NOT_FOUND")
    assert code_of(await stranger.http.delete(f"/members/{owner.user_id}")) == (404, "MEMBER_NOT_FOUND")
    # a role of another tenant is none that could be given
    given = await stranger.http.patch(f"/members/{stranger.user_id}", json={"roles": [roles["viewer"]["id"]]})
    assert code_of(given) == (422, "INVALID_INPUT")


async def test_profile_of_the_tenant(sign_up: SignUp, app: FastAPI, mailbox: Mailbox) -> None:
    owner = await sign_up()
    before = (await owner.http.get("/tenant")).json()
    changed = await owner.http.patch("/tenant", json={"name": "New name", "billing_email": "Pay@Example.com"})
    assert changed.status_code == 200
    after = (await owner.http.get("/tenant")).json()
    assert (after["name"], after["slug"], after["billing_email"]) == ("New name", before["slug"], "pay@example.com")
    viewer = await join(owner, app, mailbox, "viewer")
    assert (await viewer.http.patch("/tenant", json={"name": "x"})).status_code == 403
    await viewer.http.aclose()


async def test_api_key_asks_who_it_is(sign_up: SignUp, app: FastAPI, database: Database, settings: Settings) -> None:
    owner = await sign_up()
    pepper = settings.api_key_pepper.get_secret_value()
    key = await add_key(database, owner.tenant_id, pepper, "read", user_id=owner.user_id)
    async with client_of(app) as client:
        client.headers["x-api-key"] = key
        me = (await client.get("/auth/me")).json()
        assert (me["email"], me["tenant"]["id"]) == (None, str(owner.tenant_id))
        assert UUID(me["api_key"].pop("id"))
        assert me["api_key"] == {"name": "test", "prefix": key[:18], "scopes": ["read"], "expires_at": None}
        assert code_of(await client.get("/auth/sessions")) == (403, "AUTH_INSUFFICIENT_PERMISSIONS")
        for path, body in (
            ("switch-tenant", {"tenant_id": str(owner.tenant_id)}),
            ("change-password", {"current_password": PASSWORD, "new_password": "quite another one"}),
            ("mfa/enroll", {"password": PASSWORD}),
        ):
            assert code_of(await client.post(f"/auth/{path}", json=body)) == (403, "AUTH_INSUFFICIENT_PERMISSIONS")
        assert (await client.post("/auth/logout")).status_code == 401
