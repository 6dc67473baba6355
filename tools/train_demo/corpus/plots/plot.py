"""Plots: each is a causal chain of beats, every beat a set of alternative sentences (see grammar.beats).

Slots: {M} the hero, {he} {him} {his} {himself} for the hero, {F} the friend, {fhe} {fhim} {fhis} for the friend,
{friend} introduces the friend ("a clever fox named Rex"), {toy} {food} {place} {place2} {baby} and so on are fixed
once per story. `topic` is the clause that follows "a story about a fox who".
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plot:
    """`topic` may hold alternatives; `beats` are in order; an entry "?" first marks an optional beat."""

    name: str
    topic: str
    beats: list[list[str]]
