"""Mail: a message is text for one person, sent by SMTP or written to the log of an installation without a mail server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import formatdate, make_msgid, parseaddr
from typing import Protocol

import aiosmtplib
import structlog
from tenacity import AsyncRetrying, stop_after_attempt, wait_exponential

from omium_core.errors import ConfigurationError
from omium_core.settings import Settings

log = structlog.get_logger(__name__)

_ATTEMPTS = 5
_TIMEOUT = 20.0
_LONGEST_SUBJECT = 200
#: How long a process that ends waits for mails that are under way.
_FAREWELL_SECONDS = 5.0


@dataclass(frozen=True)
class Mail:
    """`to` is a plain address. The subject may hold any text: what would end its line is taken out."""

    to: str
    subject: str
    text: str


class MailSender(Protocol):
    async def send(self, mail: Mail) -> None:
        """Hands a mail over. Raises `OSError` or `aiosmtplib.SMTPException` when that fails."""


class LogMail:
    """Writes mails to the log, where the operator of a small installation reads them."""

    async def send(self, mail: Mail) -> None:
        log.info("mail", to=mail.to, subject=one_line(mail.subject), text=mail.text)


class SmtpMail:
    """Sends through the mail server of the settings."""

    def __init__(self, settings: Settings) -> None:
        """Raises `ConfigurationError` when OMIUM_MAIL_FROM is no address."""
        self._settings = settings
        self._sender = _sender(settings.mail_from)

    async def send(self, mail: Mail) -> None:
        settings = self._settings
        password = settings.smtp_password
        await aiosmtplib.send(
            self._message(mail),
            # a name or an address given here is never read out of the message's headers
            sender=self._sender.addr_spec,
            recipients=[mail.to],
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            username=settings.smtp_username,
            password=password.get_secret_value() if password else None,
            use_tls=settings.smtp_security == "tls",
            start_tls=settings.smtp_security == "starttls",
            timeout=_TIMEOUT,
        )

    def _message(self, mail: Mail) -> EmailMessage:
        message = EmailMessage(policy=SMTPUTF8)
        name, _, domain = mail.to.rpartition("@")
        message["From"] = self._sender
        message["To"] = Address(username=name, domain=domain)
        message["Subject"] = one_line(mail.subject)
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain=self._sender.domain)
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.text)
        return message


def mail_sender(settings: Settings) -> MailSender:
    """The sender that the settings name."""
    return SmtpMail(settings) if settings.mail_sender == "smtp" else LogMail()


class Mailroom:
    """Sends in the background, so that no answer waits for a mail server, or tells by its time that a mail was sent."""

    def __init__(self, sender: MailSender) -> None:
        self._sender = sender
        self._under_way: set[asyncio.Task[None]] = set()

    def post(self, mail: Mail) -> None:
        """Sends a mail soon. What fails several times is logged without its text; the person asks for another."""
        task = asyncio.create_task(self._deliver(mail))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Waits a little for what is under way."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_FAREWELL_SECONDS)
        for task in self._under_way:
            task.cancel()

    async def _deliver(self, mail: Mail) -> None:
        try:
            async for attempt in AsyncRetrying(
                stop=stop_after_attempt(_ATTEMPTS), wait=wait_exponential(multiplier=0.5, max=10), reraise=True
            ):
                with attempt:
                    await self._sender.send(mail)
        except (OSError, aiosmtplib.SMTPException, ValueError) as error:
            log.error("mail was not sent", subject=one_line(mail.subject), error=f"{type(error).__name__}: {error}")


def one_line(text: str) -> str:
    """A text that cannot begin another header, or steer a terminal."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:_LONGEST_SUBJECT]


def _sender(text: str) -> Address:
    name, address = parseaddr(text)
    user, _, domain = address.rpartition("@")
    if not user or not domain:
        raise ConfigurationError(f"OMIUM_MAIL_FROM={text!r} is not an address such as 'Omium <omium@example.com>'.")
    return Address(display_name=name, username=user, domain=domain)
