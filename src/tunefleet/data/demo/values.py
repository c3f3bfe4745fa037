"""Slot values of the demo's commands, and those that are kept out of training.

Everything is lower-case, as a speech recogniser writes it. A closed slot has a short list of whole
values. An open slot has patterns over word lists, so a few hundred words give many thousand values.
One value in six of the open slots is held out: no training row has it in any slot, though the words of
a held-out value of several words may occur in other training values. `NEW_WORDS` are words that no
training row has at all. In training many words are made up, and some values are made-up words alone: a
model that had seen only a few hundred words would remember them and never learn to copy.
"""

from __future__ import annotations

import functools
import random
import string
import zlib
from collections.abc import Callable

from tunefleet.data.demo.made_up import Maker

HELD_OUT_ONE_IN = 6
MADE_UP_WORDS = 0.5  # share of the blanks in training that hold a made-up word, where the word list is open
DICTATED_VALUES = 0.15  # share of the open values in training that are made-up words alone
_DICTATED = range(1, 6)  # words


def _split_list(text: str) -> tuple[str, ...]:
    """Split a hand-written list at its commas, in order and without repeats."""
    return tuple(dict.fromkeys(" ".join(word.split()) for word in text.split(",") if word.strip()))


WORD_LISTS: dict[str, tuple[str, ...]] = {
    "first": _split_list("""
        nina, ella, carla, elena, ingrid, leila, paula, rosa, victor, yasmin, clara, edith, irene, kate,
        pedro, stefan, walter, zelda, esther, gideon, kofi, malik, sienna, uma, adele, chidi, helga,
        judith, nikolai, philippa, ulrich, yuki, camille, edgar, isolde, leopold, percy, silas, anders,
        conrad, harriet, josephine, naomi, petra, wilfred, bridget, fiona, hilda, murray, olga, tamara,
        bob, max, ian, kim, ned"""),
    "last": _split_list("""
        simone, fitzgerald, okafor, nakamura, moreau, castellano, goldberg, ibrahim, novak, pemberton,
        takahashi, vasquez, armstrong, calloway, holloway, jarrett, norwood, prescott, thornton, valdez,
        ashby, donovan, hendrix, joplin, nilsson, pickett, ulrichsen, wonder, chaudhry, engel, iglesias,
        khan, obrien, rahman, weber, zhang, dyer, glover, sawyer, weaver, elwood, greenfield, langford,
        nettleton, stanhope, upton, cash, frost"""),
    "adjective": _split_list("""
        velvet, crimson, golden, hollow, silver, hidden, savage, distant, humble, ivory,
        kindred, obsidian, quiet, urban, wicked, ancient, endless, glass, heavy, magnetic, orange,
        radiant, violent, young, dizzy, foolish, honest, little, northern, plastic, ugly, wild,
        careless, eager, green, marble, perfect, southern, concrete, lucky, cosmic, iron, modern"""),
    "noun": _split_list("""
        river, echo, harbor, mirror, ocean, castle, jungle, letter, needle, rocket, temple, valley,
        bridge, desert, forest, jewel, ladder, notebook, ribbon, tiger, volcano, cathedral, elephant,
        guitar, lighthouse, necklace, pendulum, telegram, village, accident, evening, gambler, journey,
        nightmare, quilt, soldier, alphabet, carnival, empire, inferno, labyrinth, nomad, scarecrow,
        violin, apple, fire, key, owl"""),
    "city": _split_list("""
        lisbon, berlin, copenhagen, edinburgh, brussels, geneva, palermo, florence, istanbul, sofia,
        warsaw, vilnius, lviv, baku, marrakesh, accra, kigali, harare, kinshasa, baghdad, muscat,
        islamabad, bangalore, kathmandu, hanoi, jakarta, shanghai, wuhan, kyoto, sapporo, adelaide,
        darwin, seattle, oakland, boulder, austin, cleveland, albany, savannah, tampa, minneapolis,
        montreal, havana, bogota, la paz, valparaiso, brasilia, fortaleza, bergen, aarhus, dresden,
        lyon, lille, granada, bristol, york"""),
    "place": _split_list("""
        new, north, west, saint, lake, upper, great, san"""),
    "town": _split_list("""
        ashford, colville, elmhurst, jamestown, linden, queensbury, stanton, ulverston, bedford, dunbar,
        inverness, lorain, norden, tremont, barstow, gavarre, isidro, lucia, tomas, vigo"""),
    "food": _split_list("""
        milk, eggs, cheese, flour, salt, tomatoes, carrots, zucchini, broccoli, beans, chickpeas, limes,
        apples, grapes, peaches, pears, kiwis, dates, cashews, pistachios, jam, ketchup, olives, tofu,
        tuna, bacon, noodles, muffins, crackers, vanilla, paprika, parsley, ginger, juice, soda, beer,
        dumplings, pancakes, beets, leeks, papaya, coconut, mozzarella, feta"""),
    "goods": _split_list("""
        batteries, napkins, detergent, pencils, lightbulbs, tissues, slippers, sandals, chargers,
        adapters, buckets, nails, brushes, balloons, puzzles, backpacks, firewood, fertilizer, leashes,
        diapers, razors, lipstick, buttons, fabric"""),
    "quality": _split_list("""
        fresh, organic, cheap, red, sweet, canned, french, spare, extra, dark, smoked, pickled,
        colorful, waterproof"""),
    "thing": _split_list("""
        laundry, package, garage, fridge, insurance, invoice, tax return, mortgage, hedge, cat, rabbit,
        brakes, roof, mailbox, carpet, violin, router, calendar, furnace, filter, bathtub, cake,
        balloons, visa, umbrella, tuxedo, telescope, canoe, aquarium, sprinkler, toaster, lamp"""),
    "person": _split_list("""
        dentist, doctor, accountant, teacher, gardener, barber, veterinarian, banker, surgeon, nurse,
        photographer, recruiter, pastor, locksmith, piano tuner, insurance broker"""),
    "event": _split_list("""
        yoga, karate, rehearsal, chess, band, funeral, picnic, lunch, interview, webinar, workshop,
        hiking, surfing, running, poker, pottery, knitting, shopping, ironing, checkup, manicure,
        flight, commute, concert, hackathon, fencing, volleyball, wrestling"""),
    "occasion": _split_list("""
        class, practice, club, session, appointment, day, group, course"""),
    "relation": _split_list("""
        mom, dad, grandpa, cousin, coach, sister, brother, roommate, pastor, granny"""),
    "eatery": _split_list("""
        bistro, tavern, diner, brasserie, pizzeria, teahouse, smokehouse, noodle bar, curry house,
        rotisserie, buffet, chophouse"""),
    "zone": _split_list("""
        bedroom, bathroom, studio, closet, playroom, workshop, attic, basement, pantry, den, kitchen,
        cellar, laundry room, living room, sunroom, staircase"""),
    "where": _split_list("""
        upstairs, downstairs, front, small, left, upper, inner, east, west, old, new, corner"""),
    "state": _split_list("""
        broken, ready, missing, late, empty, frozen, cancelled, open, gone, ruined, perfect, sold, paid,
        lost"""),
}

NEW_WORDS: dict[str, tuple[str, ...]] = {
    "first": _split_list("agatha, boris, cordelia, dmitri, emeka, freya, gunther, hortense, ivo, jolanda"),
    "last": _split_list("abernathy, bergstrom, cavendish, delacroix, eriksson, fairweather, guerrero, hashimoto"),
    "adjective": _split_list("brittle, amber, feral, gentle, jagged, lonely, mellow, ragged, solemn, timid"),
    "noun": _split_list("anchor, beacon, comet, dagger, feather, glacier, hammer, island, lantern, meadow"),
    "city": _split_list("nairobi, helsinki, lima, oslo, quito, zagreb, calgary, denver, munich, osaka"),
    "food": _split_list("avocado, bagels, celery, lentils, mangoes, oregano, spinach, waffles, yogurt, raisins"),
    "goods": _split_list("candles, envelopes, gloves, magnets, scissors, sponges, staples, towels, umbrellas"),
    "thing": _split_list("bicycle, dishwasher, fountain, heater, passport, printer, trampoline, microwave"),
    "event": _split_list("ballet, curling, debate, gymnastics, lecture, opera, rowing, seminar"),
}

OPEN: dict[str, tuple[str, ...]] = {
    "artist": (
        "{first} {last}",
        "{first} {last}",
        "{last}",
        "the {adjective} {noun}s",
        "{first} and the {noun}s",
    ),
    "song": (
        "{adjective} {noun}",
        "song of the {noun}",
        "my {adjective} {noun}",
        "{noun}",
        "dear {first}",
    ),
    "city": ("{city}", "{city}", "{place} {town}", "{place} {city}"),
    "item": (
        "{food}",
        "{goods}",
        "{quality} {food}",
        "{quality} {goods}",
        "{food} and {goods}",
    ),
    "event": ("{event}", "{event} {occasion}", "{first}'s {event}"),
    "contact": ("{first}", "{first}", "{first} {last}", "{relation} {first}"),
    "text": (
        "i left the {thing} on the porch",
        "the {thing} got {state}",
        "we need more {food}",
        "i am on my way to {city}",
        "can you bring the {thing}",
        "happy {event} day",
        "it was {first} who called about the {thing}",
        "i will be late for {event}",
        "do you want {food}",
        "the {person} is here",
        "did you see the {noun}",
        "let us meet in {city}",
        "please buy {food} and {goods}",
        "we heard that {first} got the {thing} {state}",
    ),
    "restaurant": (
        "the {adjective} {noun}",
        "{first}'s {eatery}",
        "chez {last}",
        "the {noun} {eatery}",
        "casa {first}",
    ),
    "room": ("{zone}", "{where} {zone}", "{first}'s {zone}", "{where} {zone}"),
    "task": (
        "call the {person}",
        "clean the {thing}",
        "pick up the {thing}",
        "pay the {person}",
        "buy {food}",
        "order {goods}",
        "check the {thing}",
        "email {first}",
        "visit {relation} {first}",
        "fix the {thing}",
        "pack the {goods}",
        "thank {first} {last}",
        "return the {thing}",
        "book a flight to {city}",
    ),
}

_HOURS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_MINUTES = ("fifteen", "twenty", "thirty", "forty five")
_DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

CLOSED: dict[str, tuple[str, ...]] = {
    "time": (
        *(f"{hour} {half}" for hour in _HOURS for half in ("am", "pm", "o'clock")),
        *(f"{hour} {minute}" for hour in _HOURS for minute in _MINUTES),
        *(f"{hour} {half}" for hour in range(1, 13) for half in ("am", "pm")),
        *(f"half past {hour}" for hour in _HOURS),
        "noon",
        "midnight",
    ),
    "day": (
        "today",
        "tonight",
        "tomorrow",
        "tomorrow morning",
        "tomorrow evening",
        *_DAYS,
        *(f"next {day}" for day in _DAYS),
        *(f"{day} night" for day in _DAYS),
    ),
    "device": (
        "kitchen speaker",
        "living room speaker",
        "bedroom speaker",
        "office speaker",
        "bathroom radio",
        "kitchen radio",
        "garden speaker",
        "tv",
        "soundbar",
        "car stereo",
    ),
    "condition": ("rain", "snow", "hail", "freeze", "storm"),
    "feel": ("sunny", "windy", "cloudy", "foggy", "hot", "cold", "humid", "icy"),
    "list": ("shopping", "grocery", "packing", "camping", "holiday", "wish", "party", "weekend"),
    "people": ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve"),
    "state": ("on", "off"),
    "color": ("red", "blue", "green", "yellow", "purple", "orange", "warm white", "pink", "turquoise"),
    "level": (
        *(f"{tens} percent" for tens in ("ten", "twenty", "thirty", "fifty", "eighty")),
        "full brightness",
    ),
}


def is_held_out(value: str) -> bool:
    """Say whether a whole value of an open slot is kept out of training, by a stable checksum."""
    return zlib.crc32(value.encode("utf-8")) % HELD_OUT_ONE_IN == 0


@functools.cache
def _blanks(pattern: str) -> tuple[tuple[str, str | None], ...]:
    """The (fixed text, word list) pieces of a pattern."""
    return tuple((text, name) for text, name, _, _ in string.Formatter().parse(pattern))


def _fill(pattern: str, choose: Callable[[str], str]) -> str:
    """Put a word of its list into each blank of a pattern; `choose` draws one from the list that it names."""
    return "".join(text + (choose(name) if name else "") for text, name in _blanks(pattern))


def draw(slot: str, split: str, rng: random.Random) -> str:
    """Draw one value for a slot: of `unseen_words` a new one, of `unseen_values` a held-out one, else a known one.

    Raises KeyError for a slot that neither `OPEN` nor `CLOSED` has.
    """
    if slot in CLOSED:
        return rng.choice(CLOSED[slot])
    if split == "unseen_words":
        return _fill(rng.choice(_new_patterns(slot)), lambda name: rng.choice(NEW_WORDS.get(name, WORD_LISTS[name])))
    while True:
        value = _training_value(slot, rng) if split == "train" else _known_value(slot, rng)
        if is_held_out(value) == (split == "unseen_values"):
            return value


def _known_value(slot: str, rng: random.Random) -> str:
    """Draw a value of an open slot from the word lists."""
    return _fill(rng.choice(OPEN[slot]), lambda name: rng.choice(WORD_LISTS[name]))


def _training_value(slot: str, rng: random.Random) -> str:
    """Draw a value of an open slot for training: some of its words are made up, or all of them and no pattern."""
    if rng.random() < DICTATED_VALUES:
        return " ".join(_maker().make(rng) for _ in range(rng.choice(_DICTATED)))
    return _fill(rng.choice(OPEN[slot]), lambda name: _training_word(name, rng))


def _training_word(name: str, rng: random.Random) -> str:
    """Draw a word for training: of an open word list often a made-up one."""
    if name in NEW_WORDS and rng.random() < MADE_UP_WORDS:
        return _maker().make(rng)
    return rng.choice(WORD_LISTS[name])


@functools.cache
def _maker() -> Maker:
    """Makes words like those of the open word lists."""
    new = [word for words in NEW_WORDS.values() for word in words]
    return Maker((word for name in NEW_WORDS for word in WORD_LISTS[name]), kept_out=new)


@functools.cache
def _new_patterns(slot: str) -> tuple[str, ...]:
    """The patterns of an open slot into which a new word fits; all of them where there is none."""
    fitting = tuple(p for p in OPEN[slot] if any(name in NEW_WORDS for _, name in _blanks(p)))
    return fitting or OPEN[slot]
