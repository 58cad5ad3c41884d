"""What the commands of the local stack say when they cannot do what was asked."""

from __future__ import annotations


class StackError(Exception):
    """The message is for a person: what is wrong, and what to do about it. Commands print it and exit with 1."""
