"""A mail server in this process that keeps what it is given."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller

from tests.support.loopback import free_port

TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


class Mailbox:
    """What arrived, oldest first."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.envelopes: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        parsed = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        self.messages.append(parsed)
        self.envelopes.append(envelope)
        return "250 OK"

    async def mail_to(self, address: str, about: str = "", *, seconds: float = 60) -> EmailMessage:
        """The newest mail to an address whose subject has these words; waits for it, and takes it out."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for index in range(len(self.messages) - 1, -1, -1):
                message = self.messages[index]
                if address in str(message["To"]) and about in str(message["Subject"]):
                    del self.messages[index]
                    return message
            await asyncio.sleep(0.01)
        raise TimeoutError(
            f"no mail to {address} about {about!r}; there are {[str(m['Subject']) for m in self.messages]}"
        )

    async def token_to(self, address: str, about: str = "") -> str:
        found = TOKEN.search((await self.mail_to(address, about)).get_content())
        assert found is not None
        return found[0]


@contextmanager
def running_mailbox() -> Iterator[tuple[Mailbox, int]]:
    """A mailbox, and the port of its server, which has a thread of its own."""
    mailbox, port = Mailbox(), free_port()
    server = Controller(mailbox, hostname="127.0.0.1", port=port, enable_SMTPUTF8=True)
    server.start()
    try:
        yield mailbox, port
    finally:
        server.stop()
