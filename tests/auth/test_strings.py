"""What nobody should send, in every field of every request about people: always 4xx, in the envelope."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.auth.conftest import PASSWORD, Person, SignUp, an_email

REQUESTS: dict[str, dict[str, Any]] = {
    "POST /auth/register": {
        "email": "someone@example.com",
        "password": PASSWORD,
        "first_name": "A",
        "last_name": "B",
        "tenant_name": "C",
    },
    "POST /auth/login": {"email": "someone@example.com", "password": PASSWORD, "totp_code": "123456"},
    "POST /auth/refresh": {"refresh_token": "x"},
    "POST /auth/exchange": {"access_token": "x"},
    "POST /auth/verify-email": {"token": "x"},
    "POST /auth/resend-verification": {"email": "x"},
    "POST /auth/forgot-password": {"email": "x"},
    "POST /auth/reset-password": {"token": "x", "password": PASSWORD},
    "POST /auth/accept-invitation": {"token": "x", "password": PASSWORD, "first_name": "A", "totp_code": "1"},
    "POST /auth/change-password": {"current_password": "wrong password", "new_password": PASSWORD},
    "POST /auth/mfa/enroll": {"password": "wrong password"},
    "POST /auth/mfa/confirm": {"totp_code": "x"},
    "POST /auth/mfa/disable": {"password": "wrong password", "totp_code": "x"},
    "POST /invitations": {"email": "someone@example.com", "roles": ["viewer"]},
    "POST /roles": {"name": "n", "description": "d", "permissions": ["execution:read"]},
    "PATCH /tenant": {"name": "n", "billing_email": "someone@example.com"},
}
ODD = {"NUL": "a\x00b@example.com", "half a pair": "a\ud800b@example.com", "far too long": "x" * 20_000}


def cases() -> Iterator[tuple[str, str, str]]:
    for request, body in REQUESTS.items():
        for field in body:
            for kind in ODD:
                yield request, field, kind


@pytest.fixture
async def person(sign_up: SignUp) -> Person:
    return await sign_up()


async def test_odd_texts_are_refused(person: Person) -> None:
    for request, field, kind in cases():
        method, _, path = request.partition(" ")
        before = REQUESTS[request][field]
        odd: Any = [ODD[kind]] if isinstance(before, list) else ODD[kind]
        # half of a surrogate pair is valid JSON, as an escape
        content = json.dumps({**REQUESTS[request], field: odd}).encode()
        answer = await person.http.request(method, path, content=content)
        assert 400 <= answer.status_code < 500, (request, field, kind, answer.text)
        assert answer.status_code != 401 or field == "refresh_token", (request, field, kind)
        assert answer.json()["error"]["code"], (request, field, kind)


async def test_wrong_kinds_are_refused(person: Person) -> None:
    for request, body in REQUESTS.items():
        method, _, path = request.partition(" ")
        for wrong in ([], {"x": {}}, dict.fromkeys(body, 17), {name: {"a": []} for name in body}, None, "text"):
            answer = await person.http.request(method, path, json=wrong)
            assert answer.status_code == 422, (request, wrong, answer.text)


@pytest.mark.parametrize("field", ["x-api-key", "cookie", "user-agent", "x-forwarded-for"])
async def test_odd_headers_harm_nothing(http: httpx.AsyncClient, field: str) -> None:
    for value in ("omium_device=a.b; omium_oauth=x", "é" * 50, "a" * 3000, "%00"):
        answer = await http.post(
            "/auth/login", json={"email": an_email(), "password": PASSWORD}, headers={field: value.encode("latin-1")}
        )
        assert answer.status_code in (401, 429, 431), (field, value)
