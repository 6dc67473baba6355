"""A very small template language for generated text.

`[a|b|c]` becomes one of its alternatives; these may be empty, and may hold other choices. `{slot}` becomes the value of
the slot, which may be a template too. At the end, sentences get a capital letter, and `a` becomes `an` before a vowel.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence

Slot = str | Callable[[], str]

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_SENTENCE_START = re.compile(r'(^"?|\n"?|[.!?] "?|\." |, "|\^)([a-z])')
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiouAEIOU])")
_SPACES = re.compile(r" {2,}")


def expand(rng: random.Random, template: str, slots: Mapping[str, Slot]) -> str:
    """Resolve every choice and slot of a template.

    Raises:
        KeyError: The template has an unknown slot.
    """

    def slot_value(match: re.Match[str]) -> str:
        value = slots[match[1]]
        return value() if callable(value) else value

    while True:
        text = _CHOICE.sub(lambda match: rng.choice(match[1].split("|")), template)
        text = _SLOT.sub(slot_value, text) if "[" not in text else text
        if text == template:
            return text
        template = text


def polish(text: str) -> str:
    """Capitalise the starts of sentences (`^` marks one more), correct articles and spaces."""
    text = _SPACES.sub(" ", text).strip().replace(" ,", ",").replace(" .", ".")
    text = _SENTENCE_START.sub(lambda match: match[1].replace("^", "") + match[2].upper(), text)
    return _ARTICLE.sub(r"\1n ", text.replace("^", ""))


def sentence(rng: random.Random, template: str, slots: Mapping[str, Slot] | None = None) -> str:
    """Expand and polish one template."""
    return polish(expand(rng, template, slots or {}))


def beats(rng: random.Random, groups: Sequence[Sequence[str]], slots: Mapping[str, Slot], keep: float) -> list[str]:
    """Return one text for each beat, in order.

    Args:
        rng: The source of random choices.
        groups: The beats: alternative templates each. If the first entry is "?", the beat is optional.
        slots: The values of the slots.
        keep: The probability that an optional beat is kept.
    """
    sentences = []
    for group in groups:
        choices = list(group)
        if choices[0] == "?":
            if rng.random() > keep:
                continue
            choices = choices[1:]
        sentences.append(sentence(rng, rng.choice(choices), slots))
    return sentences
