"""Words of the demo world: who lives in it, where, and with what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of character. `gender` is "he", "she", or "" if both occur."""

    noun: str
    gender: str = ""
    person: bool = False


BOY_NAMES = (
    "Tom Ben Max Sam Leo Finn Jack Oliver Henry Theo Noah Adam Paul Peter Hugo Felix Omar Ravi Kenji Emil "
    "Oscar Toby Jonas Luca Milo"
).split()
GIRL_NAMES = (
    "Lily Mia Anna Emma Lucy Rosa Sara Nina Ella Zoe Ruby Clara Maya Ivy Alice Julia Leila Yuki Nora Hana "
    "Olga Freya Daisy Amy Molly"
).split()
BOY_PETS = "Pip Bruno Rusty Toto Hops Biscuit Rex Barny Tiko Otto Fuzzy Moss Pepper Bobo Sunny Dusty".split()
GIRL_PETS = "Bella Luna Penny Coco Willow Honey Poppy Mimi Pearl Dotty Nutmeg Tilly Hazel Kiki Snowy Berry".split()

ANIMALS = [
    Kind(noun, "she" if noun in ("cow", "hen") else "")
    for noun in (
        "fox rabbit bear mouse dog cat bird duck frog turtle hedgehog squirrel owl lion elephant monkey pig sheep goat "
        "horse cow deer wolf penguin kitten puppy hen bee snail tiger zebra beaver badger donkey dragon mole otter"
    ).split()
]
PEOPLE = [
    Kind("boy", "he", True),
    Kind("girl", "she", True),
    Kind("prince", "he", True),
    Kind("princess", "she", True),
    Kind("farmer", "", True),
    Kind("baker", "", True),
    Kind("sailor", "", True),
    Kind("king", "he", True),
    Kind("queen", "she", True),
    Kind("knight", "", True),
    Kind("wizard", "he", True),
    Kind("painter", "", True),
    Kind("robot"),
    Kind("robot"),
]
HEROES = ANIMALS + PEOPLE + [Kind("boy", "he", True), Kind("girl", "she", True)] * 3

ADJECTIVES = (
    "little|small|young|brave|kind|shy|clever|happy|lazy|curious|gentle|funny|quiet|cheerful|tiny|friendly|"
    "playful|polite|silly|lonely|busy|proud"
)
BABIES = "a kitten|a puppy|a duckling|a baby bird|a lamb|a baby rabbit|a baby owl|a little mouse".split("|")
COLOURS = "red|blue|green|yellow|white|orange|purple|pink|brown|golden|silver"
TOYS = "ball kite drum doll boat hat book bell scarf whistle lantern bucket basket ring key coin button marble".split()
FOODS = (
    "an apple|a cake|a pie|a pear|a loaf of bread|a bowl of soup|a jar of honey|a bag of nuts|a banana|a cookie|"
    "a piece of cheese|a carrot|a bunch of grapes|a sandwich|an orange|a bowl of berries"
).split("|")
PLACES = (
    "the forest|the park|the garden|the beach|the river|the lake|the hill|the market|the farm|the village|the old "
    "mill|the meadow|the mountain|the school|the harbour|the castle|the bridge|the valley|the town|the barn"
).split("|")
HOMES = (
    "in a [small|little|cosy|red|quiet] [house|hut|cottage] [near the forest|by the river|on a hill|by the sea|"
    "at the end of the road|in the valley]|at the edge of a [big|dark|green] [wood|forest]|on a [small|big|quiet] farm|"
    "under an old [oak|apple] tree|in a [small|busy|quiet] [town|village] [by the sea|near the mountains|]|"
    "near a [wide|clear|blue] [river|lake]|in a [cosy|warm] [cave|den] [in the mountains|near the river|]|"
    "beside a [little|clear] stream"
)
HIDING_PLACES = (
    "under the [bed|table|big tree|bridge|old bench]|behind the [door|house|barn|rock|curtain|stove]|"
    "in the [tall grass|garden|kitchen|bushes|hay|box by the door]|"
    "on top of the [shelf|wall|roof]|near the [pond|gate|well|fence]|inside [an old boot|a basket|a hollow log]"
)
FEARS = "the dark|the deep water|thunder|high places|the big waves|loud noises|the old bridge|strangers".split("|")
SKILLS = "swim|climb trees|ride a bicycle|sing|dance|whistle|read|paint|skate|bake bread|play the drum|juggle".split(
    "|"
)
GERUNDS = (
    "swimming|climbing trees|singing|dancing|painting|reading books|picking flowers|looking at the stars|"
    "collecting shells|baking bread|telling stories|playing in the rain|chasing butterflies|building things"
).split("|")
WEATHER_TIME = "sunny|warm|cold|bright|windy|rainy|quiet|cloudy|fine|snowy"
TIMES = "morning|afternoon|day|evening"
GIFTS = "a shiny stone|a blue feather|a small bell|a bunch of flowers|a warm hug|a jar of honey|a red scarf".split("|")
CROPS = "a sunflower|a pumpkin|an apple tree|a rose|a carrot|a tomato plant|a cherry tree|a tulip".split("|")
