"""Plots about how the hero treats somebody else. `plot.py` explains the slots."""

from __future__ import annotations

from corpus.plots.plot import Plot

SHARE = Plot(
    "share",
    "[shared|learned to share] {his} food",
    [
        [
            "one {weather} {time}, {M} had {food} for lunch.",
            "one {time}, {M} found {food} on the way to {place}.",
            "{his} {parent} gave {him} {food} one {time}.",
        ],
        [
            "{he} sat down [under a tree|on a bench|by the water|in the grass] and was about to eat it.",
            "it [smelled|looked] so good that {he} wanted to eat it at once.",
            '"this looks so good," said {M}.',
        ],
        [
            "then {friend} came along. {fhe} looked [hungry|tired and hungry|sad].",
            "but then {he} saw {friend}, who had nothing to eat.",
            "at that moment, {he} met {friend}. {fhis} [eyes were sad|face was sad].",
        ],
        [
            '"what is the matter?" asked {M}. "^I am so hungry," said {F}.',
            '"I have not eaten all day," {F} said [quietly|softly].',
            '"could I have a little bit, please?" asked {F}.',
        ],
        [
            "{M} thought about it. {he} was hungry too.",
            "at first, {M} did not want to share. but then {he} saw how [sad|thin|tired] {F} was.",
            "{M} did not have to think for long.",
        ],
        [
            "{he} [cut the food in two|broke the food into two parts] and gave one [half|part] to {F}.",
            '"you can have half of mine," {he} said.',
            '"here, let us eat it together," said {M} with a smile.',
        ],
        [
            "they sat side by side and ate. it tasted [wonderful|better than ever].",
            "{F} [was very happy|smiled from ear to ear] and thanked {him}.",
            '"thank you! ^you are very kind," said {F}.',
        ],
        [
            "?",
            "the next day, {F} came back with {food2} and shared it with {M}.",
            "a week later, {M} was hungry, and this time {F} shared {fhis} food with {him}.",
        ],
        [
            "from then on, they were best friends.",
            "{M} learned that food tastes better when you share it.",
            "{M} went home with a full heart and a happy smile.",
        ],
    ],
)

BABY = Plot(
    "baby",
    "[found|helped] {baby}",
    [
        [
            "one {weather} {time}, {M} was walking [near|to] {place}.",
            "one {time}, {M} was [picking flowers|playing|sitting] near {place}.",
        ],
        [
            "{he} heard a small sound {hiding}.",
            "suddenly, {he} heard somebody crying {hiding}.",
            "there was a strange noise {hiding}. {M} stopped and listened.",
        ],
        [
            "it was {baby}. it was all alone.",
            "{M} went closer. there was {baby}, [cold and alone|wet and afraid].",
        ],
        [
            '"are you lost?" asked {M}. "^yes," it said. "^I cannot find my mother."',
            '"do not be afraid," {M} said softly. "^I will help you."',
            "{M} picked it up and held it [gently|close].",
        ],
        [
            "{he} gave it some [water|milk] and kept it warm.",
            "{he} wrapped it in {his} {colour} scarf.",
            "{he} carried it carefully in {his} arms.",
        ],
        [
            "then they went to look for its mother. they asked {F}, {a_friend}.",
            'on the path, they met {friend}. "have you seen its mother?" asked {M}.',
        ],
        [
            '"yes, I saw her near {place2}," said {F}. "^she looked very worried."',
            "{F} thought for a moment and pointed to {place2}.",
        ],
        ["?", "they thanked {F} and walked on as fast as they could.", "it was a long way, but {M} did not stop."],
        [
            "when they came to {place2}, the mother was there. she [cried with joy|ran to her little one].",
            "the mother was waiting at {place2}. she was so happy to see her baby.",
        ],
        [
            '"thank you for helping us," said the mother, and she gave {M} {gift}.',
            '"how can I thank you?" asked the mother. {M} only smiled.',
        ],
        [
            "{M} walked home in the evening light and felt [happy|warm and happy].",
            "after that, they came to visit {M} every week.",
            "that night, {M} slept very well.",
        ],
    ],
)

RACE = Plot(
    "race",
    "ran in a race",
    [
        ["one {weather} {time}, there was a big race near {place}.", "every year, there was a race to {place}."],
        [
            "{M} wanted to win. {he} had practised every day.",
            '"I will win this race," said {M}.',
        ],
        ["{F}, {a_friend}, was in the race, too.", "next to {him} stood {friend}."],
        [
            '"one, two, three, go!" [they all ran|everybody ran] as fast as they could.',
            "the bell rang, and the race began.",
        ],
        [
            "soon {M} was in front. {he} could already see the end.",
            "at first {M} was slow, but then {he} became faster and faster.",
        ],
        [
            "then {he} heard a cry. {F} had fallen and hurt {fhis} leg.",
            "suddenly, {F} fell down behind {him}.",
        ],
        [
            "{M} stopped. {he} could win, or {he} could help.",
            "{M} looked at the end of the road, and then {he} looked at {F}.",
        ],
        ["{he} ran back and helped {F} to stand up.", '"hold on to me," said {M}. {he} went back and helped {F}.'],
        ["together, they walked to the end. they were the last ones.", "they crossed the line together, very slowly."],
        [
            "but everyone clapped for them more than for the winner.",
            '"you did not win the race, but you won a friend," said {F}.',
            '{his} {parent} said, "I am more proud of you than of any winner."',
        ],
    ],
)

HONEST = Plot(
    "honest",
    "told the truth",
    [
        [
            "one {time}, {M} was playing with {a_toy} in the house.",
            "{M} was running in the kitchen one {time}, but {he} was not careful.",
        ],
        [
            "crash! the {colour} [cup|plate|vase|lamp] fell down and broke.",
            "there was a loud crash. {he} had broken {his} {parent}'s {colour} [cup|plate|vase].",
        ],
        [
            "{M} was afraid. {he} hid the pieces {hiding}.",
            '"nobody saw me," {he} thought. {he} put the pieces {hiding}.',
        ],
        ['{his} {parent} came in. "what was that noise?" {phe} asked.', 'soon {his} {parent} asked, "who broke it?"'],
        [
            '"I do not know," said {M}.',
            "{M} said nothing and looked at the floor.",
            '"maybe it was the wind," said {M}.',
        ],
        [
            "but {he} felt bad. {he} could not eat or sleep.",
            '{he} told {F}, {a_friend}, about it. "you should tell the truth," said {F}.',
        ],
        [
            'in the end, {M} said, "it was me. ^I am very sorry."',
            "so {M} went to {his} {parent} and told {phim} everything.",
        ],
        [
            '"thank you for telling the truth," said {his} {parent}. "^that was brave."',
            "{his} {parent} was not angry. {phe} gave {M} a hug.",
        ],
        ["?", "together, they put the pieces back with glue.", "they cleaned the floor together."],
        [
            "{M} learned that the truth is always better.",
            "{M} felt light and happy again.",
            "from then on, {M} only played outside.",
        ],
    ],
)

QUARREL = Plot(
    "quarrel",
    "had a fight with a friend",
    [
        ["{his} best friend was {F}, {a_friend}.", "{M} had a good friend. it was {F}, {a_friend}."],
        ["one {time}, they both wanted to play with {a_toy}.", "one {time}, they found {a_toy} near {place}."],
        [
            '"it is mine!" said {M}. "^no, it is mine!" said {F}.',
            '"I saw it first!" cried {F}. "^no, I did!" cried {M}.',
        ],
        ["they pulled and pulled until the {toy} broke.", "they shouted at each other, and then {F} went home."],
        ["{M} sat alone {loc}. it was no fun to play alone.", "that evening, {M} was angry. but then {he} became sad."],
        [
            '{his} {parent} asked, "what is more important, a {toy} or a friend?"',
            '"I miss my friend," {he} thought.',
        ],
        ["the next morning, {M} went to see {F}.", "so {M} took {food} and walked to the house of {F}."],
        [
            '"I am sorry," said {M}. "^I am sorry, too," said {F}.',
            '"I was wrong," said {M}. "^will you play with me again?"',
        ],
        ["they hugged and laughed.", "{F} smiled and gave {him} a hug."],
        [
            "after that, they always took turns.",
            "they never fought about a {toy} again.",
            "they were best friends again.",
        ],
    ],
)

NEWCOMER = Plot(
    "newcomer",
    "[made|found] a new friend",
    [
        [
            "one {time}, somebody new came to {place_name}. it was {friend}.",
            "{friend} came to {place_name} one {weather} {time}.",
        ],
        ["{F} did not know anyone there. {fhe} sat alone {loc}.", "{F} was shy and did not talk to anybody."],
        ["some of the others laughed at {fhim} because {fhe} was different.", "nobody asked {fhim} to play."],
        ["{M} saw this and felt sorry for {F}.", "{M} watched {F} for a while."],
        [
            '{he} walked over and said, "hello! ^my name is {name}. ^what is your name?"',
            '"would you like to play with me?" asked {M}.',
        ],
        ['"my name is {F}," said {F} in a small voice.', "{F} looked up and smiled for the first time."],
        ["they [played|talked] the whole {time} and had a lot of fun.", "{M} showed {fhim} {place} and {place2}."],
        ["?", "{F} could {skill} very well, and {fhe} showed {M} how to do it.", "{F} knew many funny stories."],
        [
            "soon the others came to play, too.",
            "the next day, {M} told the others about {F}, and they all played together.",
        ],
        [
            "{F} was not lonely any more.",
            '"I am glad that you came here," said {M}.',
            "and that is how {M} found a new friend.",
        ],
    ],
)
