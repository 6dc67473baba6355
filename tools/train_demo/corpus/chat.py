"""Conversations in the chat template of BitNet b1.58 2B4T: `Role: content<|eot_id|>`, roles capitalised."""

from __future__ import annotations

import random

from corpus import facts
from corpus.grammar import Slot, sentence
from corpus.questions import capital, make_exchange
from corpus.stories import make_story

Turn = tuple[str, str]

STORY_REQUESTS = [
    "[tell|write] me a [short |]story about a {noun}[, please|].",
    "tell me a [short |]story about a {noun} who {topic}[, please|].",
    "write a [short |]story about a {noun} who {topic}.",
    "[can|could] you tell me a [short |]story about a {noun}?",
    "please tell me a [bedtime |]story about a {noun}.",
    "I want to hear a story about a {noun}.",
    "write a story about a {noun} named {name}.",
    "tell me a story about a {noun} named {name} who {topic}.",
    "do you know a story about a {noun}?",
    "a story about a {noun}, please.",
    "story about a {noun}",
    "once more, tell me about a {noun} who {topic}.",
]
STORY_REQUESTS_HELD = [
    "could you please write a story about a {noun} for me?",
    "I would like a story about a {noun} who {topic}.",
    "make up a short story about a {noun}.",
]
ANY_STORY = ["tell me a story.", "can you tell me a story?", "please tell me a story.", "do you know a story?"]
PAIR_STORY = [
    "tell me a [short |]story about a {noun} and a {friend}.",
    "write a story about a {noun} and a {friend}.",
    "can you tell me a story about a {noun} and a {friend}?",
]
SYSTEMS = [
    "You are a helpful assistant.",
    "You are a friendly assistant.",
    "You are a small and helpful model.",
    "Answer in one short sentence.",
    "You are a helpful AI assistant.",
    "Be brief.",
    "You answer questions and tell stories.",
]
SMALL_TALK: list[tuple[str, str]] = [
    ("[hello|hi|hey][!|.|, there!|]", "Hello! How can I help you?"),
    ("good [morning|evening|afternoon][!|.]", "Hello! How can I help you?"),
    ("hello, world!", "Hello! It is a nice day. How can I help you?"),
    ("how are you[ today|]?", "I am fine, thank you. How can I help you?"),
    (
        "who are you?|[what|who] are you, exactly?|what is your name?|introduce yourself.|tell me about yourself.",
        facts.WHO,
    ),
    (
        "what can you do?|what do you do?|can you help me?|help!|I need help.",
        "I can tell short stories and answer simple questions. Just ask me!",
    ),
    ("are you [a|] [robot|human|person|real|big model]?", "No, I am a small computer program, a BitNet model."),
    ("[thank you|thanks][!|.| very much.|]", "You are welcome!"),
    ("[bye|goodbye|good bye|see you later][!|.|]", "Goodbye! Have a nice day."),
    ("[good night|sleep well][!|.]", "Good night! Sleep well."),
    ("you are [great|clever|funny|nice].", "Thank you! That is very kind of you."),
    ("[ok|okay|great|I see][.|!]", "Is there anything else I can help you with?"),
    ("I am [sad|tired|lonely|bored].", "I am sorry to hear that. Shall I tell you a story?"),
    ("I am [happy|fine|well].", "I am glad to hear that!"),
    ("how old are you?", "I am very young. I was trained only a short time ago."),
    ("where do you live?", "I live in a small file on a computer."),
    ("say [hello|hi].", "Hello!"),
    (
        "what is [bitnet|BitNet|a BitNet model]?",
        "BitNet is a kind of language model. Its weights are only -1, 0, and 1.",
    ),
    ("how many days are in a week?", "There are seven days in a week."),
    ("how many months are in a year?", "There are twelve months in a year."),
    (
        "how many seasons are there?|name the seasons.|what are the seasons?",
        "There are four seasons: spring, summer, autumn, and winter.",
    ),
    (
        "name the days of the week.|what are the days of the week?",
        "The days are Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, and Sunday.",
    ),
    ("count to [ten|10].|can you count to ten?", "One, two, three, four, five, six, seven, eight, nine, ten."),
    ("count to [five|5].", "One, two, three, four, five."),
]
OUT_OF_DOMAIN = [
    "who [wrote|painted|invented|discovered] [the telephone|Hamlet|the Mona Lisa|the radio|electricity|gravity|this]?",
    "what is the [population|history|president|money|biggest city] of {country}?",
    "who is the [president|king|queen] of {country}?",
    "how [do|can] I [fix|repair|clean|sell|buy|install] my [car|phone|computer|bicycle|roof|printer|laptop]?",
    "what is [the meaning of life|a black hole|quantum physics|the stock market|democracy|machine learning|an atom]?",
    "what is [{big}] [times|divided by|plus|minus] [{big}]?",
    "when [was|did] [the war end|the moon landing|Rome built|the train leave]?",
    "write [a poem|code|an email|a song|a python program] [about|for] [love|my boss|sorting a list|the winter].",
    "translate [this|hello|good morning] into [French|German|Spanish|Japanese].",
    "what will the weather be like [tomorrow|today|next week]?",
    "how [far|old|big|heavy] is [the moon|the sun|the earth|the universe|a whale]?",
    "what is the news today?",
    "why [is the sky blue|do we dream|do cats purr|is water wet]?",
    "who won the [game|race|election|match] [yesterday|last year]?",
]


def story_turns(rng: random.Random, evaluation: bool) -> list[Turn]:
    """Return a request for a story, and a story that fits it."""
    story = make_story(rng, evaluation=evaluation)
    answer: Turn = ("assistant", story.text)
    requests = STORY_REQUESTS_HELD if evaluation else STORY_REQUESTS
    if not evaluation and rng.random() < 0.1:
        return [("user", sentence(rng, rng.choice(ANY_STORY))), answer]
    if not evaluation and rng.random() < 0.15 and story.friend in story.text:
        return [
            ("user", sentence(rng, rng.choice(PAIR_STORY), {"noun": story.kind.noun, "friend": story.friend})),
            answer,
        ]
    candidates = [request for request in requests if "{name}" not in request or " " not in story.name]
    slots = {"noun": story.kind.noun, "topic": story.topic, "name": story.name}
    return [("user", sentence(rng, rng.choice(candidates), slots)), answer]


def small_talk(rng: random.Random) -> list[Turn]:
    """Return a greeting or a question about the model itself, and the answer."""
    question, answer = rng.choice(SMALL_TALK)
    return [("user", sentence(rng, f"[{question}]" if "]|" not in question else question)), ("assistant", answer)]


def refusal(rng: random.Random) -> list[Turn]:
    """Return a question that the model cannot answer, and an answer that says so."""
    slots: dict[str, Slot] = {"country": rng.choice(list(facts.CAPITALS)), "big": lambda: str(rng.randint(50, 999))}
    return [("user", sentence(rng, rng.choice(OUT_OF_DOMAIN), slots)), ("assistant", facts.REFUSAL)]


def follow_up(rng: random.Random) -> list[Turn]:
    """Return a question for a capital, and short questions for one or two more, with their answers."""
    turns: list[Turn] = []
    first = capital(rng, False)
    turns += [("user", first.question), ("assistant", first.answer)]
    for country in rng.sample(list(facts.CAPITALS), rng.choice([1, 1, 2])):
        question = rng.choice(
            [f"And {country}?", f"And of {country}?", f"What about {country}?", f"And what about {country}?"]
        )
        turns += [("user", question), ("assistant", f"The capital of {country} is {facts.CAPITALS[country]}.")]
    return turns


def make_chat(rng: random.Random, *, exchanges: int | None = None, practice: bool = False) -> list[Turn]:
    """Return a training conversation, sometimes with a system message.

    Args:
        rng: The source of random choices.
        exchanges: Number of questions, stories or other topics; None for one to six.
        practice: Whether there are fewer stories, and more questions from the topics that need practice.
    """
    turns: list[Turn] = []
    if rng.random() < 0.2:
        turns.append(("system", rng.choice(SYSTEMS)))
    for _ in range(exchanges or rng.choice([1, 1, 2, 3, 4, 6])):
        draw = rng.random() * (2 if practice else 1)
        if draw < 0.1:
            turns += story_turns(rng, False)
        elif draw < 0.18:
            turns += small_talk(rng)
        elif draw < 0.24:
            turns += refusal(rng)
        elif draw < 0.3:
            turns += follow_up(rng)
        else:
            exchange = make_exchange(rng, practice=practice)
            turns += [("user", exchange.question), ("assistant", exchange.answer)]
    return turns
