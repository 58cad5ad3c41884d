"""What the mails say. Each holds its token as text; with pages of an installation, also a link."""

from __future__ import annotations

from urllib.parse import urlencode

from omium_core.mail import Mail, one_line


class Letters:
    """`app_url` is where the pages are to which links lead; None for an installation without."""

    def __init__(self, app_url: str | None) -> None:
        self._app_url = app_url.rstrip("/") if app_url else None

    def verification(self, to: str, token: str) -> Mail:
        return Mail(
            to,
            "Confirm your address",
            "Somebody, you we hope, registered this address with Omium.\n\n"
            f"{self._way('verify-email', token, 'omium auth verify-email TOKEN')}\n\n"
            "It works once, for two days. If it was not you, do nothing.\n",
        )

    def registered_again(self, to: str) -> Mail:
        return Mail(
            to,
            "You have an account already",
            "Somebody tried to register this address with Omium, where it has an account already.\n\n"
            "If it was you, sign in, or reset your password. If it was not, do nothing: nothing has changed.\n",
        )

    def reset(self, to: str, token: str) -> Mail:
        return Mail(
            to,
            "Set a new password",
            "Somebody asked to set a new password for this address.\n\n"
            f"{self._way('reset-password', token, 'omium auth reset-password TOKEN')}\n\n"
            "It works once, for an hour. If it was not you, do nothing: your password is still the old one.\n",
        )

    def password_changed(self, to: str) -> Mail:
        return Mail(
            to,
            "Your password was changed",
            "The password of your account was changed. If it was not you, reset it at once.\n",
        )

    def invitation(self, to: str, token: str, tenant: str, days: int) -> Mail:
        name = one_line(tenant)
        return Mail(
            to,
            f"Invitation to {name}",
            f"You are invited to work in {name} on Omium.\n\n"
            f"{self._way('invitation', token, 'omium auth accept-invitation TOKEN')}\n\n"
            f"It works once, for {days} days.\n",
        )

    def _way(self, page: str, token: str, command: str) -> str:
        command = command.replace("TOKEN", token)
        if self._app_url is None:
            return f"Your token: {token}\n\nOn the command line: {command}"
        return f"{self._app_url}/{page}?{urlencode({'token': token})}\n\nOn the command line: {command}"
