"""Pure: when a handoff between agents counts. Proposals, votes and terms go in; committed, rejected or failed comes out.

A round is one index of an execution's log. It commits when a quorum of distinct voters has accepted its payload's hash in
one term. These rules make two commits of one index, or a commit without a quorum, impossible:

- Who opens a round gives it the next index of its log. A closed round never changes again.
- A vote is for a hash and a term. Only a known voter's first vote of the present term counts, for this hash, while the
  round is open. Everything else is answered with the reason why it changed nothing.
- A lost leader or a timeout ends a term, and its votes are void, people's as well: adding up votes of two terms would let
  a quorum commit that never stood together. Only agents vote by conditions on what is handed over, which are as true in
  the next term: their votes are given again there, without asking.

No Temporal, no I/O, no clock, no chance: the same events in the same order give the same result. Times come from the caller.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from models.wire_handoff import Proposal, Round, Status, Term, Vote, Voter

#: What a vote did. Only `counted` changed the round.
Effect = Literal["counted", "repeated", "conflict", "late", "foreign_term", "foreign_hash", "unknown_voter"]

VOTER_KINDS = ("agent", "validator", "person", "service")
#: The code of a round that ended without a quorum, as people and the API see it.
NOT_REACHED = "CONSENSUS_NOT_REACHED"
#: Reasons travel with the round; longer ones are cut.
MAX_REASON = 500

LEADER_LOST = "leader lost"
TIMED_OUT = "timeout"


@dataclass(frozen=True)
class Cast:
    """What became of a vote: the round after it, the effect, and the effect in a sentence."""

    round: Round
    effect: Effect
    why: str = ""

    @property
    def counted(self) -> bool:
        return self.effect == "counted"


@dataclass(frozen=True)
class Tally:
    """The present term's votes. `missing` are the voters who have not spoken, in the order of the proposal."""

    accepts: int
    rejects: int
    missing: tuple[Voter, ...]
    required: int

    @property
    def reached(self) -> bool:
        return self.accepts >= self.required

    @property
    def possible(self) -> bool:
        """Whether the missing voters could still make a quorum."""
        return self.accepts + len(self.missing) >= self.required


def quorum(rule: str | int, voters: int) -> int:
    """How many of `voters` must accept: `majority`, `all`, `any`, or a number from 1 to `voters`. Else `ValueError`."""
    if voters < 1:
        raise ValueError("A handoff needs at least one voter.")
    named = {"majority": voters // 2 + 1, "all": voters, "any": 1}
    if isinstance(rule, str):
        if rule not in named:
            raise ValueError(f"The quorum {rule!r} is none of: {', '.join(named)}, or a number.")
        return named[rule]
    if isinstance(rule, bool) or not 1 <= rule <= voters:
        raise ValueError(f"The quorum {rule!r} is no number from 1 to {voters}, the number of voters.")
    return rule


def open_round(index: int, proposal: Proposal, now: str = "") -> Round:
    """A new round in term 1, led by the sender. `ValueError` for a proposal on which nobody could agree."""
    names = [voter.name for voter in proposal.voters]
    if len(set(names)) != len(names):
        raise ValueError("Each voter of a handoff needs a name of its own.")
    if unknown := [voter.kind for voter in proposal.voters if voter.kind not in VOTER_KINDS]:
        raise ValueError(f"There is no kind of voter {unknown[0]!r}.")
    if not proposal.sender or not proposal.payload_hash:
        raise ValueError("A handoff needs a sender and the hash of what is handed over.")
    if proposal.max_terms < 1 or not proposal.term_seconds > 0:
        raise ValueError("A handoff needs at least one term, and time for it.")
    required = quorum(proposal.quorum, len(names))
    return Round(index, proposal, required, opened_at=now, terms=[Term(1, leader=proposal.sender)])


def tally(round_: Round) -> Tally:
    votes = round_.votes
    accepts = sum(vote.accept for vote in votes.values())
    missing = tuple(voter for voter in round_.proposal.voters if voter.name not in votes)
    return Tally(accepts, len(votes) - accepts, missing, round_.required)


def verdict(round_: Round) -> Status:
    """How a round stands: what it was closed with, else what its present votes say."""
    if not round_.open:
        return round_.status
    count = tally(round_)
    if count.reached:
        return "committed"
    return "open" if count.possible else "rejected"


def address(round_: Round, vote: Vote) -> Vote:
    """A vote that names no term (0) or no hash (empty) is meant for what its voter can see: the present ones."""
    return replace(vote, term=vote.term or round_.term, payload_hash=vote.payload_hash or round_.proposal.payload_hash)


def cast(round_: Round, vote: Vote) -> Cast:
    """A round after a vote. Changes it at most once for each voter and term; closes it when that vote decides."""
    effect, why = _judge(round_, vote)
    if effect != "counted":
        return Cast(round_, effect, why)
    present = round_.terms[-1]
    kept = replace(vote, reason=vote.reason[:MAX_REASON])
    after = replace(round_, terms=[*round_.terms[:-1], replace(present, votes={**present.votes, vote.voter: kept})])
    status = verdict(after)
    if status == "committed":
        after = _close(after, status, "", vote.at)
    elif status == "rejected":
        count = tally(after)
        after = _close(after, status, f"{count.rejects} of {len(after.proposal.voters)} voters refused.", vote.at)
    return Cast(after, "counted")


def next_term(round_: Round, term: int, why: str, now: str = "") -> Round:
    """Ends `term`, because its leader was lost or its time is up: the next in the rotation leads a new one.

    The votes of agents are given again. They alone decide nothing: they did not decide the term that ended.
    Nothing happens unless `term` is the present one, so a timer that fires late or twice does no harm. After `max_terms`
    the round has failed.
    """
    if not round_.open or term != round_.term:
        return round_
    ended = [*round_.terms[:-1], replace(round_.terms[-1], ended=why)]
    if term >= round_.proposal.max_terms:
        return _close(replace(round_, terms=ended), "failed", f"No quorum in {term} terms; the last ended: {why}.", now)
    agents = {voter.name for voter in round_.proposal.voters if voter.kind == "agent"}
    # nobody sends them a second time
    again = {name: replace(vote, term=term + 1, actor="") for name, vote in round_.votes.items() if name in agents}
    return replace(round_, terms=[*ended, Term(term + 1, leader_of(round_, term + 1), again)])


def leader_of(round_: Round, term: int) -> str:
    """Who leads a term. Rotation needs no election: everybody who knows the proposal knows the answer."""
    candidates = round_.candidates
    return candidates[(term - 1) % len(candidates)]


def _judge(round_: Round, vote: Vote) -> tuple[Effect, str]:
    known = {voter.name for voter in round_.proposal.voters}
    if vote.voter not in known:
        return "unknown_voter", f"{vote.voter!r} has no vote in handoff {round_.index}."
    if vote.payload_hash != round_.proposal.payload_hash:
        return "foreign_hash", "The vote is for something else than what is handed over."
    if vote.term > round_.term:
        return "foreign_term", f"There is no term {vote.term} yet: the present one is {round_.term}."
    spoken = _spoken(round_, vote)
    if spoken is not None:
        same = spoken.accept == vote.accept
        return ("repeated", "The vote was given before.") if same else ("conflict", "The first vote of a term stands.")
    if not round_.open:
        return "late", f"The handoff is {round_.status} already."
    if vote.term < round_.term:
        return "late", f"Term {vote.term} is over: the present one is {round_.term}."
    return "counted", ""


def _spoken(round_: Round, vote: Vote) -> Vote | None:
    """What the voter said first in the term that the vote is for."""
    return next((term.votes.get(vote.voter) for term in round_.terms if term.number == vote.term), None)


def _close(round_: Round, status: Status, reason: str, at: str) -> Round:
    return replace(round_, status=status, reason=reason, closed_at=at)
