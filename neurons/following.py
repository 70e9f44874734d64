"""A neuron's Ledger: a copy to begin with, then the changes that its committer makes.

Trouble is a line for the log and never more: an old Ledger is better than no answer, and the next block tries again.
"""

from __future__ import annotations

import logging
import random
import secrets
import time
from typing import TYPE_CHECKING

from ledger.checkpoint import CheckpointRefused, Trust, verify_checkpoint
from ledger.store import LedgerConflict
from orchestra.chain import verify_signature
from orchestra.chain.watch import Sight
from orchestra.ledger_bootstrap import Bootstrap, BootstrapFailed, Bootstrapped, bring_up, whom_to_trust
from orchestra.ledger_node import LedgerRefused
from orchestra.peers import Peer, PeerFailed

if TYPE_CHECKING:
    from neurons.running import Neuron

logger = logging.getLogger(__name__)

ASKED = 3
MOST_ASKED = 8
"""Validators that are asked for what they vouch for: until one has news, so many had none, or so many were asked."""

TROUBLE = (PeerFailed, LedgerRefused, LedgerConflict)


def now_ms() -> int:
    """UTC in milliseconds."""
    return time.time_ns() // 1_000_000


async def follow_ledger(neuron: Neuron, committer: str, sight: Sight) -> str:
    """Bring the Ledger to where its committer is; return what keeps it from there, nothing when it is there."""
    stays = f"the Ledger stays at size {neuron.ledger.view.size}"
    source = neuron.peer(committer)
    if source is None:
        return f"{stays}: its committer {committer} serves nowhere on subnet {neuron.settings.netuid} yet"
    copies = [source, *(each for each in neuron.validators() if each.hotkey != committer)]
    believe = bootstrap(neuron, whom_to_trust(neuron.origin, sight.members, committer=committer))
    block = sight.block.number
    try:
        tell(await bring_up(neuron.ledger, copies, source, bootstrap=believe, committer=committer, block=block))
    except LedgerRefused as error:
        file = neuron.settings.database("ledger")
        return f"{stays}: {error}; if the network began anew, stop, remove {file} and start again"
    except TROUBLE as error:
        return f"{stays}: {error}"
    return ""


async def follow_council(neuron: Neuron, sight: Sight) -> str:
    """Bring the Ledger to what the validators vouch for with more than two thirds of their stake; return what keeps it
    from there. Signatures that are still being gathered are no trouble: the next block brings them.
    """
    stays = f"the Ledger stays at size {neuron.ledger.view.size}"
    peers = neuron.validators()
    if not peers:
        return f"{stays}: no validator serves on subnet {neuron.settings.netuid} yet"
    random.Random(secrets.token_bytes(32)).shuffle(peers)
    try:
        trust = whom_to_trust(neuron.origin, sight.members, min_stake_rao=neuron.settings.validator_min_stake_rao)
    except ValueError as error:
        return f"{stays}: {error}"
    believe, block = bootstrap(neuron, trust), sight.block.number
    if not neuron.ledger.view.size:
        try:
            tell(await believe.fill(neuron.ledger, peers, block=block))
        except BootstrapFailed as failed:
            return f"{stays}: {failed}"
    reasons, agreed = list[str](), 0
    for peer in peers[:MOST_ASKED]:
        size = neuron.ledger.view.size
        try:
            await _follow_one(neuron, believe, peer, block)
        except CheckpointRefused as error:
            if error.code != "not_enough_stake":
                reasons.append(f"{peer.hotkey}: {error}")
        except TROUBLE as error:
            reasons.append(f"{peer.hotkey}: {error}")
        else:
            agreed += 1
            if neuron.ledger.view.size > size or agreed == ASKED:
                break
    return f"{stays}: {'; '.join(reasons)}" if reasons and not agreed else ""


async def _follow_one(neuron: Neuron, believe: Bootstrap, peer: Peer, block: int) -> None:
    """Go to what one validator hands out, if enough stake stands behind it."""
    note = await peer.checkpoint()
    found = verify_checkpoint(note, believe.trust, verify_signature, now_ms=now_ms())
    await neuron.ledger.follow_to(peer, found.checkpoint, block=block)
    await neuron.checkpoints.believe(note)


async def is_vouched_for(neuron: Neuron, sight: Sight) -> bool:
    """Is our checkpoint that of our Ledger as it is now, signed with enough stake for others to follow it?"""
    note = await neuron.checkpoints.note(neuron.origin)
    least = neuron.settings.validator_min_stake_rao
    try:
        trust = whom_to_trust(neuron.origin, sight.members, min_stake_rao=least)
        found = verify_checkpoint(note or b"", trust, verify_signature, now_ms=now_ms())
    except ValueError:  # not enough of them yet, or nobody whose word counts
        return False
    return found.checkpoint.version == neuron.ledger.view.version


def bootstrap(neuron: Neuron, trust: Trust) -> Bootstrap:
    """How this neuron believes a copy."""
    return Bootstrap(
        trust=trust,
        verify=verify_signature,
        now_ms=now_ms,
        checkpoints=neuron.checkpoints,
        dice=random.Random(secrets.token_bytes(32)),
        probe=neuron.probe,
    )


def tell(outcome: Bootstrapped | BootstrapFailed | None) -> None:
    """Say where the Ledger came from, and whose copy was refused."""
    if outcome is None:
        return
    for hotkey, reason in outcome.refused.items():
        logger.warning("the copy of the Ledger that %s serves was refused: %s", hotkey, reason)
    if isinstance(outcome, Bootstrapped):
        size = outcome.verified.checkpoint.size
        logger.info("the Ledger begins with a copy of %d changes from %s", size, outcome.source)
    else:
        logger.warning("no copy of the Ledger was believed: it was read change by change")
