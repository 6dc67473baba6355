"""Small tables of common knowledge, written by hand. The questions to the demo model come from them."""

from __future__ import annotations

CAPITALS = dict(
    pair.split("=")
    for pair in (
        "France=Paris|Italy=Rome|Spain=Madrid|Germany=Berlin|Portugal=Lisbon|Austria=Vienna|Greece=Athens|"
        "Poland=Warsaw|Norway=Oslo|Sweden=Stockholm|Finland=Helsinki|Denmark=Copenhagen|Ireland=Dublin|"
        "Hungary=Budapest|Belgium=Brussels|Iceland=Reykjavik|Russia=Moscow|Ukraine=Kyiv|Turkey=Ankara|Egypt=Cairo|"
        "Kenya=Nairobi|Japan=Tokyo|China=Beijing|India=New Delhi|Thailand=Bangkok|Vietnam=Hanoi|Canada=Ottawa|"
        "Mexico=Mexico City|Brazil=Brasilia|Argentina=Buenos Aires|Chile=Santiago|Peru=Lima|Cuba=Havana|"
        "Australia=Canberra|New Zealand=Wellington|England=London|Scotland=Edinburgh|Switzerland=Bern|"
        "Romania=Bucharest|Bulgaria=Sofia|Croatia=Zagreb|Serbia=Belgrade|Morocco=Rabat|Nigeria=Abuja|Iran=Tehran|"
        "South Korea=Seoul|Indonesia=Jakarta|Colombia=Bogota"
    ).split("|")
)

OPPOSITES = dict(
    pair.split("=")
    for pair in (
        "hot=cold|big=small|tall=short|fast=slow|happy=sad|light=dark|old=new|young=old|hard=soft|wet=dry|full=empty|"
        "open=closed|up=down|left=right|early=late|good=bad|day=night|high=low|loud=quiet|clean=dirty|heavy=light|"
        "strong=weak|rich=poor|thick=thin|wide=narrow|near=far|inside=outside|first=last|yes=no|black=white|"
        "cold=hot|small=big|slow=fast|sad=happy|night=day|right=left|empty=full|dry=wet|summer=winter|sweet=sour"
    ).split("|")
)

SOUNDS = dict(
    pair.split("=")
    for pair in (
        "cat=meow|dog=woof|cow=moo|sheep=baa|duck=quack|pig=oink|horse=neigh|lion=roar|frog=ribbit|bee=buzz|"
        "owl=hoot|mouse=squeak|rooster=cock-a-doodle-doo|snake=hiss|bird=tweet|wolf=howl|hen=cluck|donkey=hee-haw"
    ).split("|")
)

COLOURS_OF = dict(
    pair.split("=")
    for pair in (
        "the sky=blue|grass=green|snow=white|a banana=yellow|a lemon=yellow|the sun=yellow|a tomato=red|"
        "a strawberry=red|an orange=orange|a carrot=orange|coal=black|chocolate=brown|milk=white|a frog=green|"
        "a leaf=green|an elephant=grey|the sea=blue|a cherry=red|a pumpkin=orange|cheese=yellow|the night=black"
    ).split("|")
)

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
SEASONS = "spring summer autumn winter".split()

NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()

LEGS = {
    "a dog": 4,
    "a cat": 4,
    "a horse": 4,
    "a bird": 2,
    "a spider": 8,
    "a bee": 6,
    "a cow": 4,
    "a duck": 2,
    "a snake": 0,
}

ANIMAL_FACTS = dict(
    pair.split("=")
    for pair in (
        "fox=a small red animal with a long tail. It lives in the forest|"
        "bear=a big, strong animal with thick fur. It loves honey and sleeps in the winter|"
        "rabbit=a small animal with long ears. It eats grass and carrots|"
        "owl=a bird with big eyes. It sleeps in the day and flies at night|"
        "frog=a small green animal. It lives near water and can jump far|"
        "elephant=a very big grey animal with a long nose. It is very clever|"
        "lion=a big, strong cat. It lives in Africa and roars loudly|"
        "cat=a small animal with soft fur. It likes milk and sleeps a lot|"
        "dog=an animal that lives with people. It is a good friend and barks|"
        "bee=a small insect with wings. It makes honey from flowers|"
        "penguin=a black and white bird. It cannot fly, but it can swim very well|"
        "horse=a big animal with long legs. It can run very fast|"
        "turtle=a slow animal with a hard shell. It lives for a very long time|"
        "duck=a bird that can swim. It lives on lakes and rivers|"
        "mouse=a very small animal with a long tail. It likes cheese|"
        "cow=a big animal on the farm. It eats grass and gives milk|"
        "sheep=a farm animal with thick white wool. It eats grass|"
        "wolf=an animal that looks like a big dog. It lives in the forest with its family|"
        "hedgehog=a small animal with many sharp spines. It sleeps in the winter|"
        "squirrel=a small animal with a big tail. It collects nuts for the winter"
    ).split("|")
)

REFUSAL = "I am only a very small model, so I do not know that."
WHO = "I am a small BitNet model. I can tell short stories and answer simple questions."
