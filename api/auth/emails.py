"""E-mail addresses, normalised so that one mailbox is one account. Nothing is asked of the DNS."""

from __future__ import annotations

from email_validator import EmailNotValidError, validate_email

from omium_core.errors import InvalidInput, Problem

LONGEST = 254


def normalised(email: str, path: str = "email") -> str:
    """The address in lower case and in one spelling; raises `InvalidInput`.

    Domains of an installation's own network (`.local`, `.test`) are welcome.
    """
    try:
        found = validate_email(email.strip(), check_deliverability=False, globally_deliverable=False)
        domain = found.domain or ""
        if "." not in domain:
            raise EmailNotValidError("The domain must have a dot.")
        # capitals mean nothing in any mailbox that people have
        address = f"{found.local_part}@{domain}".lower()
    except EmailNotValidError as error:
        raise InvalidInput(f"{path}: {error}", [Problem(path, str(error))]) from None
    if len(address) > LONGEST:
        problem = Problem(path, f"Must have at most {LONGEST} characters")
        raise InvalidInput(f"{path}: {problem.message}", [problem])
    return address


def as_guessed(email: str) -> str:
    """An address as somebody typed it who wants to sign in: what is none is nobody's."""
    try:
        return normalised(email)
    except InvalidInput:
        return email.strip().lower()
