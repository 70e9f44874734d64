"""What the state machine asks of those who drive it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ledger.changes import Change
from ledger.governance.chain import Vote
from ledger.proposals import SignedProposal
from ledger.statements import Equivocation, Message


@dataclass(frozen=True, slots=True)
class Send:
    """A message for one validator. Losing it is allowed: what matters is sent again."""

    to: str
    message: Message


@dataclass(frozen=True, slots=True)
class Probe:
    """Try what this proposal says, and report. `attempt` counts from 0; the same one may be asked for again."""

    sent: SignedProposal
    attempt: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """This node is behind: get the log's leaves from `since` on, up to `version`, from one of these, for `on_log`."""

    since: int
    version: str
    peers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Effects:
    """In this order: append `changes` to the log at index `onto`; if `persist`, keep `Governor.dump()`; only then put
    the `vote` on chain, send, probe, fetch. `refused` answers the message that was just handed in.
    """

    changes: tuple[Change, ...] = ()
    onto: int = 0
    persist: bool = False
    vote: Vote | None = None
    sends: tuple[Send, ...] = ()
    probes: tuple[Probe, ...] = ()
    fetch: Fetch | None = None
    accused: tuple[Equivocation, ...] = ()
    refused: str = ""


@dataclass(slots=True)
class Outbox:
    """Effects while they are collected."""

    changes: list[Change] = field(default_factory=list[Change])
    onto: int = 0
    persist: bool = False
    vote: Vote | None = None
    sends: list[Send] = field(default_factory=list[Send])
    probes: list[Probe] = field(default_factory=list[Probe])
    fetch: Fetch | None = None
    accused: list[Equivocation] = field(default_factory=list[Equivocation])
    refused: str = ""

    def send(self, to: Iterable[str], message: Message) -> None:
        self.sends += [Send(each, message) for each in to]

    def append(self, onto: int, changes: Iterable[Change]) -> None:
        """Changes follow each other: two batches that become final in one step are one append."""
        self.onto = self.onto if self.changes else onto
        self.changes += changes
        self.persist = True

    def close(self) -> Effects:
        return Effects(
            tuple(self.changes),
            self.onto,
            self.persist,
            self.vote,
            tuple(self.sends),
            tuple(self.probes),
            self.fetch,
            tuple(self.accused),
            self.refused,
        )
