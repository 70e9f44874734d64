"""Which capabilities a clause needs: does it ask for work to be done, or for information?

"Transcribe this recording" needs a subnet that transcribes; "Which subnets transcribe recordings?" needs a search. The
difference is grammatical: a deed opens with its verb and names its thing before any provider of it, or points at
something given ("this image").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from orchestra.planning.objective import COMPUTED_VERBS, LOOKUP_VERBS, QUESTION_WORDS, Clause
from orchestra.planning.vocabulary import asked_in, concepts, concepts_in
from orchestra.planning.words import STOPWORDS, lexicon, stem, stems, tokens

INFORMATION = "web_search"
"""What a clause needs that asks for no deed."""

_PROVIDERS = frozenset(map(stem, lexicon("providers")))
_DETERMINERS = lexicon("determiners")
_STOPS = re.compile(r"[,;:()]")
_GIVEN = lexicon("given")
_INPUTS = frozenset(map(stem, lexicon("inputs")))
_REPORTING = LOOKUP_VERBS | QUESTION_WORDS | COMPUTED_VERBS | STOPWORDS | lexicon("asking") | lexicon("reporting")
"""Words that open a clause which asks for information, or for a text about it."""
_WEAK = LOOKUP_VERBS | lexicon("weak_verbs")


@lru_cache(maxsize=1024)
def needed(clause: Clause) -> str:
    """The capability a clause needs: that of a deed, else `web_search`."""
    found = [*_questioned(clause), *_ordered(clause)]
    return found[0] if found else _judged(clause) or _handled(clause) or INFORMATION


def _questioned(clause: Clause) -> Iterator[str]:
    """Capabilities by a question that wants them used, unless it is about who offers them."""
    for name in sorted(asked_in(clause.text)):
        asked = {word for phrase in concepts()[name].asks for word in phrase}
        if not any(word in _PROVIDERS and word not in asked for word in stems(clause.text)[:4]):
            yield name


def _ordered(clause: Clause) -> Iterator[str]:
    """Capabilities by a verb that opens the clause and the thing it is done to."""
    if clause.verb in QUESTION_WORDS:
        return
    verb, heads = stem(clause.verb), _heads(clause)
    reach = set(heads[:1] if clause.verb in _WEAK else heads[:2])
    for name, concept in concepts().items():
        if any(verb in deed.verbs and (not deed.things or deed.things & reach) for deed in concept.deeds):
            yield name


def _judged(clause: Clause) -> str | None:
    """`Was this essay written by a machine?`: something given, to be judged by a capability that is spoken of."""
    words = [word.lower() for word in tokens(clause.text)]
    given = any(left in _GIVEN and stem(right) in _INPUTS for left, right in pairwise(words))
    spoken = sorted(concepts_in(clause.text)) if given else []
    return spoken[0] if spoken else None


def _handled(clause: Clause) -> str | None:
    """An order with a verb that nobody foresaw, for a thing that only one capability works on: `dock this molecule`."""
    words = tokens(clause.text)
    ordered = len(words) > 2 and words[1].lower() in _DETERMINERS and clause.verb not in _REPORTING
    if clause.is_question or not ordered:
        return None
    heads = set(_heads(clause)[:1])
    owners = {name for name, concept in concepts().items() if any(heads & deed.things for deed in concept.deeds)}
    return owners.pop() if len(owners) == 1 else None


def _heads(clause: Clause) -> list[str]:
    """The stem of the last word of each noun phrase after the verb, in order."""
    parts = _STOPS.split(clause.text)
    return [head for part in (" ".join(tokens(parts[0])[1:]), *parts[1:]) for head in _phrase_heads(tokens(part))]


def _phrase_heads(words: list[str]) -> Iterator[str]:
    last = ""
    for word in words:
        if word.lower() in _DETERMINERS and not (last and word.lower() == "that"):
            continue
        if word.lower() in STOPWORDS and last:
            yield stem(last)
            last = ""
        elif word.lower() not in STOPWORDS:
            last = word
    if last:
        yield stem(last)
