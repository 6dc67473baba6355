"""All plots. Their order is part of the data: a seed picks by position."""

from __future__ import annotations

from corpus.plots.kindness import BABY, HONEST, NEWCOMER, QUARREL, RACE, SHARE
from corpus.plots.plot import Plot
from corpus.plots.projects import BAKE, BIRTHDAY, BUILD, GARDEN, SKILL, TREASURE
from corpus.plots.troubles import FEAR, LOST, NOISE, SLEEP, STORM, STUCK

__all__ = ["PLOTS", "Plot"]

PLOTS = [
    LOST,
    SHARE,
    FEAR,
    STORM,
    BABY,
    SKILL,
    BIRTHDAY,
    NOISE,
    BUILD,
    RACE,
    HONEST,
    GARDEN,
    QUARREL,
    NEWCOMER,
    STUCK,
    SLEEP,
    TREASURE,
    BAKE,
]
