"""Handoffs between agents: what commits, what does not, and that no order of events can make it otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from temporalio.converter import DataConverter

from models.wire_handoff import HandoffLog, Proposal, Round, Vote, Voter
from workflows import handoff

HASH = "sha256:aa"
NAMES = ("ann", "bob", "cleo", "dan", "eve")
T = TypeVar("T")


def proposal(voters: int = 3, **changes: Any) -> Proposal:
    given = Proposal(
        sender="kyc",
        receivers=["credit", "offer"],
        voters=[Voter(name, "person") for name in NAMES[:voters]],
        payload_hash=HASH,
        name="kyc to credit",
    )
    return replace(given, **changes)


def opened(voters: int = 3, **changes: Any) -> Round:
    return handoff.open_round(1, proposal(voters, **changes), "2026-01-01T00:00:00Z")


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
        handoff.open_round(1, replace(proposal(), **changes))


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


def test_what_a_person_said_before_is_known() -> None:
    first = handoff.cast(opened(), vote("ann", reason="checked")).round
    third = handoff.next_term(handoff.next_term(first, 1, handoff.TIMED_OUT), 2, handoff.TIMED_OUT)
    assert handoff.earlier_vote(third, "ann") == vote("ann", reason="checked")
    assert handoff.earlier_vote(third, "bob") is None
    assert handoff.earlier_vote(first, "ann") is None


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


def test_cancelled_round_takes_no_votes_and_a_committed_one_stays() -> None:
    gone = handoff.cancel(opened(), "rolled back")
    assert (gone.status, gone.reason) == ("cancelled", "rolled back")
    assert handoff.cast(gone, vote("ann")).effect == "late"
    committed = handoff.cast(opened(quorum="any"), vote("ann")).round
    assert handoff.cancel(committed, "rolled back") == committed


def test_long_reasons_are_cut() -> None:
    kept = handoff.cast(opened(), vote("ann", reason="x" * 10_000)).round.votes["ann"]
    assert len(kept.reason) == handoff.MAX_REASON


def test_index_is_given_out_once() -> None:
    log, first = handoff.propose(HandoffLog(), proposal())
    log = handoff.put(log, handoff.cancel(first, "rolled back"))
    log, second = handoff.propose(handoff.forget(log, 1), proposal())
    assert (first.index, second.index) == (1, 2)
    assert handoff.find(log, 1) is None
    assert handoff.find(log, 2) == second
    assert handoff.forget(log, 2) == log, "an open round is never forgotten"


def test_closed_round_is_not_replaced() -> None:
    log, first = handoff.propose(HandoffLog(), proposal(quorum="any"))
    committed = handoff.cast(first, vote("ann")).round
    log = handoff.put(log, committed)
    assert handoff.put(log, handoff.cancel(first, "too late")) == log


@pytest.mark.parametrize("rule_", ["all", 2])
def test_log_survives_its_way_through_temporal(rule_: str | int) -> None:
    log, first = handoff.propose(HandoffLog(), proposal(quorum=rule_))
    log = handoff.put(log, handoff.next_term(handoff.cast(first, vote("ann")).round, 1, handoff.TIMED_OUT))
    assert through_temporal(log, HandoffLog) == log


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_commits_when_a_quorum_lives(data: st.DataObject) -> None:
    """Whatever the others do, in whatever order: if enough honest voters speak in one term before it ends, it commits."""
    voters = data.draw(st.integers(1, 5))
    round_ = opened(voters, quorum=data.draw(st.integers(1, voters)), max_terms=4)
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


class Handoffs(RuleBasedStateMachine):
    """Several handoffs of one execution, with voters that lie, repeat themselves, change their minds and are late.

    Beside the log it keeps its own books, as simply as can be: for each index the present term and the first valid vote
    of each voter in it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log = HandoffLog()
        self.events: list[tuple[str, Any]] = []
        self.terms: dict[int, int] = {}
        self.books: dict[int, dict[str, bool]] = {}
        self.ends: dict[int, Round] = {}

    def happens(self, kind: str, event: Any) -> None:
        self.events.append((kind, event))
        self.log = applied(self.log, kind, event)

    def pick(self, data: st.DataObject) -> Round | None:
        return data.draw(st.sampled_from(self.log.rounds)) if self.log.rounds else None

    @rule(voters=st.integers(1, 5), rule_=st.sampled_from(["majority", "all", "any"]), terms=st.integers(1, 3))
    def propose(self, voters: int, rule_: str, terms: int) -> None:
        self.happens("propose", proposal(voters, quorum=rule_, max_terms=terms))
        self.terms[self.log.last_index], self.books[self.log.last_index] = 1, {}

    @rule(data=st.data())
    def vote(self, data: st.DataObject) -> None:
        if (round_ := self.pick(data)) is None:
            return
        said = data.draw(votes(st.sampled_from(NAMES), self.terms[round_.index]))
        self.happens("vote", (round_.index, said))
        if round_.open and self.valid(round_, said):
            self.books[round_.index].setdefault(said.voter, said.accept)

    def valid(self, round_: Round, said: Vote) -> bool:
        known = said.voter in [voter.name for voter in round_.proposal.voters]
        return known and said.payload_hash == HASH and said.term == self.terms[round_.index]

    @rule(data=st.data(), why=ENDINGS, old=st.booleans())
    def term_ends(self, data: st.DataObject, why: str, old: bool) -> None:
        if (round_ := self.pick(data)) is None:
            return
        self.happens("end", (round_.index, self.terms[round_.index] - old, why))
        if round_.open and not old and self.terms[round_.index] < round_.proposal.max_terms:
            self.terms[round_.index] += 1
            self.books[round_.index] = {}

    @rule(data=st.data())
    def rolled_back(self, data: st.DataObject) -> None:
        if (round_ := self.pick(data)) is not None:
            self.happens("cancel", round_.index)

    @rule(data=st.data())
    def recorded(self, data: st.DataObject) -> None:
        if (round_ := self.pick(data)) is not None:
            self.happens("forget", round_.index)

    @rule()
    def continued_as_new(self) -> None:
        self.log = through_temporal(self.log, HandoffLog)

    @invariant()
    def books_agree(self) -> None:
        for round_ in self.log.rounds:
            accepts = sum(self.books[round_.index].values())
            assert round_.term == self.terms[round_.index] <= round_.proposal.max_terms
            assert {name: said.accept for name, said in round_.votes.items()} == self.books[round_.index]
            assert (round_.status == "committed") == (accepts >= round_.required)
            if round_.status == "rejected":
                missing = len(round_.proposal.voters) - len(self.books[round_.index])
                assert accepts + missing < round_.required

    @invariant()
    def ends_are_final(self) -> None:
        for round_ in self.log.rounds:
            if not round_.open:
                assert self.ends.setdefault(round_.index, round_) == round_

    @invariant()
    def each_index_is_there_once(self) -> None:
        indices = [round_.index for round_ in self.log.rounds]
        assert len(set(indices)) == len(indices)
        assert all(1 <= index <= self.log.last_index for index in indices)

    def teardown(self) -> None:
        replayed = HandoffLog()
        for kind, event in self.events:
            replayed = applied(replayed, kind, event)
        assert replayed == self.log


def applied(log: HandoffLog, kind: str, event: Any) -> HandoffLog:
    if kind == "propose":
        return handoff.propose(log, event)[0]
    if kind == "forget":
        return handoff.forget(log, event)
    index = event if kind == "cancel" else event[0]
    round_ = handoff.find(log, index)
    assert round_ is not None
    if kind == "vote":
        return handoff.put(log, handoff.cast(round_, event[1]).round)
    if kind == "end":
        return handoff.put(log, handoff.next_term(round_, event[1], event[2]))
    return handoff.put(log, handoff.cancel(round_, "rolled back"))


TestHandoffs = Handoffs.TestCase
TestHandoffs.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
