"""A handoff between agents, as a run keeps it and hands it on when it continues as new.

Standard library only, like `models.wire`, and for the same reasons. Names, hashes and counters: what is handed over itself
lies in a checkpoint. `workflows.handoff` holds the rules; nothing else makes or changes these objects.
"""

# no `from __future__ import annotations` here: annotations that are text make decoding three times as slow
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["open", "committed", "rejected", "failed"]


@dataclass(frozen=True)
class Voter:
    """Who may acknowledge a handoff. `kind` is `agent`, `validator`, `person` or `service`; names are distinct in a round."""

    name: str = ""
    kind: str = "agent"


@dataclass(frozen=True)
class Vote:
    """One voter's word on one payload in one term. `reason` is a sentence for people, `at` a time in ISO 8601.

    `actor` is who sent it, as the command told; empty where the run asked the voter itself.
    """

    voter: str = ""
    accept: bool = False
    term: int = 0
    payload_hash: str = ""
    reason: str = ""
    at: str = ""
    actor: str = ""


@dataclass(frozen=True)
class Term:
    """One attempt at a quorum, under one leader. `votes` by the voter's name; `ended` says why the next term began."""

    number: int = 1
    leader: str = ""
    votes: dict[str, Vote] = field(default_factory=dict)
    ended: str = ""


@dataclass(frozen=True)
class Proposal:
    """What is handed over, to whom, and who must agree.

    `quorum` is `majority`, `all`, `any` or a number of voters; `term_seconds` is how long one term may take, and after
    `max_terms` nobody is asked any more. Voters that are people need terms as long as people need.
    """

    sender: str = ""
    receivers: list[str] = field(default_factory=list)
    voters: list[Voter] = field(default_factory=list)
    payload_hash: str = ""
    name: str = ""
    quorum: str | int = "majority"
    max_terms: int = 3
    term_seconds: float = 60.0


@dataclass(frozen=True)
class Round:
    """One entry of an execution's log of handoffs: what is proposed, and how it stands.

    `terms` holds all terms, the present one last. `status` is `open`, `committed`, `rejected` (a quorum became
    impossible) or `failed` (none came within the terms); all but `open` are final, and `reason` says why. `required` is
    the number of acknowledgements that commit.
    """

    index: int = 1
    proposal: Proposal = field(default_factory=Proposal)
    required: int = 1
    status: Status = "open"
    reason: str = ""
    opened_at: str = ""
    closed_at: str = ""
    terms: list[Term] = field(default_factory=list)

    @property
    def candidates(self) -> list[str]:
        """Who can lead, in the order of the rotation: the sender, then the receivers."""
        return list(dict.fromkeys([self.proposal.sender, *self.proposal.receivers]))

    @property
    def term(self) -> int:
        return self.terms[-1].number

    @property
    def leader(self) -> str:
        return self.terms[-1].leader

    @property
    def votes(self) -> dict[str, Vote]:
        """The votes of the present term, by the voter's name."""
        return self.terms[-1].votes

    @property
    def open(self) -> bool:
        return self.status == "open"
