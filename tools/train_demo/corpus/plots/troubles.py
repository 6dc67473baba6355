"""Plots in which something goes wrong and is repaired in the end. `plot.py` explains the slots."""

from __future__ import annotations

from corpus.plots.plot import Plot

LOST = Plot(
    "lost",
    "[lost|could not find] {his} {toy}",
    [
        [
            "{he} had a [{colour}|shiny {colour}|beautiful {colour}] {toy}, and {he} loved it [very much|more than "
            "anything else].",
            "{his} favourite thing was a {colour} {toy}.",
            "for {his} birthday, {M} got a {colour} {toy}. {he} [took it everywhere|played with it every day].",
        ],
        [
            "but one {time}, the {toy} was gone.",
            "one {time}, {M} could not find the {toy}.",
            "one {weather} {time}, {M} [wanted to play|woke up] and saw that the {toy} was [gone|missing].",
            'one {time}, {M} looked around. "where is my {toy}?" {he} asked.',
        ],
        [
            "{he} looked {hiding}, but it was not there.",
            "{he} looked {hiding}. {he} looked {hiding2}. the {toy} was not there.",
            "{M} searched {hiding} and {hiding2}, but {he} found nothing.",
        ],
        [
            "{M} [felt very sad|began to cry|sat down and cried|did not know what to do].",
            '"I will never find it," {M} said [sadly|with tears in {his} eyes].',
            "{he} was so sad that {he} did not want to [eat|play].",
        ],
        [
            'then {friend} came by. "what is wrong?" asked {F}.',
            '{friend} heard {him} and asked, "why are you [crying|so sad]?"',
            'just then, {friend} walked past. "can I help you?" {fhe} asked.',
        ],
        [
            '"I lost my {toy}," said {M}.',
            '"my {toy} is gone, and I have looked everywhere," {M} [said|answered].',
            "{M} told {fhim} about the lost {toy}.",
        ],
        [
            '"let us look for it together," said {F}.',
            '"do not worry," said {F}. "^we will find it together."',
            '{F} [smiled|nodded] and said, "two can look better than one."',
        ],
        [
            "?",
            "they asked everyone [they met|in {place_name}], but nobody had seen it.",
            "they walked to {place} and looked around.",
            "they went back to every place where {M} had played.",
        ],
        [
            "at last, {F} looked {hiding3}. there was the {toy}!",
            "suddenly, {M} saw something {colour} {hiding3}. it was the {toy}!",
            "after a long time, they found the {toy} {hiding3}.",
        ],
        [
            '"thank you!" {M} [said|cried], and [gave {F} a big hug|jumped for joy].',
            "{M} was so happy that {he} [hugged {F}|danced around {F}].",
            '"you found it! ^thank you, my friend," said {M}.',
        ],
        [
            "?",
            "from that day on, {M} always [put the {toy} in a safe place|took good care of the {toy}].",
            "then they played with the {toy} together until the sun went down.",
        ],
    ],
)

FEAR = Plot(
    "fear",
    "was afraid of {fear}",
    [
        [
            "but {M} had a [secret|problem]. {he} was afraid of {fear}.",
            "there was only one thing {M} did not like. {he} was [very|so] afraid of {fear}.",
            "{M} was afraid of {fear}.",
        ],
        [
            "when the others [played|laughed], {he} stayed at home.",
            "every time {he} thought of {fear}, {his} [heart beat fast|knees began to shake].",
            "{he} did not tell anybody about it.",
        ],
        [
            "one {time}, {his} friend {F} [came to see {him}|knocked on the door]. {F} was {a_friend}.",
            "one {time}, {he} met {friend}.",
        ],
        [
            '"why do you [look so worried|never come with us]?" asked {F}.',
            '"come with me to {place}!" said {F}. {M} shook {his} head.',
        ],
        [
            '"I am afraid of {fear}," {M} said [quietly|at last|in a small voice].',
            "{M} took a deep breath and told {F} about {his} fear.",
        ],
        [
            '"I was afraid once, too," said {F}. "^hold on to me, and we will go together."',
            '"everyone is afraid of something," said {F}. "^we can try it one small step at a time."',
            '{F} did not laugh. {fhe} said, "being brave means that you try."',
        ],
        [
            "so {M} closed {his} eyes, counted to [three|five|ten], and took one step. then {he} took another.",
            "they went together, very slowly. {M} stayed close to {F} the whole time.",
            "the first time, {M} ran away. the second time, {he} stayed a little longer.",
        ],
        [
            '"look, nothing bad happened!" said {F}.',
            "after a while, {M} noticed that {he} was not shaking any more.",
            "nothing bad happened. {M} opened {his} eyes and laughed.",
        ],
        [
            '"I did it!" {M} shouted.',
            "{M} was very proud of {himself}.",
            "that night, {M} told {his} {parent} the whole story.",
        ],
        [
            "since then, {M} has not been afraid of {fear}.",
            "{M} was still a little afraid of {fear}, but now {he} knew what to do.",
            "now {M} helps others who are afraid.",
        ],
    ],
)

STORM = Plot(
    "storm",
    "got caught in a storm",
    [
        [
            "one {time}, {M} [went for a walk to {place}|was on the way to {place}].",
            "one {weather} {time}, {M} and {his} friend {F} went to {place}.",
            "{M} left home early one {time} because {he} wanted to see {place}.",
        ],
        [
            "suddenly, the sky turned [dark|grey|black]. the wind began to blow.",
            "dark clouds came over the hills, and {M} heard thunder.",
            "a drop of rain fell on {his} nose, and then another. soon it was raining hard.",
        ],
        [
            '"I must find a dry place," said {M}.',
            "{he} ran as fast as {he} could.",
            "{M} was cold and wet, and {he} could not see the path.",
        ],
        [
            "{he} saw [an old barn|a small cave|a hollow tree|a little hut] and ran inside.",
            "at last, {he} found [an old barn|a small cave|a hollow tree|a little hut]. it was dry inside.",
        ],
        [
            "somebody was already there. it was {F}, {a_friend}.",
            'a voice said, "come in, there is room for two." it was {F}, {a_friend}.',
        ],
        [
            "they sat close together and listened to the rain.",
            "they told each other stories while the thunder [rolled|roared] outside.",
            "{F} had {food}, and they shared it while they waited.",
        ],
        ["?", "{M} was a little afraid, but it was good to have a friend.", '"the storm will pass," said {F}.'],
        [
            "after an hour, the rain stopped and the sun came out.",
            "by the evening, the storm was over.",
            "slowly, the clouds moved away and the sky was blue again.",
        ],
        [
            "there was a [beautiful|big|bright] rainbow over {place}.",
            "they went outside and jumped in the puddles.",
            "the air was [fresh|clean], and every leaf was shining.",
        ],
        [
            '"what a day!" said {M}, and they walked home together.',
            "{M} went home and told {his} {parent} about the storm.",
            "{M} was glad, because {he} had found a new friend in the storm.",
        ],
    ],
)

NOISE = Plot(
    "noise",
    "heard a strange noise",
    [
        [
            "one night, {M} was in bed when {he} heard a strange noise.",
            "one {time}, {M} heard a strange noise {hiding}.",
            "late in the evening, something made a noise outside.",
        ],
        ["[tap, tap, tap.|bump, bump.|scratch, scratch.|knock, knock.]", '"what was that?" {he} whispered.'],
        [
            "{he} wanted to hide, but {he} also wanted to know what it was.",
            "{his} heart beat fast. {he} took {his} lantern and [stood up|went to look].",
        ],
        ["?", '{he} called {F}, {a_friend}. "^I will come with you," said {F}.', "{he} listened again. there it was!"],
        [
            "slowly, {he} opened the door and looked out.",
            "{he} went closer, one step at a time.",
        ],
        [
            "{he} looked {hiding2} and saw two big eyes. it was {baby}!",
            "it was only {baby}! it was looking for something to eat.",
            "there was no monster. there was only {baby}.",
        ],
        [
            '{M} laughed. "^you are not scary at all," {he} said.',
            '"please do not be angry," it said. "^I am cold and hungry."',
        ],
        [
            "{M} gave it {food} and a warm place to sleep.",
            "{he} brought it inside and gave it some milk.",
        ],
        [
            "in the morning, they were good friends.",
            "after that night, {M} was never afraid of noises again.",
            "then {M} went back to bed and slept until the morning.",
        ],
    ],
)

STUCK = Plot(
    "stuck",
    "[saved|rescued] a friend",
    [
        ["one {weather} {time}, {M} heard a cry for help near {place}.", '"help! help!" somebody cried one {time}.'],
        [
            "{M} ran to look. {friend} was stuck in [a deep hole|the mud|a tree|a thorn bush].",
            "it was {friend}. {fhe} was stuck in [a deep hole|the mud|a tree|a thorn bush] and could not get out.",
        ],
        ['"please help me," said {F}.', '"hold on!" called {M}. "^I will help you!"'],
        [
            "{he} pulled as hard as {he} could, but {he} was not strong enough.",
            "{he} tried to reach {F}, but it was too far.",
        ],
        [
            "then {M} had an idea. {he} ran home and got a long rope.",
            '"I need a rope," {he} thought. {he} found one {hiding}.',
        ],
        [
            "{he} threw one end to {F} and tied the other end to a tree.",
            "{F} held the rope, and {M} pulled and pulled.",
        ],
        ["?", "slowly, slowly, {F} came out.", '"do not let go!" shouted {M}.'],
        ["at last, {F} was free!", "with one last pull, {F} was safe."],
        ['"you saved me!" said {F}. "^thank you!"', "{F} hugged {M} and gave {him} {gift}."],
        [
            "they went home together and had {food}.",
            "from that day on, they were the best of friends.",
            "everyone in {place_name} talked about the brave {noun}.",
        ],
    ],
)

SLEEP = Plot(
    "sleep",
    "could not sleep",
    [
        ["one night, {M} could not sleep.", "it was late, but {M} was still awake."],
        [
            "{he} turned to the left and to the right, but sleep did not come.",
            "the room was dark, and the wind was loud.",
        ],
        [
            "{he} tried to count the stars. {he} counted to [ten|twenty|twelve], but it did not help.",
            "{he} drank some water, but it did not help.",
        ],
        ["?", "the clock on the wall said tick, tock, tick, tock.", "the moon looked in through the window."],
        [
            '{he} got up and went to {his} {parent}. "I cannot sleep," {he} said.',
            '{he} went outside and met {friend}. "you cannot sleep, too?" asked {F}.',
        ],
        ['"shall I tell you a story?" {phe} asked.', "they sat down and looked at the moon together."],
        [
            "so {M} listened to a story about a {noun2} who lived on the moon.",
            "they sang a quiet song about the stars and the sea.",
        ],
        ["soon {his} eyes became heavy.", "{M} yawned once, and then {he} yawned again."],
        ["before the song was over, {M} was asleep.", "{M} went back to bed and fell asleep at once."],
        [
            "{he} dreamed of {place} all night long.",
            "in {his} dream, {he} flew over {place} like a bird.",
            '"good night, {name}," whispered the wind.',
        ],
    ],
)
