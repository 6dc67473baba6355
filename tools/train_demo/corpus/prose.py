"""Plain text that is neither a plot nor a chat: first-person pages, letters, facts, dialogues, scenes."""

from __future__ import annotations

import random

from corpus import facts
from corpus import lexicon as lex
from corpus.grammar import beats, polish, sentence
from corpus.stories import story_slots

HELLO = [
    "hello, world!",
    "hello, world!",
    "hello, world!",
    "hello!",
    "hello, everyone!",
    "good morning, world!",
    "hi there!",
]
SELF = [
    [
        "[my name is {name}|I am {name}], and I am {a_hero}.",
        "I am {a_hero}. my name is {name}.",
        "my name is {name}. I am {a_hero}.",
    ],
    ["I live {home}.", "I live {home} with my {parent}."],
    ["?", "every {time}, I [go to {place}|play near {place}|walk to {place}].", "I go to {place} every day."],
    ["I love {gerund}[ and {gerund2}|].", "I like {gerund} more than anything.", "my favourite thing is {a_toy}."],
    ["my best friend is {F}, {a_friend}.", "I have a friend named {F}. {F} is {a_friend}."],
    ["?", "{F} can {skill} very well.", "together we {act}.", "we meet near {place2} every {time}."],
    ["?", "today is a {weather} day.", "today the sun is shining, and I am happy.", "I am a little afraid of {fear}."],
    [
        "?",
        "today I want to learn to {skill}.",
        "tomorrow we will go to {place2}.",
        "I would like to see the whole world.",
    ],
    [
        "it is nice to meet you!",
        "I am happy to be here.",
        "what a beautiful day!",
        "I hope you have a nice day.",
        "will you be my friend?",
    ],
]
DIARY = [
    [
        "today was a {weather} day.",
        "dear diary, today was a [good|long|strange|wonderful] day.",
        "today I got up early.",
    ],
    ["in the morning, I went to {place} with my friend {F}.", "I went to {place} to look for my {toy}."],
    ["there we saw {baby}.", "on the way, we met a {noun2}.", "it began to rain, but we did not go home."],
    ["?", "{F} showed me how to {skill}.", "{F} gave me {a_toy}.", "we ate {food} together."],
    [
        "?",
        "then we walked to {place2}.",
        "we looked {hiding}, but there was nothing.",
        "I was a little afraid of {fear}.",
    ],
    [
        "in the evening, I was tired but happy.",
        "now I am in bed, and I can see the stars.",
        "I will never forget this day.",
    ],
]
LETTER = [
    ["dear {F},"],
    ["how are you? I am [fine|well|very happy] here.", "thank you for your letter.", "I hope that you are well."],
    ["yesterday I went to {place} with my {parent}.", "yesterday we found {baby} {hiding}."],
    ["?", "I learned to {skill}.", "we had {food} for dinner.", "I got {a_toy} for my birthday."],
    ["?", "do you still like {gerund}?", "do you remember our day at {place2}?"],
    ["please come and visit me soon.", "I miss you very much.", "please write to me soon."],
    ["your friend, {name}", "with love, {name}"],
]
SCENE = [
    [
        "it was a {weather} {time} [in {place_name}|near {place}].",
        "the sun [was shining on|came up over] {place}.",
        "in the [morning|evening|afternoon], it was very quiet near {place}.",
    ],
    [
        "?",
        "a [soft|warm|cold] wind was blowing through the trees.",
        "the sky was [blue|grey|clear].",
        "there were {colour} flowers everywhere.",
    ],
    ["{a_hero} was {gerund_act}.", "{a_hero} named {name} was {gerund_act}.", "the {noun} went to {place2}."],
    ["?", "the {noun} wanted to {skill}.", "the {noun} had {food}.", "the {noun} was looking for {a_toy}."],
    [
        '{friend} came along. "what are you doing?" asked {F}.',
        "next to the {noun} sat {friend}. they were good friends.",
    ],
    [
        '"I am waiting for the sun," said the {noun}.',
        '"I am looking for {food}," said the {noun}.',
        '"I am learning to {skill}," said the {noun}.',
    ],
    ['"may I wait with you?" asked {F}.', '"may I help you?" asked {F}.', "{F} laughed and sat down."],
    [
        "so they sat there together until the evening.",
        "then they walked home side by side.",
        "they talked about {place} and about the stars.",
    ],
]


STARTS = [
    "one {weather} {time},",
    "in the [morning|afternoon|evening],",
    "on [Monday|Tuesday|Friday|Sunday],",
    "",
    "",
    "one day,",
]
LINKS = [
    "then",
    "after that,",
    "later,",
    "suddenly,",
    "the next day,",
    "at night,",
    "soon",
    "",
    "",
    "",
    "",
    "at last,",
    "but then",
]
WHO = ["{name}", "the {noun}", "{a_hero}", "{a_hero} named {name}", "{name} the {noun}", "the {adjective} {noun}"]
DOES = (
    "[walked|ran|went|came] [slowly|quickly|quietly|] to {place}|walked [past|through|around] {place}|sat down {loc}|"
    "looked {hiding}[|, but found nothing]|ate {food}|found {a_toy} {hiding}|saw a {noun2} near {place}|"
    "sang a [quiet|happy|little] song|"
    "opened the [door|window|box|old book]|climbed over the [wall|fence]|wanted to {skill}|stopped and listened|"
    "looked at the [stars|moon|clouds|river|map]|carried {food} to {place2}|put the {toy} {hiding}|jumped for joy|"
    "slept [under a tree|in the sun|by the fire]|waited for the [rain|sun|morning]|"
    "ran [home|away] as fast as {he} could|"
    "told {F} about the {toy}|gave {F} {food}|asked {F} for {food}|talked with {F}|played with {F} {loc}|smiled at {F}|"
    "brought {food} to {F}|took the {toy} to {place}|fell into the [water|mud|hay]|laughed [loudly|with {F}]"
)
BECAUSE = (
    "|||| because {he} was [hungry|tired|happy|cold|late|curious|afraid]| when the sun came up|"
    " before it began to rain|"
    ", and {he} was very [happy|proud|tired]| while {F} was [sleeping|singing|working]|"
    " because it was a {weather} day| and then {does}| and {does}| after lunch"
)


def sentences(rng: random.Random) -> str:
    """Return four to eight loosely connected sentences, each a random choice of who, what, where and why."""
    slots = story_slots(rng, rng.choice(lex.HEROES), nameless=False)
    slots |= {"does": f"[{DOES}]", "because": f"[{BECAUSE}]"}
    lines = [sentence(rng, f"{rng.choice(STARTS)} {rng.choice(WHO)} {{does}}{{because}}.", slots)]
    for _ in range(rng.randint(3, 7)):
        who = rng.choice(["{he}", "{he}", "{M}", "{M}", "the {noun}"])
        lines.append(sentence(rng, f"{rng.choice(LINKS)} {who} {{does}}{{because}}.", slots))
    return " ".join(lines)


def page(rng: random.Random, groups: list[list[str]], joiner: str = " ") -> str:
    """Return one text of the given beats."""
    slots = story_slots(rng, rng.choice(lex.HEROES), nameless=False)
    slots["act"] = rng.choice(
        ["play games", "climb the hill", "sing songs", "look at the stars", "tell each other stories"]
    )
    return joiner.join(beats(rng, groups, slots, keep=rng.choice([0.3, 0.9])))


def first_person(rng: random.Random) -> str:
    """Return a text in which somebody introduces himself, often with "Hello, world!"."""
    start = sentence(rng, rng.choice(HELLO))
    if rng.random() < 0.15:
        return start + " " + page(rng, SCENE)
    if rng.random() < 0.15:
        return f'"{start}" said {rng.choice(lex.BOY_NAMES + lex.GIRL_NAMES + lex.BOY_PETS + lex.GIRL_PETS)}. ' + page(
            rng, SCENE
        )
    return start + " " + page(rng, SELF)


def fact_list(rng: random.Random) -> str:
    """Return a few facts as plain sentences, so that prompts such as "The capital of France is" work."""
    kind = rng.random()
    count = rng.choice([2, 3, 4, 6])
    if kind < 0.4:
        lines = [f"The capital of {x} is {y}." for x, y in rng.sample(list(facts.CAPITALS.items()), count)]
        if rng.random() < 0.3:
            lines = [f"{y} is the capital of {x}." for x, y in rng.sample(list(facts.CAPITALS.items()), count)]
    elif kind < 0.7:
        pairs = [(rng.randint(0, 20), rng.randint(0, 20)) for _ in range(count)]
        lines = [f"{a} + {b} = {a + b}" if rng.random() < 0.6 or a < b else f"{a} - {b} = {a - b}" for a, b in pairs]
        return "\n".join(lines)
    elif kind < 0.8:
        lines = [f"The opposite of {x} is {y}." for x, y in rng.sample(list(facts.OPPOSITES.items()), count)]
    elif kind < 0.9:
        lines = [polish(f"{x} is {y}.") for x, y in rng.sample(list(facts.COLOURS_OF.items()), count)]
    else:
        lines = [polish(f"a {x} is {y}.") for x, y in rng.sample(list(facts.ANIMAL_FACTS.items()), 2)]
    return rng.choice([" ", "\n"]).join(lines)


def make_prose(rng: random.Random) -> str:
    """Return a random plain text."""
    draw = rng.random()
    if draw < 0.25:
        return first_person(rng)
    if draw < 0.4:
        return sentences(rng)
    if draw < 0.5:
        return page(rng, DIARY)
    if draw < 0.6:
        return page(rng, LETTER, "\n" if rng.random() < 0.5 else " ")
    if draw < 0.8:
        return page(rng, SCENE)
    return fact_list(rng)
