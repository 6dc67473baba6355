"""Questions and answers. The phrasings in the lists named `..._HELD` are held out: training never sees them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from corpus import facts
from corpus.grammar import polish, sentence


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question, and the only answer that counts as right."""

    topic: str
    question: str
    answer: str


Maker = Callable[[random.Random, bool], Exchange]


def phrase(rng: random.Random, train: list[str], held: list[str], evaluation: bool, **slots: str) -> str:
    """Return a random phrasing. One for training sometimes loses its first capital or its last mark."""
    text = sentence(rng, rng.choice(held if evaluation else train), slots)
    if not evaluation and rng.random() < 0.12:
        text = text[0].lower() + text[1:] if rng.random() < 0.6 else text.rstrip("?.")
    return text


CAPITAL = [
    "what is the capital of {x}?",
    "what is the capital city of {x}?",
    "what's the capital of {x}?",
    "which city is the capital of {x}?",
    "[can|could] you tell me the capital of {x}[, please|]?",
    "tell me the capital of {x}[, please|].",
    "please tell me the capital of {x}.",
    "name the capital of {x}.",
    "the capital of {x} is which city?",
    "do you know the capital of {x}?",
    "do you know what the capital of {x} is?",
    "{x}: what is the capital?",
    "what is {x}'s capital?",
    "I forgot the capital of {x}. what is it?",
    "[hi|hello]! what is the capital of {x}?",
    "which city is {x}'s capital?",
    "I want to know the capital of {x}.",
    "capital of {x}?",
    "what do we call the capital of {x}?",
    "[my friend|my teacher] asked me for the capital of {x}. can you help?",
    "what is the name of the capital of {x}?",
]
CAPITAL_HELD = [
    "I would like to know which city is the capital of {x}.",
    "give me the name of the capital city of {x}.",
    "hello there! can you name the capital of {x} for me?",
    "{x} has which capital?",
    "please, what is the capital city of {x} called?",
]
SUM = [
    "what is {a} [+|plus] {b}?",
    "what's {a} [+|plus] {b}?",
    "how much is {a} [+|plus] {b}?",
    "{a} [+|plus] {b}?",
    "[can|could] you add {a} and {b}?",
    "add {a} and {b}[, please|].",
    "what is the sum of {a} and {b}?",
    "please add {a} and {b}.",
    "calculate {a} [+|plus] {b}.",
    "what do you get when you add {a} and {b}?",
    "I have {a} apples and get {b} more. how many apples do I have?",
    "there are {a} [birds|cats|books] and then {b} more. how many are there?",
    "tell me, what is {a} [+|plus] {b}?",
    "{a} + {b} = ?",
    "solve {a} + {b}.",
    "please tell me what {a} [+|plus] {b} is.",
    "can you calculate {a} [+|plus] {b}?",
    "if you add {a} and {b}, what is the result?",
    "how much are {a} and {b} together?",
    "what do {a} and {b} make?",
    "tell me the sum of {a} and {b}[, please|].",
    "I want to know what {a} [+|plus] {b} is.",
    "compute {a} [+|plus] {b}[ for me|].",
    "do you know what {a} [+|plus] {b} is?",
    "when I add {a} and {b}, what is it?",
]
SUM_HELD = [
    "please calculate {a} plus {b} for me.",
    "if I add {a} and {b}, what do I get?",
    "how much do {a} and {b} make together?",
    "could you tell me what {a} + {b} is?",
]
DIFFERENCE = [
    "what is {a} [-|minus] {b}?",
    "what's {a} [-|minus] {b}?",
    "how much is {a} [-|minus] {b}?",
    "{a} [-|minus] {b}?",
    "subtract {b} from {a}[, please|].",
    "calculate {a} [-|minus] {b}.",
    "what is left when you take {b} from {a}?",
    "I have {a} apples and eat {b}. how many apples are left?",
    "[can|could] you take {b} away from {a}?",
    "tell me, what is {a} [-|minus] {b}?",
    "{a} - {b} = ?",
    "solve {a} - {b}.",
    "please tell me what {a} [-|minus] {b} is.",
    "can you calculate {a} [-|minus] {b}?",
    "if you take {b} from {a}, how much is it?",
    "do you know what {a} [-|minus] {b} is?",
    "I want to know what {a} [-|minus] {b} is.",
    "compute {a} [-|minus] {b}[ for me|].",
    "what do I get when I subtract {b} from {a}?",
]
DIFFERENCE_HELD = [
    "please calculate {a} minus {b} for me.",
    "if I take {b} away from {a}, what is left?",
    "could you tell me what {a} - {b} is?",
]
OPPOSITE = [
    "what is the opposite of {x}?",
    "what's the opposite of {x}?",
    "tell me the opposite of {x}[, please|].",
    "give me the opposite of {x}.",
    "[can|could] you tell me the opposite of {x}?",
    "which word is the opposite of {x}?",
    "do you know the opposite of {x}?",
    "opposite of {x}?",
    'what is the opposite of "{x}"?',
    "say the opposite of {x}[, please|].",
    "I want to know the opposite of {x}.",
    "what is {x}'s opposite?",
    "the opposite of {x} is which word?",
]
OPPOSITE_HELD = [
    "please name the opposite of {x}.",
    "which word means the opposite of {x}?",
    "{x} is the opposite of what?",
]
SOUND = [
    "what sound does a {x} make?",
    "what does a {x} say?",
    "which sound does a {x} make?",
    "how does a {x} sound?",
    "tell me what a {x} says.",
    "what noise does a {x} make?",
    "do you know what a {x} says?",
]
SOUND_HELD = ["can you tell me the sound of a {x}?", "please tell me what sound a {x} makes."]
COLOUR = [
    "what colour is {x}?",
    "what is the colour of {x}?",
    "which colour is {x}?",
    "tell me the colour of {x}.",
    "what color is {x}?",
    "do you know the colour of {x}?",
    "[can|could] you tell me the colour of {x}?",
]
COLOUR_HELD = ["which colour does {x} have?", "please tell me what colour {x} is."]
AFTER = [
    "[what|which] {unit} comes after {x}?",
    "which {unit} is after {x}?",
    "what comes after {x}?",
    "what is the {unit} after {x}?",
    "tell me the {unit} after {x}.",
    "which {unit} follows {x}?",
]
AFTER_HELD = ["can you tell me which {unit} comes after {x}?", "please name the {unit} after {x}."]
BEFORE = [
    "[what|which] {unit} comes before {x}?",
    "which {unit} is before {x}?",
    "what comes before {x}?",
    "what is the {unit} before {x}?",
    "tell me the {unit} before {x}.",
]
BEFORE_HELD = ["can you tell me which {unit} comes before {x}?", "please name the {unit} before {x}."]
ABOUT = [
    "what is a {x}?",
    "tell me about the {x}.",
    "tell me something about a {x}.",
    "what do you know about the {x}?",
    "describe a {x}.",
    "can you describe a {x}?",
]
ABOUT_HELD = ["can you tell me what a {x} is?", "please describe a {x} for me."]
LEGS = ["how many legs does {x} have?", "tell me how many legs {x} has.", "{x} has how many legs?"]
LEGS_HELD = ["do you know how many legs {x} has?"]


def capital(rng: random.Random, evaluation: bool) -> Exchange:
    """Ask for the capital of a country."""
    country, city = rng.choice(list(facts.CAPITALS.items()))
    question = phrase(rng, CAPITAL, CAPITAL_HELD, evaluation, x=country)
    return Exchange("capital", question, f"The capital of {country} is {city}.")


def arithmetic(rng: random.Random, evaluation: bool) -> Exchange:
    """Ask for a sum or difference of numbers from 0 to 20, in digits or words. The answer has the same form."""
    words = rng.random() < 0.2
    show = (lambda n: facts.NUMBER_WORDS[n]) if words else str
    highest = 10 if not evaluation and rng.random() < 0.4 else 20
    if rng.random() < 0.55:
        a = rng.randint(0, highest)
        b = rng.randint(0, min(highest, 20 - a) if words else highest)
        question = phrase(rng, SUM, SUM_HELD, evaluation, a=show(a), b=show(b))
        equation = f"{show(a)} plus {show(b)} is {show(a + b)}." if words else f"{a} + {b} = {a + b}."
        return Exchange("sum", question, polish(equation))
    a = rng.randint(0, highest)
    b = rng.randint(0, a)
    question = phrase(rng, DIFFERENCE, DIFFERENCE_HELD, evaluation, a=show(a), b=show(b))
    equation = f"{show(a)} minus {show(b)} is {show(a - b)}." if words else f"{a} - {b} = {a - b}."
    return Exchange("difference", question, polish(equation))


def opposite(rng: random.Random, evaluation: bool) -> Exchange:
    """Ask for the opposite of a common word."""
    word, answer = rng.choice(list(facts.OPPOSITES.items()))
    question = phrase(rng, OPPOSITE, OPPOSITE_HELD, evaluation, x=word)
    return Exchange("opposite", question, f"The opposite of {word} is {answer}.")


def sound(rng: random.Random, evaluation: bool) -> Exchange:
    """Ask for the sound of an animal."""
    animal, noise = rng.choice(list(facts.SOUNDS.items()))
    question = phrase(rng, SOUND, SOUND_HELD, evaluation, x=animal)
    return Exchange("sound", question, polish(f"a {animal} says {noise}."))


def colour(rng: random.Random, evaluation: bool) -> Exchange:
    """Ask for the colour of a thing."""
    thing, name = rng.choice(list(facts.COLOURS_OF.items()))
    question = phrase(rng, COLOUR, COLOUR_HELD, evaluation, x=thing)
    return Exchange("colour", question, polish(f"{thing} is {name}."))


def calendar(rng: random.Random, evaluation: bool) -> Exchange:
    """Ask for the day, month or season before or after another."""
    unit, names = rng.choice([("day", facts.DAYS), ("month", facts.MONTHS), ("season", facts.SEASONS)])
    index = rng.randrange(len(names))
    if rng.random() < 0.5:
        question = phrase(rng, AFTER, AFTER_HELD, evaluation, x=names[index], unit=unit)
        answer = f"{names[(index + 1) % len(names)]} comes after {names[index]}."
    else:
        question = phrase(rng, BEFORE, BEFORE_HELD, evaluation, x=names[index], unit=unit)
        answer = f"{names[index - 1]} comes before {names[index]}."
    return Exchange("calendar", question, polish(answer))


def animal(rng: random.Random, evaluation: bool) -> Exchange:
    """Ask for a description of an animal, or for its number of legs."""
    if rng.random() < 0.3:
        thing, legs = rng.choice(list(facts.LEGS.items()))
        question = phrase(rng, LEGS, LEGS_HELD, evaluation, x=thing)
        return Exchange("animal", question, polish(f"{thing} has {facts.NUMBER_WORDS[legs] if legs else 'no'} legs."))
    name, text = rng.choice(list(facts.ANIMAL_FACTS.items()))
    question = phrase(rng, ABOUT, ABOUT_HELD, evaluation, x=name)
    return Exchange("animal", question, polish(f"a {name} is {text}."))


TOPICS: list[tuple[Maker, float]] = [
    (capital, 4.0),
    (arithmetic, 6.0),
    (opposite, 1.5),
    (sound, 0.8),
    (colour, 0.8),
    (calendar, 1.2),
    (animal, 1.2),
]
PRACTICE: list[tuple[Maker, float]] = [
    (capital, 2.0),
    (arithmetic, 14.0),
    (opposite, 2.0),
    (sound, 0.8),
    (colour, 1.2),
    (calendar, 0.8),
    (animal, 1.6),
]
"""Weights of the topics in practice. Topics with many facts or many wrong answers weigh more."""


def make_exchange(rng: random.Random, *, evaluation: bool = False, practice: bool = False) -> Exchange:
    """Return a random question of a random topic."""
    makers, weights = zip(*(PRACTICE if practice else TOPICS), strict=True)
    maker: Maker = rng.choices(makers, weights)[0]
    return maker(rng, evaluation)
