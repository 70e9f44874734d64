"""Challenges that nobody can foresee and everybody can check: a secret per tempo, committed before it, opened after it.

Validator v draws what it asks a miner from HMAC(secret of the tempo, beacon || miner || slot). The commitment to the
secret is on chain before the tempo begins and the secret is published after it ends, so the validator could not choose
its challenges, and nobody else could know them.
"""

from __future__ import annotations

import hashlib
import hmac
import random

from ledger.canonical import canonical, sha256
from ledger.types import Hash

SECRET_BYTES = 32


def commitment(hotkey: str, tempo: int, secret: bytes) -> Hash:
    """What is committed: bound to the validator and the tempo, so that it cannot be copied or moved."""
    return sha256(
        canonical({"domain": "orchestra-seed/1", "hotkey": hotkey, "tempo": tempo, "secret": "0x" + secret.hex()})
    )


def challenge_dice(secret: bytes, *, beacon: str, miner: str, slot: int) -> random.Random:
    """The dice from which one challenge is drawn: the same for everybody who knows the opened secret."""
    message = f"orchestra-challenge/1\n{beacon}\n{miner}\n{slot}".encode()
    return random.Random(hmac.new(secret, message, hashlib.sha256).digest())
