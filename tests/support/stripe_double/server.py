"""The HTTP side: keys, forms, idempotency, pages, errors that are ordered, and webhooks with signatures."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import stripe
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.support.stripe_double import forms, objects
from tests.support.stripe_double.account import _HIDDEN, Account
from tests.support.stripe_double.errors import Refusal, missing
from tests.support.stripe_double.objects import Object

KEY = "sk_test_double"
SECRET = "whsec_double"
PRICES = {"price_developer": 3_900, "price_pro": 29_900, "price_enterprise": 200_000}
_UNKNOWN: Object = {"error": {"type": "api_error", "message": "An unknown error occurred"}}
Handler = Callable[[Mapping[str, Any], Sequence[str]], Object]


class StripeDouble:
    """The API over an account. `requests` are all that came: method, path, form."""

    def __init__(self, *, now: int | None = None, prices: Mapping[str, int] | None = None) -> None:
        self.app = Starlette(
            routes=[Route("/v1/{path:path}", self._serve, methods=["GET", "POST", "DELETE"])],
        )
        self.begin(now=now, prices=prices)

    def begin(self, *, now: int | None = None, prices: Mapping[str, int] | None = None) -> None:
        """With a new account; nothing is left of the one before."""
        self.account = Account(int(time.time()) if now is None else now, prices or PRICES)
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self._kept: dict[str, tuple[str, int, Object]] = {}
        self._under_way: set[str] = set()
        self._ordered: list[tuple[str, int, Object | None]] = []
        self._lost: list[str] = []
        #: While set, requests wait here after they have been taken, and before they are answered.
        self.gate: asyncio.Event | None = None

    def order(self, path: str, status: int, body: Object | None = None) -> None:
        """The next request to a path that begins so is refused with this, and does nothing."""
        self._ordered.append((path, status, body))

    def lose_answer(self, path: str) -> None:
        """The next request to this path does its work, and its answer is lost on the way."""
        self._lost.append(path)

    async def _serve(self, request: Request) -> JSONResponse:
        text = (await request.body()).decode() if request.method == "POST" else request.url.query
        form, path = forms.parse(text), request.url.path
        self.requests.append((request.method, path, form))
        try:
            if request.headers.get("authorization") != f"Bearer {KEY}":
                raise Refusal(401, "invalid_request_error", "Invalid API Key provided: sk_test_****")
            status, body = await self._once(request, path, form, text)
            if path in self._lost:
                self._lost.remove(path)
                status, body = 500, _UNKNOWN
        except Refusal as refusal:
            status, body = refusal.status, refusal.body
        headers = {"request-id": self.account.new_id("req")}
        if status in (429, 500):
            headers["stripe-should-retry"] = "false"
        return JSONResponse(body, status, headers=headers)

    async def _once(self, request: Request, path: str, form: dict[str, Any], text: str) -> tuple[int, Object]:
        """The answer; the one before for an Idempotency-Key that was here before."""
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        if key is None:
            return await self._answer(request.method, path, form)
        digest = hashlib.sha256(f"{path} {text}".encode()).hexdigest()
        if key in self._under_way:
            raise Refusal(
                409, "idempotency_error", "There is currently another in-progress request using this Idempotent Key."
            )
        if key in self._kept:
            before, status, body = self._kept[key]
            if before != digest:
                raise Refusal(
                    400,
                    "idempotency_error",
                    "Keys for idempotent requests can only be used with the same parameters they were first used with.",
                )
            return status, body
        self._under_way.add(key)
        try:
            status, body = await self._answer(request.method, path, form)
        except Refusal as refusal:
            # what was refused before it began (a bad parameter) is not kept; a card that was declined is
            if refusal.status != 402:
                raise
            status, body = refusal.status, refusal.body
        finally:
            self._under_way.discard(key)
        if status < 500 and status != 429:
            self._kept[key] = (digest, status, copy.deepcopy(body))
        return status, body

    async def _answer(self, method: str, path: str, form: dict[str, Any]) -> tuple[int, Object]:
        if self.gate is not None:
            await self.gate.wait()
        ordered = next((each for each in self._ordered if path.startswith(each[0])), None)
        if ordered is not None:
            self._ordered.remove(ordered)
            return ordered[1], ordered[2] or _UNKNOWN
        for wanted, pattern, handler in self._handlers():
            found = re.fullmatch(pattern, path)
            if wanted == method and found:
                return 200, handler(form, found.groups())
        raise Refusal(404, "invalid_request_error", f"Unrecognized request URL ({method}: {path}).")

    def _handlers(self) -> Iterable[tuple[str, str, Handler]]:
        account, one = self.account, "/([a-z]+_[A-Za-z0-9_]+)"
        return (
            ("POST", "/v1/customers", self._new_customer),
            ("POST", "/v1/customers" + one, self._update_customer),
            ("GET", "/v1/customers" + one, lambda form, ids: account.customer(ids[0])),
            ("DELETE", "/v1/customers" + one, lambda form, ids: account.delete_customer(ids[0])),
            ("GET", "/v1/customers" + one + "/payment_methods", self._cards),
            ("POST", "/v1/customers" + one + "/tax_ids", self._new_tax_id),
            ("POST", "/v1/payment_intents", lambda form, ids: account.new_intent(form)),
            ("GET", "/v1/payment_intents", lambda form, ids: self._page("payment_intent", form)),
            ("GET", "/v1/payment_intents" + one, lambda form, ids: account.get("payment_intent", ids[0])),
            (
                "POST",
                "/v1/payment_intents" + one + "/confirm",
                lambda form, ids: account.confirm(
                    ids[0], form.get("payment_method"), off_session=forms.truth(form.get("off_session"))
                ),
            ),
            ("POST", "/v1/checkout/sessions", self._new_checkout),
            ("POST", "/v1/billing_portal/sessions", self._new_portal),
            ("GET", "/v1/subscriptions", lambda form, ids: self._page("subscription", form)),
            ("GET", "/v1/subscriptions" + one, lambda form, ids: account.get("subscription", ids[0])),
            ("POST", "/v1/subscriptions" + one, lambda form, ids: account.update_subscription(ids[0], form)),
            ("DELETE", "/v1/subscriptions" + one, lambda form, ids: account.end(ids[0])),
            ("POST", "/v1/subscription_schedules", lambda form, ids: account.new_schedule(form)),
            ("GET", "/v1/subscription_schedules" + one, lambda form, ids: account.get("schedule", ids[0])),
            (
                "POST",
                "/v1/subscription_schedules" + one + "/release",
                lambda form, ids: account.release_schedule(ids[0]),
            ),
            ("POST", "/v1/subscription_schedules" + one, lambda form, ids: account.update_schedule(ids[0], form)),
            ("GET", "/v1/invoices", lambda form, ids: self._page("invoice", form)),
            ("GET", "/v1/invoices" + one, lambda form, ids: account.get("invoice", ids[0])),
            ("POST", "/v1/refunds", self._new_refund),
            ("GET", "/v1/refunds", lambda form, ids: self._page("refund", form)),
            ("GET", "/v1/disputes", lambda form, ids: self._page("dispute", form)),
            ("GET", "/v1/events", lambda form, ids: self._page("event", form)),
        )

    def _page(self, kind: str, form: Mapping[str, Any]) -> Object:
        """The newest first; `starting_after` is the last one that was seen."""
        rows = list(reversed(self.account.tables[kind].values()))
        for name in ("customer", "type", "payment_intent"):
            if name in form:
                rows = [row for row in rows if row.get(name) == form[name]]
        if form.get("types"):
            rows = [row for row in rows if row["type"] in form["types"]]
        if isinstance(form.get("created"), dict) and "gte" in form["created"]:
            rows = [row for row in rows if row["created"] >= int(form["created"]["gte"])]
        if kind == "subscription" and form.get("status") != "all":
            rows = [row for row in rows if row["status"] != "canceled"]
        if "starting_after" in form:
            ids = [row["id"] for row in rows]
            if form["starting_after"] not in ids:
                raise missing(kind, form["starting_after"], "starting_after")
            rows = rows[ids.index(form["starting_after"]) + 1 :]
        limit = int(form.get("limit", 10))
        if not 1 <= limit <= 100:
            raise Refusal(400, "invalid_request_error", "Limit must be between 1 and 100", param="limit")
        return objects.listed(rows[:limit], f"/v1/{kind}s", more=len(rows) > limit)

    def _new_customer(self, form: Mapping[str, Any], ids: Sequence[str]) -> Object:
        made = objects.customer(self.account.new_id("cus"), self.account.now, form)
        self.account.tell("customer.created", made)
        return self.account.put("customer", made)

    def _update_customer(self, form: Mapping[str, Any], ids: Sequence[str]) -> Object:
        made = self.account.get("customer", ids[0])
        made |= {name: form[name] for name in ("name", "email", "address", "invoice_settings") if name in form}
        return made

    def _cards(self, form: Mapping[str, Any], ids: Sequence[str]) -> Object:
        self.account.get("customer", ids[0])
        cards = [
            {"id": card, "object": "payment_method", "type": "card", "customer": ids[0]}
            for card in self.account.cards.get(ids[0], ())
        ]
        return objects.listed(cards, "/v1/payment_methods")

    def _new_tax_id(self, form: Mapping[str, Any], ids: Sequence[str]) -> Object:
        self.account.get("customer", ids[0])
        made = {"id": self.account.new_id("txi"), "object": "tax_id", "customer": ids[0], **form}
        return self.account.put("tax_id", made)

    def _new_checkout(self, form: Mapping[str, Any], ids: Sequence[str]) -> Object:
        self.account.get("customer", form.get("customer", ""), "customer")
        for given in form["line_items"]:
            self.account.get("price", given["price"], "line_items[0][price]")
        found = self.account.new_id("cs_test")
        made = {
            "id": found,
            "object": "checkout.session",
            "created": self.account.now,
            "amount_total": sum(
                self.account.tables["price"][given["price"]]["unit_amount"] for given in form["line_items"]
            ),
            "automatic_tax": {"enabled": forms.truth((form.get("automatic_tax") or {}).get("enabled"))},
            "client_reference_id": form.get("client_reference_id"),
            "currency": "usd",
            "customer": form["customer"],
            "livemode": False,
            "metadata": dict(form.get("metadata") or {}),
            "mode": form["mode"],
            "payment_intent": None,
            "payment_status": "unpaid",
            "status": "open",
            "subscription": None,
            "success_url": form.get("success_url"),
            "url": f"https://checkout.stripe.com/c/pay/{found}",
            "line_items_given": form["line_items"],
            "subscription_metadata": (form.get("subscription_data") or {}).get("metadata") or {},
        }
        self.account.put("checkout_session", made)
        return {name: value for name, value in made.items() if name not in _HIDDEN}

    def _new_portal(self, form: Mapping[str, Any], ids: Sequence[str]) -> Object:
        self.account.get("customer", form.get("customer", ""), "customer")
        found = self.account.new_id("bps")
        made = {
            "id": found,
            "object": "billing_portal.session",
            "created": self.account.now,
            "customer": form["customer"],
            "livemode": False,
            "return_url": form.get("return_url"),
            "url": f"https://billing.stripe.com/p/session/{found}",
        }
        return self.account.put("portal_session", made)

    def _new_refund(self, form: Mapping[str, Any], ids: Sequence[str]) -> Object:
        amount = form.get("amount")
        return self.account.refund(form["payment_intent"], None if amount is None else int(amount))


def signed(event: Mapping[str, Any], *, secret: str = SECRET, at: int | None = None) -> tuple[bytes, str]:
    """The body of a webhook and its `Stripe-Signature`."""
    body = json.dumps(event, indent=2)
    header = stripe.WebhookSignature.generate_signature_header(body, secret, at or int(time.time()))
    return body.encode(), header


def shuffled(events: Sequence[Object], chance: random.Random, *, duplicates: float = 0.3) -> list[Object]:
    """As they may arrive: in any order, some of them more than once."""
    again = [event for event in events if chance.random() < duplicates]
    arriving = [*events, *again]
    chance.shuffle(arriving)
    return arriving


class StripeServer:
    """The double on a port of its own, in a thread: `with StripeServer() as server: server.url, server.double`."""

    def __init__(self, double: StripeDouble | None = None) -> None:
        self.double = double or StripeDouble()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(self.double.app, ws="none", lifespan="off", log_config=None, log_level="critical")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="stripe-double", daemon=True)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))

    def __enter__(self) -> Self:
        self._socket.listen(64)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(timeout=60)
        self._socket.close()
