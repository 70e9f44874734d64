"""Whose word counts when a copy is checked, and what the chain says of it: the parts that need no chain to compute.

Offline, everything starts from a checkpoint that its holder already believes: its signers are the keys that are known.
How much each is worth only a chain can say (or a file of stakes, as good as whoever wrote it); without one, keys are
counted, and whoever reports the result has to say that stake was not checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ledger.canonical import StrictJSONError, digest, parse_strict
from ledger.checkpoint import Checkpoint, CheckpointRefused, Trust, holds, hotkey_id, parse_checkpoint
from ledger.envelope import Envelope, read_envelope
from ledger.log import MerkleLog
from ledger.signed_note import NoteRefused, NoteSignature
from ledger.types import JSON, Hash, Verify

_MAX_STAKES_BYTES = 1 << 20
_RAO = re.compile(r"0|[1-9][0-9]{0,20}")


@dataclass(frozen=True, slots=True)
class Trusted:
    """A checkpoint that is believed beforehand, and the hotkeys that signed it."""

    checkpoint: Checkpoint
    hotkeys: tuple[str, ...]

    def counted(self, max_age_ms: int | None) -> Trust:
        """Every known key counts as one: more than two thirds of them have to sign."""
        return Trust(self.checkpoint.origin, dict.fromkeys(self.hotkeys, 1), max_age_ms=max_age_ms)

    def weighed(self, stakes: Mapping[str, int], max_age_ms: int | None) -> Trust:
        """Keys count by stake.

        Raises:
            ValueError: no stake at all, a negative one, or a key that is no hotkey.
        """
        return Trust(self.checkpoint.origin, dict(stakes), max_age_ms=max_age_ms)


def read_trusted(raw: bytes, verify: Verify) -> Trusted:
    """A trusted checkpoint's bytes. Its signatures are checked all the same: a file can be damaged.

    Raises:
        CheckpointRefused: `malformed` (also when no hotkey signed it) or `bad_signature`.
    """
    try:
        checkpoint, note = parse_checkpoint(raw)
    except NoteRefused as error:
        raise CheckpointRefused("malformed", str(error)) from None
    ours = [line for line in note.signatures if _is_hotkeys(line)]
    for line in ours:
        if not holds(line, note.text, verify):
            raise CheckpointRefused("bad_signature", f"{line.name} did not sign this")
    if not ours:
        raise CheckpointRefused("malformed", "no hotkey signed it")
    return Trusted(checkpoint, tuple(line.name for line in ours))


def _is_hotkeys(line: NoteSignature) -> bool:
    """Lines of other kinds of keys stand in notes too; they are nothing to us."""
    try:
        return line.key_id == hotkey_id(line.name)
    except ValueError:
        return False


def read_stakes(raw: bytes) -> dict[str, int]:
    """Stakes by hotkey from a file: `{"5Grw...": "1000000000"}`, rao as a string of digits.

    Raises:
        ValueError: anything else.
    """
    try:
        document = parse_strict(raw, max_bytes=_MAX_STAKES_BYTES)
    except StrictJSONError as error:
        raise ValueError(f"not usable JSON: {error.detail}") from None
    if not isinstance(document, dict) or not document:
        raise ValueError('write {"5...": "rao as digits", ...}')
    return {hotkey: _rao(hotkey, value) for hotkey, value in document.items()}


def _rao(hotkey: str, value: object) -> int:
    if not isinstance(value, str) or not _RAO.fullmatch(value):
        raise ValueError(f"the stake of {hotkey[:64]!r} is not a string of digits (rao)")
    return int(value)


# What the chain says --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OnChain:
    """Stake by what its hotkeys have committed to on chain, in one unit; the four parts sum to `total`."""

    total: int
    this: int
    earlier: int
    unknown: int
    silent: int


def committed(
    stakes: Mapping[str, int], slots: Mapping[str, str], log: MerkleLog, batches: Mapping[str, int]
) -> OnChain:
    """How much stake stands on chain behind this log: behind its root, or behind an earlier state of it.

    An envelope names a state of the log by a vote for the batch that led to it (`batch_sizes`), or by the `<size>:
    <root>` of the log itself. Neither is `unknown`: a batch that is not in this log, or not yet, or no vote at present
    beside the log of that hotkey's own answers; the envelope alone cannot tell.
    """
    sums = {"this": 0, "earlier": 0, "unknown": 0, "silent": 0}
    for hotkey, stake in stakes.items():
        envelope = read_envelope(slots.get(hotkey))
        sums["silent" if envelope is None else _named(envelope, log, batches)] += stake
    return OnChain(sum(stakes.values()), **sums)


def _named(envelope: Envelope, log: MerkleLog, batches: Mapping[str, int]) -> str:
    size = batches.get(envelope.vote.batch) if envelope.vote else None
    if size is None and 0 < envelope.size <= log.size and log.root(envelope.size) == envelope.root:
        size = envelope.size
    if size is None:
        return "unknown"
    return "this" if size == log.size else "earlier"


def batch_sizes(headers: Mapping[int, JSON], log: MerkleLog) -> dict[str, int]:
    """The size of the log after every batch in it, by the batch's digest. `headers`: bodies of `batch` leaves by index.

    A batch reaches from its header to the next one. Its digest is that of its leader's seal, which a vote names:
    window, digest of the header, and the version that results (docs/ledger-governance.md).
    """
    starts = sorted(headers)
    ends = [*starts, log.size][1:]
    found: dict[str, int] = {}
    for start, end in zip(starts, ends, strict=True):
        header = headers[start]
        if isinstance(header, dict):
            found[_seal_digest(header, f"{end}:{log.root(end)}")] = end
    return found


def _seal_digest(header: dict[str, JSON], version: str) -> Hash:
    return digest(
        {
            "domain": "orchestra-batch/1",
            "about": "seal",
            "signer": header.get("leader"),
            "window": header.get("window"),
            "header": digest({"domain": "orchestra-header/1", "header": header}),
            "version": version,
        }
    )
