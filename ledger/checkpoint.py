"""Checkpoints: how validators vouch together for the Ledger's log, and how anyone checks that offline.

A checkpoint (c2sp.org/tlog-checkpoint) names a log's size and root in a signed note. Each validator adds one line: its
hotkey, the time, and a signature that says "at this time this was the longest log I knew, and it continues every one I
signed before". Whoever holds a checkpoint with enough stake behind it can check a copy of the Ledger, or one entry of
it (c2sp.org/tlog-proof), without asking anybody. Pure: keys, clock and what was seen before come from the caller.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

from ledger.canonical import MAX_SAFE_INTEGER, is_hash, merkle_root, to_bytes, verify_consistency, verify_inclusion
from ledger.signed_note import MAX_BYTES, Note, NoteRefused, NoteSignature, decode_base64, key_id, parse_note
from ledger.types import Hash, Hotkey, Signer, Verify

ALGORITHM = b"\xfforchestra-sr25519-v1"
"""The type of our signatures: 0xff (not assigned by C2SP) and a name of our own."""
EMPTY_ROOT = merkle_root(())
TWO_THIRDS = Fraction(2, 3)
MAX_CLOCK_SKEW_MS = 60_000
"""A signature from further ahead than this does not count: it would stay fresh for as long as its signer likes."""

_PROOF_HEADER = "c2sp.org/tlog-proof@v1"
_MAX_PATH = 64
_TIME_BYTES = 8
_SIGNATURE_BYTES = 64
_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
_BASE58 = {char: value for value, char in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")}
_SS58_PREFIX = b"\x2a"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log at one size, in the log's own name (`origin`: one line, such as `orchestra.example/sn42`).

    Raises:
        ValueError: not something a checkpoint can say.
    """

    origin: str
    size: int
    root: Hash

    def __post_init__(self) -> None:
        if not self.origin or any(char < " " for char in self.origin):
            raise ValueError("an origin is one line of text")
        if not 0 <= self.size <= MAX_SAFE_INTEGER:
            raise ValueError("a log has between 0 and 2^53 - 1 leaves")
        if not is_hash(self.root) or (self.size == 0) is not (self.root == EMPTY_ROOT):
            raise ValueError("not the root of a log of this size")

    @property
    def version(self) -> str:
        """`<size>:<root>`, the `ledger_version`."""
        return f"{self.size}:{self.root}"

    @property
    def text(self) -> str:
        """The note's text: origin, size, base64 root."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(to_bytes(self.root)).decode()}\n"


def parse_checkpoint(raw: bytes) -> tuple[Checkpoint, Note]:
    """Read a checkpoint and its signatures, none of them checked.

    Extension lines, which C2SP advises against, are refused: nobody could audit what they say.

    Raises:
        NoteRefused: not a signed note, or its text not a checkpoint.
    """
    note = parse_note(raw)
    lines = note.text[:-1].split("\n")
    if len(lines) != 3:
        raise NoteRefused("a checkpoint has three lines: origin, size, root")
    root = decode_base64(lines[2])
    if len(root) != hashlib.sha256().digest_size:
        raise NoteRefused("a root is 32 bytes")
    try:
        return Checkpoint(lines[0], _number(lines[1]), _hash(root)), note
    except ValueError as error:
        raise NoteRefused(str(error)) from None


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise NoteRefused("a number is decimal digits without leading zeros")
    return int(text)


def cosign(checkpoint: Checkpoint, signer: Signer, *, time_ms: int) -> NoteSignature:
    """One validator's line. It may be added only when the log continues every checkpoint this key signed before.

    The signature is the time (8 bytes, big-endian, ms) and sr25519 over `cosignature_bytes`.
    """
    hotkey = signer.ss58_address
    signature = signer.sign(cosignature_bytes(checkpoint.text, time_ms))
    return NoteSignature(hotkey, hotkey_id(hotkey), time_ms.to_bytes(_TIME_BYTES, "big") + signature)


def cosignature_bytes(text: str, time_ms: int) -> bytes:
    """What is signed: a line that says what this is, a line with the time, and the note's text."""
    return f"{ALGORITHM[1:].decode()}\ntime {time_ms}\n{text}".encode()


def write_checkpoint(checkpoint: Checkpoint, signatures: Iterable[NoteSignature]) -> bytes:
    """The note, its lines in the order of their names: any order of collecting them gives the same bytes."""
    return Note(checkpoint.text, tuple(sorted(signatures, key=lambda one: (one.name, one.key_id)))).encode()


def hotkey_id(hotkey: str) -> bytes:
    """The key id of a hotkey in a signature line, where its address is the name.

    Raises:
        ValueError: not an SS58 address of Bittensor (prefix 42).
    """
    return key_id(hotkey, ALGORITHM, _public_key(hotkey))


def _public_key(hotkey: str) -> bytes:
    number = 0
    if not hotkey or len(hotkey) > 64 or not _BASE58.keys() >= set(hotkey):
        raise ValueError("not an SS58 address")
    for char in hotkey:
        number = number * 58 + _BASE58[char]
    raw = number.to_bytes(48, "big").lstrip(b"\0")
    body, check = raw[:-2], raw[-2:]
    if len(raw) != 35 or raw[:1] != _SS58_PREFIX or hashlib.blake2b(b"SS58PRE" + body).digest()[:2] != check:
        raise ValueError("not an SS58 address of Bittensor")
    return body[1:]


# Verification

RefusalCode: TypeAlias = Literal[
    "malformed",
    "wrong_origin",
    "bad_signature",
    "not_enough_stake",
    "stale",
    "rollback",
    "split_view",
    "inconsistent",
    "not_included",
]


class CheckpointRefused(ValueError):
    """Why a checkpoint, or a proof with one, is not believed. `code` is stable."""

    def __init__(self, code: RefusalCode, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code: RefusalCode = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose word counts: `stakes` by hotkey (one unit throughout, such as rao), of which more than `threshold` signs.

    With `max_age_ms` that much stake must also have signed within it. Where the stakes come from (a chain, or the
    validator set recorded in the log) decides how far the result can be trusted; this module cannot tell.

    Raises:
        ValueError: a hotkey that is no address, a negative stake, no stake at all, or a threshold outside [1/2, 1).
    """

    origin: str
    stakes: Mapping[str, int]
    threshold: Fraction = TWO_THIRDS
    max_age_ms: int | None = None

    def __post_init__(self) -> None:
        if min(self.stakes.values(), default=0) < 0 or self.total <= 0:
            raise ValueError("stakes are not negative, and some are above zero")
        if not Fraction(1, 2) <= self.threshold < 1:
            raise ValueError("a threshold is at least a half and below one")
        for hotkey in self.stakes:
            _public_key(hotkey)

    @property
    def total(self) -> int:
        return sum(self.stakes.values())

    def suffices(self, stake: int) -> bool:
        """Is this more than the threshold of all stake?"""
        return stake > self.total * self.threshold


@dataclass(frozen=True, slots=True)
class Cosigner:
    hotkey: Hotkey
    stake: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Verified:
    """A checkpoint that is believed, and why: the signers, most stake first, what they hold, and of how much.

    `time_ms` is the latest time at which enough stake stood behind it: no minority can make it look younger.
    """

    checkpoint: Checkpoint
    signers: tuple[Cosigner, ...]
    stake: int
    total: int
    time_ms: int


def verify_checkpoint(
    raw: bytes,
    trust: Trust,
    verify: Verify,
    *,
    now_ms: int,
    last: Checkpoint | None = None,
    consistency: Sequence[str] = (),
) -> Verified:
    """Believe a checkpoint, or say why not.

    `last` is the largest checkpoint believed before: a longer log must be shown by `consistency` to continue it.
    Signatures of unknown keys are ignored; a known key whose signature is wrong spoils the note.

    Raises:
        CheckpointRefused: `malformed`, `wrong_origin`, `bad_signature`, `not_enough_stake`, `stale` (enough stake, but
            not within `max_age_ms`), `rollback` (shorter than `last`), `split_view` (another root at the size of
            `last`: keep both notes, together they prove it), `inconsistent`.
    """
    try:
        checkpoint, note = parse_checkpoint(raw)
    except NoteRefused as error:
        raise CheckpointRefused("malformed", str(error)) from None
    if checkpoint.origin != trust.origin:
        raise CheckpointRefused("wrong_origin", f"this is {checkpoint.origin[:100]!r}, expected {trust.origin!r}")
    signers = _signers(note, trust, verify, now_ms)
    result = _weigh(checkpoint, signers, trust)
    if trust.max_age_ms is not None and now_ms - result.time_ms > trust.max_age_ms:
        age = (now_ms - result.time_ms) // 1000
        raise CheckpointRefused("stale", f"signed {age} s ago, at most {trust.max_age_ms // 1000} s")
    if last is not None:
        _require_continuation(last, checkpoint, consistency)
    return result


def _signers(note: Note, trust: Trust, verify: Verify, now_ms: int) -> list[Cosigner]:
    """The trusted keys that signed, newest first."""
    found: list[Cosigner] = []
    for one in note.signatures:
        stake = trust.stakes.get(one.name)
        if stake is None or one.key_id != hotkey_id(one.name):
            continue
        time_ms = int.from_bytes(one.signature[:_TIME_BYTES], "big")
        signature = one.signature[_TIME_BYTES:]
        covered = cosignature_bytes(note.text, time_ms)
        if len(signature) != _SIGNATURE_BYTES or not verify(one.name, covered, signature):
            raise CheckpointRefused("bad_signature", f"{one.name} did not sign this")
        if time_ms <= now_ms + MAX_CLOCK_SKEW_MS:
            found.append(Cosigner(Hotkey(one.name), stake, time_ms))
    return sorted(found, key=lambda signer: -signer.time_ms)


def _weigh(checkpoint: Checkpoint, newest_first: Sequence[Cosigner], trust: Trust) -> Verified:
    stake, enough_at = 0, None
    for signer in newest_first:
        stake += signer.stake
        if enough_at is None and trust.suffices(stake):
            enough_at = signer.time_ms
    if enough_at is None:
        detail = f"{stake} of {trust.total} signed, more than {trust.threshold} is needed"
        raise CheckpointRefused("not_enough_stake", detail)
    signers = sorted(newest_first, key=lambda signer: (-signer.stake, signer.hotkey))
    return Verified(checkpoint, tuple(signers), stake, trust.total, enough_at)


def _require_continuation(last: Checkpoint, now: Checkpoint, proof: Sequence[str]) -> None:
    if now.size < last.size:
        raise CheckpointRefused("rollback", f"{now.size} changes, but {last.size} were seen before")
    if now.size == last.size and now.root != last.root:
        raise CheckpointRefused("split_view", f"another root at {now.size} changes than was seen before")
    if last.size in (0, now.size):
        return
    if len(proof) > _MAX_PATH or not verify_consistency(last.size, now.size, last.root, now.root, proof):
        raise CheckpointRefused("inconsistent", f"not shown to continue the {last.size} changes seen before")


# One entry, offline


@dataclass(frozen=True, slots=True)
class EntryProof:
    """That a leaf stands at `index` of the log that a checkpoint names. As text: c2sp.org/tlog-proof."""

    index: int
    path: tuple[Hash, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        path = "".join(base64.b64encode(to_bytes(part)).decode() + "\n" for part in self.path)
        return f"{_PROOF_HEADER}\nindex {self.index}\n{path}\n".encode() + self.checkpoint


def parse_entry_proof(raw: bytes) -> EntryProof:
    """Read a proof; nothing in it is trusted yet. Ours carry no `extra` line.

    Raises:
        NoteRefused: not of the form, or larger than a note and 64 hashes may be.
    """
    if len(raw) > MAX_BYTES + 4096:
        raise NoteRefused(f"{len(raw)} bytes")
    head, _, checkpoint = raw.partition(b"\n\n")
    try:
        header, index, *path = head.decode("ascii").split("\n")
    except ValueError:
        raise NoteRefused(f"expected {_PROOF_HEADER}, an index and a path") from None
    if header != _PROOF_HEADER or not index.startswith("index ") or len(path) > _MAX_PATH:
        raise NoteRefused(f"expected {_PROOF_HEADER}, an index and a path of at most {_MAX_PATH}")
    hashes = [decode_base64(line) for line in path]
    if any(len(part) != hashlib.sha256().digest_size for part in hashes):
        raise NoteRefused("a hash is 32 bytes")
    return EntryProof(_number(index.removeprefix("index ")), tuple(map(_hash, hashes)), checkpoint)


def verify_entry(raw: bytes, leaf: str, trust: Trust, verify: Verify, *, now_ms: int) -> Verified:
    """Believe that `leaf` (`ledger.changes.change_leaf` of the entry in hand) is in the log, or say why not.

    Raises:
        CheckpointRefused: as `verify_checkpoint`; `not_included` when the path does not lead from leaf to root.
    """
    try:
        proof = parse_entry_proof(raw)
    except NoteRefused as error:
        raise CheckpointRefused("malformed", str(error)) from None
    result = verify_checkpoint(proof.checkpoint, trust, verify, now_ms=now_ms)
    if not verify_inclusion(leaf, proof.index, result.checkpoint.size, proof.path, result.checkpoint.root):
        raise CheckpointRefused("not_included", f"this leaf is not number {proof.index} of {result.checkpoint.version}")
    return result


def _hash(value: bytes) -> Hash:
    return Hash("0x" + value.hex())
