"""A plot is a chain of beats, in which each beat causes the next. A beat is a list of alternatives (grammar.beats).

Slots: {M} the hero, {he} {him} {his} {himself} for the hero, {F} the friend, {fhe} {fhim} {fhis} for the friend,
{friend} introduces the friend ("a clever fox named Rex"), {toy} {food} {place} {place2} {baby} and so on are fixed
once per story. `topic` is the clause that follows "a story about a fox who".
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot. `topic` is a template. `beats` are in order; one whose first entry is "?" is optional."""

    name: str
    topic: str
    beats: list[list[str]]
