"""Signed notes (c2sp.org/signed-note): a text that several keys sign, readable by eye and by every log tool.

    a text of lines

    — name base64(key id || signature)

A note comes from a stranger, so it is read in one way only: what this module parses it writes back as the same bytes.
Which keys count, and what their signatures cover, is for the reader of the text to say (`ledger.log`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

MAX_BYTES = 128 << 10
MAX_SIGNATURES = 256

_MARK = "— "
_KEY_ID_BYTES = 4


class NoteRefused(ValueError):
    """Bytes that are not a signed note, or not the note that was asked for."""


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: who claims to have signed, which key and algorithm (four bytes), and the signature."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        return f"{_MARK}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """`text` ends with its newline, which is signed; the blank line after it is not."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        return (self.text + "\n" + "".join(signature.line() for signature in self.signatures)).encode()


def key_id(name: str, algorithm: bytes, public_key: bytes) -> bytes:
    """SHA-256(name || newline || algorithm || public key)[:4]; `algorithm` is a type byte, 0xff with a longer name."""
    return hashlib.sha256(name.encode() + b"\n" + algorithm + public_key).digest()[:_KEY_ID_BYTES]


def parse_note(raw: bytes, *, max_bytes: int = MAX_BYTES) -> Note:
    """Read a note; nothing in it is trusted yet.

    Raises:
        NoteRefused: larger than `max_bytes`, more than 256 signatures, two of one key, not UTF-8, control characters,
            base64 that another writer would spell differently, or not of a note's form.
    """
    if len(raw) > max_bytes:
        raise NoteRefused(f"{len(raw)} bytes, at most {max_bytes}")
    try:
        content = raw.decode()
    except UnicodeDecodeError:
        raise NoteRefused("not UTF-8") from None
    if any(char < " " and char != "\n" for char in content):
        raise NoteRefused("a control character")
    text, blank, lines = content.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise NoteRefused("expected a text, a blank line, and signature lines that end with a newline")
    if lines.count("\n") > MAX_SIGNATURES:
        raise NoteRefused(f"more than {MAX_SIGNATURES} signatures")
    signatures = tuple(_signature(line) for line in lines[:-1].split("\n"))
    _refuse_repeats(signatures)
    return Note(text + "\n", signatures)


def _signature(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(_MARK).partition(" ")
    if not line.startswith(_MARK) or not space or not is_key_name(name):
        raise NoteRefused("a signature line is: em dash, key name, base64")
    value = decode_base64(encoded)
    if len(value) <= _KEY_ID_BYTES:
        raise NoteRefused("a signature line without a signature")
    return NoteSignature(name, value[:_KEY_ID_BYTES], value[_KEY_ID_BYTES:])


def _refuse_repeats(signatures: Iterable[NoteSignature]) -> None:
    seen: set[tuple[str, bytes]] = set()
    for one in signatures:
        if (one.name, one.key_id) in seen:
            raise NoteRefused(f"{one.name[:64]} signed twice")
        seen.add((one.name, one.key_id))


def is_key_name(name: str) -> bool:
    """Whether a signature line may carry this name: not empty, no space of any kind, no plus."""
    return bool(name) and "+" not in name and not any(map(str.isspace, name))


def decode_base64(text: str) -> bytes:
    """Standard base64 (RFC 4648 §4), in its one canonical spelling.

    Raises:
        NoteRefused: anything else.
    """
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteRefused("not base64") from None
    if base64.b64encode(value).decode() != text:
        raise NoteRefused("base64 that is not in its canonical spelling")
    return value
