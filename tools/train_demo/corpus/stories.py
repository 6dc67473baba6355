"""Stories: a hero, an opening, a plot, sometimes a closing line. One random generator decides everything."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass

from corpus import lexicon as lex
from corpus.grammar import Slot, beats, expand, sentence
from corpus.lexicon import Kind
from corpus.plots import PLOTS, Plot

OPENINGS = [
    "once upon a time, there was {a_hero} who {trait}. {named}",
    "once upon a time, there was {a_hero} who {trait}.",
    "once upon a time, there was {a_hero} named {name}. {he} {trait}.",
    "once upon a time, {a_hero} lived {home}. {named}",
    "once upon a time, {loc_home} there lived {a_hero} named {name}.",
    "once there was {a_hero} called {name} who {trait}.",
    "once there was {a_hero} who {trait}. {named}",
    "there once was {a_hero} named {name}. {he} {trait}.",
    "long ago, {loc_home} there lived {a_hero}. {named} {he} {trait2}.",
    "{name} was {a_hero}. {he} {trait}.",
    "{name} was {a_hero} who {trait}.",
    "{name} the {noun} lived {home}. {he} {trait2}.",
    "in {place_name}, there lived {a_hero} named {name}. {he} {trait}.",
    "{loc_home} there was {a_hero}. {named} {he} {trait2}.",
    "this is the story of {name}, {a_hero} who {trait}.",
    "{a_hero} named {name} lived {home}.",
    "{name} loved {gerund}. {he} was {a_hero} and lived {home}.",
    "a long time ago, there was {a_hero} who {trait}. {named}",
]
DIRECT_OPENINGS = [
    "one {weather} {time}, {a_hero} named {name} was {gerund_act} near {place}.",
    "one day, {a_hero} named {name} went to {place}.",
    "it was a {weather} {time}. {name}, {a_hero}, was {gerund_act}.",
    "{name} and {F} went to {place}. {name} was {a_hero}, and {F} was {a_friend}.",
    "one {weather} {time}, {name} and {his} [sister|brother|mother|father] went to {place}.",
    "in the [morning|evening|afternoon], {name} went to {place}. {he} was {a_hero}.",
    "the {noun} ran to {place}. {his} name was {name}, and {he} {trait}.",
]
TRAITS = "[lived {home}|lived {home} with {his} [mother|father|family|grandmother]|{trait2}|{trait2}|{trait2}|{trait2}]"
TRAITS_ELSEWHERE = (
    "[loved {gerund}|loved {gerund}|"
    "loved {gerund} and {gerund2}|liked {gerund} [very much|more than anything]|wanted to see {place}|"
    "wanted to {skill}|was always [happy|hungry|busy|kind to everyone|ready to help|full of ideas]|"
    "had {a_toy}|had many friends|had no friends|dreamed of {place}|was afraid of {fear}|could {skill} very well|"
    "liked to [play|walk|sit|sleep] {loc}|went to {place} every day]"
)
NAMED = (
    "[{his} name was {name}.|everyone called {him} {name}.|the {noun} was called {name}.|"
    "{his} friends called {him} {name}.]"
)
SMALL = ("little", "small", "young", "tiny")
CLOSINGS = ["the end.", "and they lived happily ever after.", "it was a very good day.", "and so the day ended well."]
ASIDES = [
    "the birds were singing in the [trees|garden|bushes].",
    "a {colour} butterfly flew by.",
    "the wind was [soft|cold|warm] and smelled of [flowers|rain|the sea|fresh bread].",
    "far away, a bell rang [two|three|four|five] times.",
    "{M} [looked up at the sky|took a deep breath|thought for a moment|scratched {his} head].",
    "there was a smell of [apples|bread|flowers|rain] in the air.",
    "{he} was a little [tired|hungry|cold|worried], but {he} did not mind.",
    "a [small|big|{colour}] {noun2} [watched|looked at] {him} from [far away|behind a tree|the roof].",
    "nobody knew what would happen next.",
    "it was very quiet.",
    "{M} began to [hum|sing|whistle] a [little|quiet|happy] song.",
    "in {his} pocket, {he} had only {gift}.",
    '{he} remembered what {his} {parent} always said: "never give up."',
    "the clouds looked like [ships|sheep|mountains|a {noun2}].",
    "{M} had never [felt|seen anything] like this before.",
    "{he} drank some [water|milk|tea] and ate {food2}.",
]
NAMELESS_OPENINGS = [opening for opening in OPENINGS if "name" not in opening or "{named}" in opening]


@dataclass(frozen=True, slots=True)
class Story:
    """A finished story, its hero, plot and topic."""

    text: str
    kind: Kind
    name: str
    plot: Plot
    topic: str
    friend: str


def held_out(kind: Kind, plot: Plot) -> bool:
    """Return whether training never sees this combination of hero and plot (about one in ten)."""
    return zlib.crc32(f"{kind.noun}/{plot.name}".encode()) % 10 == 0


def pronouns(he: str, prefix: str = "") -> dict[str, Slot]:
    """Return the pronoun slots of a character."""
    words = ("he", "him", "his", "himself") if he == "he" else ("she", "her", "her", "herself")
    return {prefix + slot: word for slot, word in zip(("he", "him", "his", "himself"), words, strict=True)}


def pick_name(rng: random.Random, kind: Kind, he: str) -> str:
    """Return a name that fits the kind. Animals sometimes have the names of people."""
    people, pets = (lex.BOY_NAMES, lex.BOY_PETS) if he == "he" else (lex.GIRL_NAMES, lex.GIRL_PETS)
    return rng.choice(people if kind.person or rng.random() < 0.3 else pets)


def story_slots(rng: random.Random, kind: Kind, nameless: bool) -> dict[str, Slot]:
    """Return all slots of one story. They are chosen once, so that a thing stays the same in the whole story."""
    he = kind.gender or rng.choice(["he", "she"])
    name = pick_name(rng, kind, he)
    friend_kind = rng.choice([other for other in lex.HEROES if other.noun != kind.noun])
    friend_he = friend_kind.gender or rng.choice(["he", "she"])
    friend = next(n for n in iter(lambda: pick_name(rng, friend_kind, friend_he), "") if n != name)
    adjective, friend_adjective = rng.sample(lex.ADJECTIVES.split("|"), 2)
    if rng.random() < 0.3:
        adjective = "little"
    second = rng.choice([a for a in lex.ADJECTIVES.split("|") if a not in (*SMALL, adjective)])
    place, place2 = rng.sample(lex.PLACES, 2)
    toy, colour = rng.choice(lex.TOYS), rng.choice(lex.COLOURS.split("|"))
    parent = rng.choice(["mother", "father", "grandmother", "grandfather"])
    hiding = [expand(rng, f"[{lex.HIDING_PLACES}]", {}) for _ in range(3)]
    gerund, gerund2 = rng.sample(lex.GERUNDS, 2)
    home = expand(rng, f"[{lex.HOMES}]", {}).strip()
    article = f"a {adjective} {kind.noun}"
    if rng.random() < 0.2 and adjective in SMALL:
        article = f"a {second} {adjective} {kind.noun}"
    slots: dict[str, Slot] = {
        **pronouns(he),
        **{"f" + key: value for key, value in pronouns(friend_he).items()},
        "phe": "she" if parent in ("mother", "grandmother") else "he",
        "phim": "her" if parent in ("mother", "grandmother") else "him",
        "name": f"the {kind.noun}" if nameless else name,
        "noun": kind.noun,
        "noun2": rng.choice([other.noun for other in lex.ANIMALS if other.noun != kind.noun]),
        "a_hero": article,
        "adjective": adjective,
        "F": friend,
        "friend_noun": friend_kind.noun,
        "F2": "the neighbours",
        "friend": f"a {friend_adjective} {friend_kind.noun} [named|called] {friend}",
        "a_friend": f"a {friend_adjective} {friend_kind.noun}",
        "M": lambda: f"the {kind.noun}" if nameless or rng.random() < 0.2 else name,
        "named": NAMED,
        "trait": TRAITS,
        "trait2": TRAITS_ELSEWHERE,
        "home": home,
        "loc_home": f"{home},",
        "place": place,
        "place2": place2,
        "place_name": rng.choice(["the village", "the town", "the forest", "the valley"]),
        "loc": rng.choice(["in the garden", "by the river", "under the old tree", "near the lake", "in the park"]),
        "toy": toy,
        "a_toy": f"a {colour} {toy}",
        "colour": colour,
        "food": rng.choice(lex.FOODS),
        "food2": rng.choice(lex.FOODS),
        "fear": rng.choice(lex.FEARS),
        "skill": rng.choice(lex.SKILLS),
        "gerund": gerund,
        "gerund2": gerund2,
        "gerund_act": rng.choice(["playing", "walking", "looking for berries", "sitting in the sun", "singing a song"]),
        "baby": rng.choice(lex.BABIES),
        "gift": rng.choice(lex.GIFTS),
        "crop": rng.choice(lex.CROPS),
        "thing": rng.choice(["kite", "boat", "tree house", "cart", "bird house", "sandcastle", "raft", "snowman"]),
        "parent": parent,
        "hiding": hiding[0],
        "hiding2": hiding[1],
        "hiding3": hiding[2],
        "time": lambda: rng.choice(lex.TIMES.split("|")),
        "weather": lambda: rng.choice(lex.WEATHER_TIME.split("|")),
    }
    return slots


def make_story(rng: random.Random, *, evaluation: bool = False, opening: str | None = None) -> Story:
    """Return a random story of a training combination, or of a held-out one if `evaluation` is true."""
    while True:
        kind, plot = rng.choice(lex.HEROES), rng.choice(PLOTS)
        if held_out(kind, plot) == evaluation:
            break
    nameless = opening is None and rng.random() < 0.15
    slots = story_slots(rng, kind, nameless)
    if opening is None:
        if nameless:
            opening = rng.choice(NAMELESS_OPENINGS).replace("{named}", "")
        else:
            opening = rng.choice(OPENINGS if rng.random() < 0.8 else DIRECT_OPENINGS)
    sentences = [sentence(rng, opening, slots), *beats(rng, plot.beats, slots, keep=rng.choice([0.2, 0.8]))]
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        sentences.insert(rng.randint(1, len(sentences) - 2), sentence(rng, rng.choice(ASIDES), slots))
    if rng.random() < 0.25:
        sentences.append(sentence(rng, rng.choice(CLOSINGS)))
    topic = sentence(rng, "^" + plot.topic, slots)
    text = "\n\n".join(paragraphs(rng, sentences)) if rng.random() < 0.15 else " ".join(sentences)
    return Story(text, kind, str(slots["name"]), plot, topic[0].lower() + topic[1:], str(slots["friend_noun"]))


def paragraphs(rng: random.Random, sentences: list[str]) -> list[str]:
    """Cut a story into three paragraphs: beginning, middle, end."""
    first, last = rng.choice([1, 2, 3]), rng.choice([2, 3])
    return [" ".join(sentences[:first]), " ".join(sentences[first:-last]), " ".join(sentences[-last:])]
