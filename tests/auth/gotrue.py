"""A double of Supabase's identity server: what its client asks, answered as recorded; keys of its own."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

VERSION = "2024-01-01"


@dataclass
class Double:
    """`users` by address; `codes` of sign-ins at other sites, with the challenge that each was begun with."""

    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    codes: dict[str, tuple[str, str]] = field(default_factory=dict)
    confirm_first: bool = False
    url: str = ""
    seen: list[tuple[str, str]] = field(default_factory=list)

    def add(self, email: str, password: str = "", *, confirmed: bool = True, provider: str = "email") -> dict[str, Any]:
        moment = "2026-01-01T00:00:00Z"
        user = {
            "id": str(uuid4()),
            "aud": "authenticated",
            "role": "authenticated",
            "email": email,
            "email_confirmed_at": moment if confirmed else None,
            "phone": "",
            "app_metadata": {"provider": provider, "providers": [provider]},
            # what a person may write about themselves: it proves nothing
            "user_metadata": {"email_verified": True, "full_name": "Grace Hopper"},
            "identities": [],
            "created_at": moment,
            "updated_at": moment,
            "is_anonymous": False,
        }
        self.users[email] = {"password": password, "user": user}
        return user

    def token(self, user: dict[str, Any], **changes: Any) -> str:
        moment = int(time.time())
        claims = {
            "iss": f"{self.url}/auth/v1",
            "sub": user["id"],
            "aud": "authenticated",
            "iat": moment,
            "exp": moment + 3600,
            "email": user["email"],
            "role": "authenticated",
            "aal": "aal1",
            **changes,
        }
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "k1"})

    def session(self, user: dict[str, Any]) -> dict[str, Any]:
        return {
            "access_token": self.token(user),
            "token_type": "bearer",
            "expires_in": 3600,
            "expires_at": int(time.time()) + 3600,
            "refresh_token": "unused",
            "user": user,
        }

    def begin(self, address: str, email: str, provider: str) -> str:
        """What a browser does that is sent to `address`: the person agrees. The code with which it comes back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert (asked["provider"], asked["code_challenge_method"]) == (provider, "s256")
        code = str(uuid4())
        self.codes[code] = (email, asked["code_challenge"])
        return code

    def answer(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any], bearer: str
    ) -> tuple[int, Any]:
        self.seen.append((method, path))
        match method, path, query.get("grant_type"):
            case "GET", "/auth/v1/.well-known/jwks.json", _:
                public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
                return 200, {"keys": [{**public, "kid": "k1", "alg": "RS256", "use": "sig"}]}
            case "POST", "/auth/v1/signup", _:
                if body["email"] in self.users:
                    return 422, {"code": "user_already_exists", "message": "User already registered"}
                user = self.add(body["email"], body["password"], confirmed=not self.confirm_first)
                user["user_metadata"] |= body.get("data") or {}
                return 200, user if self.confirm_first else self.session(user)
            case "POST", "/auth/v1/token", "password":
                known = self.users.get(body["email"])
                if known is None or known["password"] != body["password"] or not known["password"]:
                    return 400, {"code": "invalid_credentials", "message": "Invalid login credentials"}
                return 200, self.session(known["user"])
            case "POST", "/auth/v1/token", "pkce":
                email, challenge = self.codes.pop(body["auth_code"], ("", ""))
                digest = hashlib.sha256(str(body["code_verifier"]).encode()).digest()
                if not email or base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != challenge:
                    return 400, {"code": "bad_code_verifier", "message": "code challenge does not match"}
                return 200, self.session(self.users[email]["user"])
            case "GET", "/auth/v1/user", _:
                claims = jwt.decode(bearer, options={"verify_signature": False})
                found = [known["user"] for known in self.users.values() if known["user"]["id"] == claims["sub"]]
                return (200, found[0]) if found else (403, {"code": "bad_jwt", "message": "invalid JWT"})
        return 404, {"code": "not_found", "message": path}


def serve(double: Double) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            body = json.loads(self.rfile.read(length) or b"{}")
            bearer = (self.headers.get("authorization") or "").removeprefix("Bearer ")
            status, answer = double.answer(self.command, parts.path, query, body, bearer)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("X-Supabase-Api-Version", VERSION)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _do

        def log_message(self, *parts: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    double.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    return server
