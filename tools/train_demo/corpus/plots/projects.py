"""Plots in which something is learned, made, grown, or found. `plot.py` explains the slots."""

from __future__ import annotations

from corpus.plots.plot import Plot

SKILL = Plot(
    "skill",
    "wanted to [learn to|] {skill}",
    [
        [
            "more than anything, {M} wanted to learn to {skill}.",
            "{M} had one big wish. {he} wanted to {skill}.",
            'one {time}, {M} said, "I want to learn to {skill}!"',
        ],
        [
            "{he} tried and tried, but it did not work.",
            "the first time {he} tried, {he} fell down, and everyone laughed.",
            "it was much harder than {he} thought.",
        ],
        [
            '"I cannot do it," said {M}. "^it is too hard."',
            "{M} was [angry|sad] and wanted to give up.",
            '"maybe I am too small," {he} thought.',
        ],
        [
            '{friend} was watching. "do not give up," said {F}. "^I can show you how to {skill}."',
            "then {he} met {friend}, who could {skill} very well.",
        ],
        [
            "every {time}, they [practised|worked] together {loc}.",
            "{F} showed {him} how to do it, slowly and step by step.",
        ],
        [
            "on Monday, it went badly. on Tuesday, it went a little better.",
            "day after day, {M} became a little better.",
            "sometimes {M} was tired, but {he} did not stop.",
        ],
        [
            "then, one {weather} {time}, it worked! {M} could {skill}!",
            "after [two weeks|a month|many days], {M} could {skill} [all by {himself}|without any help].",
        ],
        [
            '"look at me!" {M} shouted.',
            '"I knew you could do it," said {F}.',
            "everyone clapped, and {F} clapped the loudest.",
        ],
        [
            "{M} learned that practice helps more than wishing.",
            "now {M} teaches other children to {skill}.",
            '"thank you for your help," {M} said to {F}. they were both very proud.',
        ],
    ],
)

BIRTHDAY = Plot(
    "birthday",
    "thought that everyone forgot {his} birthday",
    [
        [
            "it was {his} birthday, and {M} woke up very early.",
            "one {time}, {M} woke up and remembered that it was {his} birthday.",
        ],
        [
            "{he} ran outside, but nobody said anything about it.",
            "{he} waited for {his} friends, but nobody came.",
        ],
        [
            '{he} went to see {F}, {a_friend}. "^I am sorry, I am busy today," said {F}.',
            "{he} met {friend}. {F} was carrying a big box and walked away quickly.",
        ],
        ["?", "{he} went to {place}, but it was empty.", "{he} asked {his} {parent}, who was busy, too."],
        [
            '"everyone forgot my birthday," {he} thought.',
            "{M} felt [sad|lonely|very small]. {he} walked home slowly.",
        ],
        [
            'but when {he} opened the door, all {his} friends were there. "surprise!" they shouted.',
            'when {M} came home, it was dark inside. then the lights went on. "happy birthday!" everyone cried.',
        ],
        [
            "there was a big cake with {colour} candles.",
            "there were {colour} balloons, music, and {food}.",
        ],
        [
            '{F} gave {him} {a_toy}. "^I was busy because I made this for you," {fhe} said.',
            "in the big box was {a_toy}. it was a gift from {F}.",
        ],
        ["?", "they danced, sang, and played games until the stars came out.", "they all sang a song for {him}."],
        [
            '"this is the best birthday of my life," said {M}.',
            "{M} was so happy that {he} [cried a little|could not stop smiling].",
        ],
    ],
)

BUILD = Plot(
    "build",
    "built a {thing}",
    [
        [
            "one {time}, {M} had an idea. {he} wanted to build a {thing}.",
            '"I will build a {thing}!" said {M} one {time}.',
        ],
        [
            "{he} found some [wood|paper|sticks and string] and began to work.",
            "{he} worked all morning with a hammer and some wood.",
        ],
        ["when it was done, {he} painted it {colour}.", "soon the {thing} was ready. it was {colour} and beautiful."],
        [
            "but then a strong wind came, and the {thing} broke.",
            "but {he} made a mistake, and the {thing} fell apart.",
            "the next day, somebody stepped on it by accident, and it broke.",
        ],
        ['"oh no!" cried {M}. "^all my work is gone!"', "{M} looked at the pieces and wanted to cry."],
        [
            '{friend} saw it and said, "we can fix it together."',
            '{F}, {a_friend}, came to help. "^let us try again," {fhe} said.',
        ],
        [
            "{F} held the pieces while {M} tied them together.",
            "this time, they worked slowly and made it stronger.",
        ],
        ["?", "they worked until it was dark.", "it took them two days."],
        [
            "in the end, the new {thing} was even better than the old one.",
            "at last it was finished, and this time it did not break.",
        ],
        [
            "they took it to {place} and everyone [clapped|came to see it].",
            '"we are a good team," said {F}.',
            "{M} was proud, and {he} thanked {F} for the help.",
        ],
    ],
)

GARDEN = Plot(
    "garden",
    "grew {crop}",
    [
        [
            "one {weather} {time}, {M} found a tiny seed near {place}.",
            "{F}, {a_friend}, gave {M} a tiny seed one {time}.",
        ],
        ["{he} put it in the ground and gave it water.", '"I will plant you in my garden," {he} said.'],
        [
            "every morning, {he} looked at the ground, but nothing happened.",
            "one day passed, then two, then three. there was nothing to see.",
        ],
        [
            '"why does it not grow?" asked {M}. "^you have to wait," said {F}.',
            "{M} was sad, but {he} did not give up. {he} gave it water every day.",
        ],
        [
            "then, one {time}, there was a small green leaf.",
            "after a warm rain, something green came out of the ground.",
        ],
        ["{M} jumped for joy.", "{M} sang to the little plant every evening.", '"it is growing!" cried {M}.'],
        ["week after week, it grew taller and taller.", "the sun was warm, and the plant grew fast."],
        ["by the end of the summer, it was {crop}.", "at last, {he} could see what it was. it was {crop}!"],
        ["everyone in {place_name} came to see it.", "it was the most beautiful one in {place_name}."],
        [
            "{M} learned that good things need time.",
            "{M} gave the new seeds to all {his} friends.",
            '"thank you for being patient," the wind seemed to say.',
        ],
    ],
)

TREASURE = Plot(
    "treasure",
    "found a [map|treasure]",
    [
        [
            "one {time}, {M} found an old map {hiding}.",
            "one {weather} {time}, {M} opened an old book, and a map fell out.",
        ],
        ["it showed the way to a treasure.", "there was a {colour} cross on it, near {place}."],
        [
            '{he} showed it to {F}, {a_friend}. "let us find the treasure!" said {F}.',
            '"I will find it," said {M}, and {he} asked {friend} to come along.',
        ],
        ["they packed {food} and a lantern and left.", "they started early the next morning."],
        [
            "first they walked to {place}. then they went past {place2}.",
            "they crossed a river and climbed a steep hill.",
        ],
        ["?", "at night, they slept under the stars.", "it began to rain, but they went on."],
        [
            "at last, they came to the place with the cross. they began to dig.",
            "behind a big rock, they found a small cave.",
        ],
        ["there was an old box! {M} opened it with shaking hands.", "deep in the ground, there was a wooden box."],
        [
            'inside was {a_toy} and a letter. the letter said, "the best treasure is a good friend."',
            "it was full of [gold coins|old books|shiny stones]. they could not believe their eyes.",
            "inside, there was only {a_toy}. {M} laughed. it was a good adventure all the same.",
        ],
        [
            "they shared everything and went home happy.",
            "they told the story to everyone in {place_name}.",
            '"this was the best day ever," said {F}.',
        ],
    ],
)

BAKE = Plot(
    "bake",
    "baked a cake",
    [
        [
            "one {weather} {time}, {M} wanted to bake a cake for {F}, {a_friend}.",
            '"today I will bake a cake," said {M} one {time}.',
        ],
        [
            "{he} took flour, sugar, and milk, but there were no eggs.",
            "{he} put everything on the table. but there was no sugar!",
        ],
        ["so {he} went to the market to buy some.", "{he} asked {his} {parent}, but {phe} did not have any."],
        ["at the market, {he} met {F}. {F} was {a_friend}.", "on the way, {he} met {F}, {a_friend}."],
        ['"I have some at home," said {F}. "^come with me."', '"what do you need?" asked {F}. "^I can help you."'],
        ["together, they mixed everything in a big bowl.", "{F} stirred, and {M} read the recipe."],
        ["?", "there was flour on the floor, on the table, and on {his} nose.", "they sang while they worked."],
        ["then they put the cake in the oven and waited.", "soon the whole house smelled of cake."],
        ["the first piece was too hot, but the second one was perfect.", "the cake was golden and sweet."],
        [
            "they ate it together with {F2} and all the others.",
            '"this is the best cake in the world," said {F}.',
            "{M} gave a piece to everyone {loc}.",
        ],
    ],
)
