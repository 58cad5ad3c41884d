"""Handoffs between agents: what commits, what does not, and that no order of events can make it otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from temporalio.converter import DataConverter

from models.wire_handoff import Proposal, Round, Vote, Voter
from workflows import handoff

HASH = "sha256:aa"
NAMES = ("ann", "bob", "cleo", "dan", "eve")
T = TypeVar("T")


def persons(count: int) -> list[Voter]:
    return [Voter(name, "person") for name in NAMES[:count]]


def proposal(**changes: Any) -> Proposal:
    given = Proposal(
        sender="kyc",
        receivers=["credit", "offer"],
        voters=persons(3),
        payload_hash=HASH,
        name="kyc to credit",
    )
    return replace(given, **changes)


def opened(**changes: Any) -> Round:
    return handoff.open_round(1, proposal(**changes), "2026-01-01T00:00:00Z")


def vote(voter: str, accept: bool = True, term: int = 1, payload_hash: str = HASH, reason: str = "") -> Vote:
    return Vote(voter, accept, term, payload_hash, reason, "2026-01-01T00:00:05Z")


def through_temporal(value: T, kind: type[T]) -> T:
    """A value as the next run of the same workflow gets it."""
    converter = DataConverter.default.payload_converter
    result: T = converter.from_payloads(converter.to_payloads([value]), [kind])[0]
    return result


@pytest.mark.parametrize(
    ("rule_", "voters", "required"),
    [
        ("majority", 1, 1),
        ("majority", 2, 2),
        ("majority", 3, 2),
        ("majority", 4, 3),
        ("majority", 5, 3),
        ("all", 4, 4),
        ("any", 4, 1),
        (1, 3, 1),
        (3, 3, 3),
    ],
)
def test_quorum(rule_: str | int, voters: int, required: int) -> None:
    assert handoff.quorum(rule_, voters) == required


@pytest.mark.parametrize(
    ("rule_", "voters", "told"),
    [("most", 3, "'most'"), (0, 3, "from 1 to 3"), (4, 3, "from 1 to 3"), (True, 3, "True"), ("any", 0, "one voter")],
)
def test_quorum_that_cannot_be(rule_: str | int, voters: int, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        handoff.quorum(rule_, voters)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"voters": []}, "at least one voter"),
        ({"voters": [Voter("ann"), Voter("ann", "person")]}, "a name of its own"),
        ({"voters": [Voter("ann", "oracle")]}, "'oracle'"),
        ({"payload_hash": ""}, "hash"),
        ({"sender": ""}, "sender"),
        ({"max_terms": 0}, "one term"),
        ({"term_seconds": 0.0}, "time"),
        ({"term_seconds": float("nan")}, "time"),
    ],
)
def test_proposal_on_which_nobody_could_agree(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        opened(**changes)


def test_quorum_of_acknowledgements_commits() -> None:
    first = handoff.cast(opened(), vote("ann"))
    assert first.counted
    assert first.round.status == handoff.verdict(first.round) == "open"
    assert [voter.name for voter in handoff.tally(first.round).missing] == ["bob", "cleo"]
    second = handoff.cast(first.round, vote("cleo"))
    assert second.round.status == "committed"
    assert second.round.closed_at == "2026-01-01T00:00:05Z"


def test_refused_as_soon_as_no_quorum_is_possible() -> None:
    once = handoff.cast(opened(), vote("ann", accept=False)).round
    assert once.status == "open"
    twice = handoff.cast(once, vote("bob", accept=False)).round
    assert twice.status == "rejected"
    assert twice.reason == "2 of 3 voters refused."


@pytest.mark.parametrize(
    ("given_vote", "effect"),
    [
        (vote("ann"), "repeated"),
        (vote("ann", accept=False), "conflict"),
        (vote("mallory"), "unknown_voter"),
        (vote("bob", payload_hash="sha256:bb"), "foreign_hash"),
        (vote("bob", term=2), "foreign_term"),
        (vote("bob", term=0), "late"),
    ],
)
def test_vote_that_changes_nothing(given_vote: Vote, effect: str) -> None:
    before = handoff.cast(opened(), vote("ann")).round
    cast = handoff.cast(before, given_vote)
    assert (cast.effect, cast.counted, cast.round) == (effect, False, before)
    assert cast.why.endswith(".")


def test_vote_after_the_end_is_late_and_a_repeated_one_is_told_as_such() -> None:
    committed = handoff.cast(opened(quorum="any"), vote("ann")).round
    assert handoff.cast(committed, vote("bob")).effect == "late"
    assert handoff.cast(committed, vote("ann")).effect == "repeated"
    assert handoff.cast(committed, vote("ann", accept=False)).effect == "conflict"
    assert handoff.cast(committed, vote("bob")).round == committed


def test_new_term_has_the_next_leader_and_needs_new_votes() -> None:
    first = handoff.cast(opened(), vote("ann")).round
    second = handoff.next_term(first, 1, handoff.LEADER_LOST)
    assert (second.term, second.leader, second.votes) == (2, "credit", {})
    assert second.terms[0].ended == "leader lost"
    assert handoff.cast(second, vote("bob")).effect == "late"
    once = handoff.cast(second, vote("bob", term=2)).round
    assert once.status == "open"
    assert handoff.cast(once, vote("ann", term=2)).round.status == "committed"


def test_agents_vote_again_in_a_new_term_without_being_asked() -> None:
    voters = [Voter("credit", "agent"), Voter("ann", "person"), Voter("judge", "validator")]
    first = opened(voters=voters, quorum="all")
    for name in ("credit", "ann"):
        first = handoff.cast(first, vote(name, reason="checked")).round
    second = handoff.next_term(first, 1, handoff.TIMED_OUT)
    assert second.votes == {"credit": vote("credit", term=2, reason="checked")}
    for name in ("ann", "judge"):
        second = handoff.cast(second, vote(name, term=2)).round
    assert second.status == "committed"


def test_leaders_rotate() -> None:
    leaders = [handoff.leader_of(opened(), term) for term in range(1, 6)]
    assert leaders == ["kyc", "credit", "offer", "kyc", "credit"]


def test_timer_of_an_older_term_ends_nothing() -> None:
    second = handoff.next_term(opened(), 1, handoff.TIMED_OUT)
    assert handoff.next_term(second, 1, handoff.TIMED_OUT) == second
    assert handoff.next_term(second, 3, handoff.TIMED_OUT) == second


def test_round_fails_after_its_last_term() -> None:
    second = handoff.next_term(opened(max_terms=2), 1, handoff.TIMED_OUT)
    failed = handoff.next_term(second, 2, handoff.LEADER_LOST, "2026-01-01T00:02:00Z")
    assert (failed.status, failed.closed_at) == ("failed", "2026-01-01T00:02:00Z")
    assert failed.reason == "No quorum in 2 terms; the last ended: leader lost."
    assert handoff.next_term(failed, 2, handoff.TIMED_OUT) == failed


def test_vote_without_term_and_hash_is_for_what_can_be_seen() -> None:
    second = handoff.next_term(opened(), 1, handoff.TIMED_OUT)
    assert handoff.address(second, Vote("ann", True)) == Vote("ann", True, 2, HASH)
    assert handoff.address(second, vote("ann")) == vote("ann")


def test_long_reasons_are_cut() -> None:
    kept = handoff.cast(opened(), vote("ann", reason="x" * 10_000)).round.votes["ann"]
    assert len(kept.reason) == handoff.MAX_REASON


@pytest.mark.parametrize("rule_", ["all", 2])
def test_round_survives_its_way_through_temporal(rule_: str | int) -> None:
    round_ = handoff.next_term(handoff.cast(opened(quorum=rule_), vote("ann")).round, 1, handoff.TIMED_OUT)
    assert through_temporal(round_, Round) == round_


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_commits_when_a_quorum_lives(data: st.DataObject) -> None:
    """Whatever the others do, in whatever order: if enough honest voters speak in one term before it ends, it commits."""
    voters = data.draw(st.integers(1, 5))
    round_ = opened(voters=persons(voters), quorum=data.draw(st.integers(1, voters)), max_terms=4)
    honest = data.draw(st.permutations(NAMES[:voters]))[: round_.required]
    others = [name for name in (*NAMES, "mallory") if name not in honest]
    good_term = data.draw(st.integers(1, 4))
    while round_.term < good_term:
        for noise in data.draw(st.lists(votes(st.sampled_from(others), round_.term), max_size=3)):
            round_ = handoff.cast(round_, noise).round
        round_ = handoff.next_term(round_, round_.term, data.draw(ENDINGS)) if round_.open else round_
        if round_.status == "committed":
            return
    said = [vote(name, term=good_term) for name in honest]
    lies = data.draw(st.lists(votes(st.sampled_from(others), good_term), max_size=8))
    for event in data.draw(st.permutations([*said, *lies])):
        round_ = handoff.cast(round_, event).round
    assert round_.status == "committed"


ENDINGS = st.sampled_from([handoff.LEADER_LOST, handoff.TIMED_OUT])


def votes(names: st.SearchStrategy[str], term: int) -> st.SearchStrategy[Vote]:
    """Votes of all kinds: for and against, of the present, an older and a future term, for this and another hash."""
    return st.builds(
        vote,
        names,
        st.booleans(),
        st.sampled_from([term, term, term, term - 1, term + 1]),
        st.sampled_from([HASH, HASH, HASH, "sha256:bb"]),
    )


#: What happened to a round: a vote, or the end of a term with the reason.
Event = Vote | tuple[int, str]


class Handoffs(RuleBasedStateMachine):
    """Several handoffs of one execution, with voters that lie, repeat themselves, change their minds and are late.

    Beside the rounds it keeps its own books, as simply as can be: for each round the present term, and the first valid
    vote of each voter in it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rounds: list[Round] = []
        self.events: list[tuple[Proposal, list[Event]]] = []
        self.terms: list[int] = []
        self.books: list[dict[str, bool]] = []
        self.ends: dict[int, Round] = {}

    def happens(self, place: int, event: Event) -> None:
        self.events[place][1].append(event)
        self.rounds[place] = after(self.rounds[place], event)

    @rule(
        kinds=st.lists(st.sampled_from(handoff.VOTER_KINDS), min_size=1, max_size=5),
        rule_=st.sampled_from(["majority", "all", "any"]),
        terms=st.integers(1, 3),
    )
    def propose(self, kinds: list[str], rule_: str, terms: int) -> None:
        voters = [Voter(name, kind) for name, kind in zip(NAMES, kinds, strict=False)]
        proposed = proposal(quorum=rule_, max_terms=terms, voters=voters)
        self.events.append((proposed, []))
        self.rounds.append(handoff.open_round(len(self.events), proposed))
        self.terms.append(1)
        self.books.append({})

    @precondition(lambda self: self.rounds)
    @rule(data=st.data())
    def vote(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.rounds) - 1))
        said = data.draw(votes(st.sampled_from(NAMES), self.terms[place]))
        before = self.rounds[place]
        self.happens(place, said)
        known = said.voter in [voter.name for voter in before.proposal.voters]
        if before.open and known and said.payload_hash == HASH and said.term == self.terms[place]:
            self.books[place].setdefault(said.voter, said.accept)

    @precondition(lambda self: self.rounds)
    @rule(data=st.data(), why=ENDINGS, old=st.booleans())
    def term_ends(self, data: st.DataObject, why: str, old: bool) -> None:
        place = data.draw(st.integers(0, len(self.rounds) - 1))
        before = self.rounds[place]
        self.happens(place, (self.terms[place] - old, why))
        if before.open and not old and self.terms[place] < before.proposal.max_terms:
            self.terms[place] += 1
            agents = {voter.name for voter in before.proposal.voters if voter.kind == "agent"}
            self.books[place] = {name: said for name, said in self.books[place].items() if name in agents}

    @rule()
    def continued_as_new(self) -> None:
        self.rounds = [through_temporal(round_, Round) for round_ in self.rounds]

    @invariant()
    def books_agree(self) -> None:
        for round_, term, book in zip(self.rounds, self.terms, self.books, strict=True):
            assert round_.term == term <= round_.proposal.max_terms
            assert {name: said.accept for name, said in round_.votes.items()} == book
            assert all((said.term, said.payload_hash) == (term, HASH) for said in round_.votes.values())
            assert (round_.status == "committed") == (sum(book.values()) >= round_.required)
            missing = len(round_.proposal.voters) - len(book)
            assert (round_.status == "rejected") == (sum(book.values()) + missing < round_.required)

    @invariant()
    def ends_are_final(self) -> None:
        for round_ in self.rounds:
            if not round_.open:
                assert self.ends.setdefault(round_.index, round_) == round_

    def teardown(self) -> None:
        """The same events again give the same rounds."""
        for index, (proposed, happened) in enumerate(self.events, start=1):
            replayed = handoff.open_round(index, proposed)
            for event in happened:
                replayed = after(replayed, event)
            assert replayed == self.rounds[index - 1]


def after(round_: Round, event: Event) -> Round:
    if isinstance(event, Vote):
        return handoff.cast(round_, event).round
    return handoff.next_term(round_, *event)


TestHandoffs = Handoffs.TestCase
TestHandoffs.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
