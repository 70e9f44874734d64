"""What an outsider sends to the validator that is to sponsor its proposal, and what it is told in return.

The proposer's signature under a proposal is seen by every validator in the end, so it cannot also be what spends a
prepaid bond: whoever copied it could spend a second one elsewhere. That takes an order, signed for one sponsor.
"""

from __future__ import annotations

from pydantic import Field

from ledger.canonical import canonical, sha256
from ledger.governance.rules import Rules
from ledger.proposals import MAX_PROPOSAL_BYTES, Proposal, proposal_payload, sign
from ledger.types import Hash, Signer, Verify
from orchestra.governing.drafts import State
from orchestra.protocol import SS58, HashStr, Message, RaoAmount, Signature

MAX_CHALLENGE_BYTES = MAX_PROPOSAL_BYTES + 4096
MOST_REFUSALS = 8
MAX_REFUSAL_CHARS = 200


class Challenge(Message):
    """A proposal with its proposer's signature, and the proposer's order to put up at most `bond` of what it prepaid
    to `sponsor`.
    """

    proposal: Proposal
    signature: Signature
    sponsor: SS58
    bond: RaoAmount
    order: Signature

    def digest(self) -> Hash:
        """The proposal's. Raises ValueError: it is too large."""
        return sha256(proposal_payload(self.proposal))

    def is_signed(self, verify: Verify) -> bool:
        """Did the proposer sign both? Raises ValueError: the proposal is too large."""
        payload, proposer = proposal_payload(self.proposal), self.proposal.proposer
        order = order_payload(sha256(payload), sponsor=self.sponsor, bond=self.bond)
        return verify(proposer, payload, bytes.fromhex(self.signature[2:])) and verify(
            proposer, order, bytes.fromhex(self.order[2:])
        )


class ChallengeState(Message):
    """How far a challenge has come: its state since `block`, what became of its bond (all but `lost` is free again once
    the state is an outcome or `expired`), how many validators have it in hand, and why others do not.
    """

    digest: HashStr
    state: State
    block: int
    bond: RaoAmount
    lost: RaoAmount
    taken: int = 0
    refusals: tuple[str, ...] = Field(default=(), max_length=MOST_REFUSALS)


def order_payload(digest: str, *, sponsor: str, bond: int) -> bytes:
    """What an outsider signs to have `bond` rao of what it prepaid to `sponsor` put up for a proposal."""
    return canonical({"domain": "orchestra-order/1", "proposal": digest, "sponsor": sponsor, "bond": str(bond)})


def challenge_of(proposal: Proposal, signer: Signer, *, sponsor: str, bond: int = Rules().bond_rao) -> Challenge:
    """A challenge, signed by its proposer. Raises ValueError: the proposal is too large."""
    payload = proposal_payload(proposal)
    order = order_payload(sha256(payload), sponsor=sponsor, bond=bond)
    return Challenge(
        proposal=proposal, signature=sign(signer, payload), sponsor=sponsor, bond=bond, order=sign(signer, order)
    )
