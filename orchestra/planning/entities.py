"""The things an objective names: `Acme, Borealis and Crux`, `subnet 75`, `compare foo and bar`.

There is no gazetteer: a name is recognised by how it is written (capitals, a dot or digits inside, quotes, a number
after a label) and where it stands (in an enumeration, after `from`, before `vs`). What merely says where to look ("on
Bittensor", "Bittensor subnets") is context, not a thing asked about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestra.planning.vocabulary import deed_verbs
from orchestra.planning.words import STOPWORDS, lexicon, name_tokens, stem, tokens

MAX_ENTITIES = 8
MAX_MENTIONS = 32


@dataclass(frozen=True, slots=True)
class Entity:
    """Something named. `number` is set where it is named by one, as in `subnet 75`, and `label` then says of what."""

    name: str
    label: str = ""
    number: int | None = None


def names_of(entity: Entity) -> list[str]:
    """The ways in which a thing is written: `subnet 75` also as `SN75` and `netuid 75`."""
    number = entity.number
    if number is None or entity.label != "netuid":
        return [entity.name]
    return [entity.name, f"SN{number}", f"netuid {number}"]


@dataclass(frozen=True, slots=True)
class _Mention:
    text: str
    start: int
    end: int


OPENERS = lexicon("openers")

_SET_NOUNS = lexicon("set_nouns")
_SET_STEMS = frozenset(map(stem, _SET_NOUNS))
_ASPECTS = frozenset(map(stem, lexicon("aspects")))
_DATES = lexicon("no_names")
_NUMBERED = re.compile(
    r"\b(subnets?|netuids?|sn|uids?)[\s#-]*(\d{1,5}(?:(?:\s*,\s*and|\s*,|\s+and|\s+or)\s+(?:sn)?\d{1,5})*)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\s,;:!?()\[\]{}\"“”]+")
_ANY = frozenset({"which", "what", "any", "every", "each", "all", "a", "an", "other"})
_PLACE = frozenset({"on", "in", "within", "across", "inside", "under", "via"})
_JOIN = re.compile(r"\s*(?:,\s*(?:and|or|&)\s+|,\s*|\s+(?:and|or|&|vs\.?|versus|against|to|with)\s+)", re.I)
_PLAIN_LIST = re.compile(
    r"\b(?:compare|contrast|between|from|competitors|among|across|at)\s+(?P<list>[^;:?!]+?)"
    r"(?:\s+(?:for|on|by|in|of|at|regarding|with respect)\b|[.;:?!](?:\s|$)|$)",
    re.IGNORECASE,
)
_VERSUS = re.compile(r"(?<![\w.-])(?P<a>[\w.-]{1,40})\s+(?:vs\.?|versus)\s+(?P<b>[\w.-]{1,40})", re.IGNORECASE)


def find_entities(text: str, nouns: Iterable[str] = ()) -> tuple[tuple[Entity, ...], tuple[str, ...]]:
    """The named things, in the order they are named, and the names that are only context.

    `nouns` are words for the kind of thing that is asked for (the keys of the target_schema): a name before one of
    them is context.
    """
    numbered = tuple(_numbered(text))
    spans = [match.span() for match in _NUMBERED.finditer(text)][:MAX_MENTIONS]
    spotted = [
        mention for mention in _mentions(text) if not any(a < mention.end and mention.start < b for a, b in spans)
    ]
    spotted = spotted[:MAX_MENTIONS]
    kinds = _SET_NOUNS | {stem(word) for noun in nouns for word in name_tokens(noun)[-1:]}
    context = [mention for mention in spotted if _is_context(mention, text, kinds, alone=len(spotted) == 1)]
    named = [mention for mention in spotted if mention not in context]
    names = [*_enumerated(text, named)]
    listed = [item for item in _plain_list(text) if not {stem(word) for word in tokens(item)} & (kinds | _ASPECTS)]
    if len(listed) > len(names) and (not names or set(names) & set(listed)):
        names = listed
    entities = [*numbered, *(Entity(name) for name in names)]
    unique = {
        entity.name.casefold(): entity for entity in entities if entity.name.casefold() not in _casefolded(context)
    }
    return tuple(unique.values())[:MAX_ENTITIES], tuple(dict.fromkeys(mention.text for mention in context))


def _casefolded(mentions: Iterable[_Mention]) -> frozenset[str]:
    return frozenset(mention.text.casefold() for mention in mentions)


def _numbered(text: str) -> Iterator[Entity]:
    for match in _NUMBERED.finditer(text):
        label = "netuid" if match[1].lower().startswith(("sn", "netuid", "subnet")) else "uid"
        for number in re.findall(r"\d+", match[2]):
            yield Entity(f"subnet {number}" if label == "netuid" else f"{label} {number}", label, int(number))


def _mentions(text: str) -> list[_Mention]:
    """Runs of words that are written like names, sentence openers aside."""
    found: list[_Mention] = []
    run: list[_Mention] = []
    opening = True
    for match in _WORD.finditer(text):
        word = match[0].rstrip(".'’")
        word = word.removesuffix("'s").removesuffix("’s")
        possessive = len(word) < len(match[0].rstrip("."))
        mention = _Mention(word, match.start(), match.start() + len(word))
        glued = not run or text[run[-1].end : mention.start].strip() == ""
        if _like_name(word, opening=opening) and glued:
            run.append(mention)
        else:
            found += _joined(text, run)
            run = [mention] if _like_name(word, opening=opening) else []
        if possessive or _ends_sentence(match[0], text, match.end()):
            found += _joined(text, run)
            run = []
        opening = _ends_sentence(match[0], text, match.end())
    return [*found, *_joined(text, run)]


def _ends_sentence(word: str, text: str, end: int) -> bool:
    return text[end : end + 1] in {"?", "!", ";", ":"} or (word.endswith(".") and not word[:-1].endswith("."))


def _like_name(word: str, *, opening: bool) -> bool:
    lower = word.lower()
    if not any(letter.isalpha() for letter in word) or lower in _DATES:
        return False
    if "." in word.strip(".") or re.search(r"[a-z][A-Z]", word):
        return not lower.startswith(("http", "e.g", "i.e"))
    if any(letter.isdigit() for letter in word):
        return bool(re.match(r"\d+[—-][A-Za-z]{2,}$", word))
    if not any(letter.isupper() for letter in word) or lower in STOPWORDS:
        return False
    letters = word.removesuffix("s")
    if letters.isupper() and len(letters) <= 5:
        return False
    if "-" in word:
        return word[0].isupper() and not opening and not word.startswith("AI-")
    common = lower in OPENERS or lower in deed_verbs() or stem(word) in _ASPECTS | _SET_STEMS
    return not (opening and common)


def _joined(text: str, run: list[_Mention]) -> list[_Mention]:
    if not run:
        return []
    return [_Mention(text[run[0].start : run[-1].end], run[0].start, run[-1].end)]


def _is_context(mention: _Mention, text: str, kinds: frozenset[str], *, alone: bool) -> bool:
    before = tokens(text[: mention.start])[-1:]
    if _JOIN.match(text, mention.end):
        return False
    after = tokens(text[mention.end : mention.end + 40])[:1]
    joined = text[mention.end : mention.end + 1] == " "
    if before and before[0].lower() in _PLACE:
        return True
    if not (joined and after and stem(after[0]) in kinds):
        return False
    of_a_kind = after[0].lower().endswith("s") or bool(before and before[0].lower() in _ANY)
    return of_a_kind or not alone


def _enumerated(text: str, named: list[_Mention]) -> Iterator[str]:
    """The names, and the unlike items that stand in one enumeration with them: `Acme, borealis and Crux`."""
    last = 0
    for mention in named:
        gap = text[last : mention.start] if last else ""
        items = [item.strip() for item in _JOIN.split(gap)] if last else []
        if len(items) > 2 and not items[0] and not items[-1]:
            yield from (item for item in items[1:-1] if _short_name(item))
        yield mention.text
        last = mention.end
    tail = _JOIN.match(text, last)
    if tail and "to" not in tail[0] and "with" not in tail[0]:
        item = re.match(r"[\w.-]+", text[tail.end() :])
        rest = text[tail.end() + item.end() :] if item else ""
        if item and _short_name(item[0].rstrip(".")) and re.match(r"\s*(?:[.,;:?!]|$)", rest) and len(named) > 1:
            yield item[0].rstrip(".")


def _plain_list(text: str) -> Iterator[str]:
    """Lower-case names in a comparison: `compare foo and bar`, `foo vs bar`."""
    match = _PLAIN_LIST.search(text)
    items = [item.strip() for item in _JOIN.split(match["list"])] if match else []
    if match is None and (versus := _VERSUS.search(text)):
        items = [versus["a"], versus["b"]]
    if len(items) > 1 and all(_short_name(item) for item in items):
        yield from items


def _short_name(item: str) -> bool:
    words = tokens(item)
    return 0 < len(words) <= 2 and not any(word.lower() in STOPWORDS or word.lower() in OPENERS for word in words)
