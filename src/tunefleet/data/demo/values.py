"""Which words may fill the slots of the demo's commands, and which of them are kept out of training?

Everything is lower-case, as a speech recogniser writes it. A closed slot has a short list of whole
values. An open slot has patterns over word lists, so a few hundred words give many thousand values.
Every sixth word or so of every list is held out: no training value contains it as a list entry.
"""

from __future__ import annotations

import functools
import random
import string
import zlib

HELD_OUT_ONE_IN = 6


def _words(text: str) -> tuple[str, ...]:
    """Split a hand-written list at its commas, in order and without repeats."""
    return tuple(dict.fromkeys(" ".join(word.split()) for word in text.split(",") if word.strip()))


WORDS: dict[str, tuple[str, ...]] = {
    "first": _words("""
        nina, miles, ella, otis, aretha, bruno, carla, dario, elena, felix, greta, hugo, ingrid, jonas,
        karim, leila, marco, nadia, oscar, paula, quentin, rosa, samir, tessa, ursula, victor, wanda,
        xavier, yasmin, zoe, amelia, boris, clara, derek, edith, frank, gloria, harold, irene, jasper,
        kate, lionel, mabel, nathan, olive, pedro, ruth, stefan, thelma, umberto, vera, walter, yusuf,
        zelda, abigail, bennett, cecilia, dmitri, esther, fatima, gideon, hannah, isaac, jolene, kofi,
        lucinda, malik, noemi, omar, priya, rafael, sienna, tobias, uma, valentina, winston, yolanda,
        adele, barnaby, chidi, daphne, emil, freya, gustav, helga, imran, judith, kenji, lorenzo, maya,
        nikolai, odette, philippa, rohan, sabine, theo, ulrich, violet, wesley, yuki, zachary, agnes,
        bertrand, camille, dolores, edgar, flora, gareth, hector, isolde, jerome, katya, leopold, miriam,
        nigel, ophelia, percy, ramona, silas, tabitha, vincent, winifred, anders, beatrix, conrad, delia,
        ezra, francesca, godfrey, harriet, ignacio, josephine, kiran, lydia, matteo, naomi, orlando,
        petra, rupert, svetlana, tariq, vivian, wilfred, alonzo, bridget, cormac, dinah, ernesto, fiona,
        gilbert, hilda, ivan, jocelyn, kurt, lena, murray, noor, olga, pascal, roxanne, sheldon, tamara,
        viggo, bob, sam, amy, tim, liz, max, jo, ian, dee, ray, eve, kim, lou, ned, pam, rex, sue, ty"""),
    "last": _words("""
        simone, davis, fitzgerald, redding, franklin, marsh, okafor, petrov, nakamura, delgado, whitaker,
        lindqvist, moreau, abernathy, castellano, duval, eriksson, fontaine, goldberg, hathaway, ibrahim,
        jankowski, kowalski, laurent, mendoza, novak, ortega, pemberton, quigley, rossi, schneider,
        takahashi, underwood, vasquez, wainwright, yamamoto, zimmerman, armstrong, bellini, calloway,
        drummond, ellington, farrow, gillespie, holloway, ivanov, jarrett, kirkland, lockwood, mcallister,
        norwood, oswald, prescott, quinn, radcliffe, sinclair, thornton, usher, valdez, winslow, york,
        ziegler, ashby, blackwood, crane, donovan, everett, flynn, garland, hendrix, irving, joplin,
        kensington, lombardi, montoya, nilsson, oneill, pickett, ramsey, santana, turner, ulrichsen,
        vaughan, wonder, yates, zappa, adeyemi, bianchi, chaudhry, dimitriou, engel, ferrante, grimaldi,
        haddad, iglesias, johansson, khan, lefebvre, murakami, nguyen, obrien, pereira, rahman, silva,
        tanaka, varga, weber, xu, young, zhang, archer, baker, cooper, dyer, fisher, glover, hunter,
        mason, potter, sawyer, tyler, weaver, barlow, chesterfield, dunmore, elwood, fairbanks, greenfield,
        huxley, ingram, jessop, kettering, langford, mortimer, nettleton, oakley, paxton, ridley,
        stanhope, trevino, upton, vickers, wexford, bloom, cash, dupree, frost, grant, hale, king, lane"""),
    "adjective": _words("""
        velvet, crimson, silent, golden, broken, electric, lonely, midnight, wandering, hollow, paper,
        silver, burning, frozen, gentle, hidden, restless, savage, tender, distant, emerald, fearless,
        ghostly, humble, ivory, jagged, kindred, lunar, mellow, noble, obsidian, painted, quiet, rusty,
        scarlet, twisted, urban, vivid, wicked, yellow, ancient, bitter, copper, dusty, endless, faded,
        glass, heavy, icy, jolly, lazy, magnetic, neon, orange, purple, radiant, sleepy, tropical,
        unbroken, violent, whispering, young, amber, blue, clever, dizzy, eternal, foolish, gloomy,
        honest, invisible, joyful, little, mighty, northern, old, plastic, royal, secret, tiny, ugly,
        vanishing, wild, wooden, atomic, brave, careless, drunken, eager, forgotten, green, haunted,
        impossible, marble, naked, perfect, rapid, southern, thirsty, unlucky, warm, concrete, digital,
        lucky, bright, cosmic, dancing, foreign, happy, iron, lost, modern, polite, reckless, stolen"""),
    "noun": _words("""
        river, mountain, echo, lantern, harbor, window, thunder, garden, mirror, shadow, ocean, cottage,
        castle, feather, highway, island, jungle, kingdom, letter, meadow, needle, orchard, palace, queen,
        rocket, saddle, temple, umbrella, valley, whisper, zeppelin, anchor, bridge, candle, desert,
        engine, forest, glacier, hammer, insect, jewel, kettle, ladder, machine, notebook, oyster,
        pilgrim, question, ribbon, station, tiger, unicorn, volcano, wagon, avenue, button, cathedral,
        diamond, elephant, falcon, guitar, horizon, iceberg, jacket, lighthouse, monkey, necklace,
        opera, pendulum, quarter, rainbow, satellite, telegram, universe, village, winter, accident,
        balloon, captain, detective, evening, fountain, gambler, hurricane, journey, knight, lemonade,
        magician, nightmare, painter, quilt, raven, soldier, tornado, vampire, widow, alphabet, bicycle,
        carnival, dragon, empire, fortune, gondola, hotel, inferno, jester, labyrinth, marathon, nomad,
        oracle, puzzle, robot, scarecrow, traveler, violin, wizard, apple, bell, crow, dust, fire, heart,
        key, moon, owl, rain, star, train, swan"""),
    "city": _words("""
        lisbon, paris, berlin, madrid, vienna, oslo, helsinki, stockholm, copenhagen, dublin, edinburgh,
        glasgow, cardiff, belfast, amsterdam, rotterdam, brussels, antwerp, zurich, geneva, basel, milan,
        naples, turin, palermo, bologna, venice, florence, verona, genoa, athens, thessaloniki, istanbul,
        ankara, izmir, sofia, bucharest, budapest, prague, brno, warsaw, krakow, gdansk, vilnius, riga,
        tallinn, kyiv, odesa, lviv, tbilisi, yerevan, baku, cairo, alexandria, tunis, algiers, casablanca,
        marrakesh, dakar, accra, lagos, abuja, nairobi, mombasa, kampala, kigali, lusaka, harare, maputo,
        johannesburg, durban, windhoek, luanda, kinshasa, beirut, amman, baghdad, tehran, isfahan, dubai,
        doha, muscat, karachi, lahore, islamabad, delhi, mumbai, chennai, kolkata, bangalore, hyderabad,
        jaipur, kathmandu, colombo, dhaka, yangon, bangkok, hanoi, saigon, manila, jakarta, bandung,
        singapore, kuala lumpur, hong kong, shanghai, beijing, chengdu, wuhan, taipei, seoul, busan,
        tokyo, osaka, kyoto, nagoya, sapporo, fukuoka, sydney, melbourne, brisbane, perth, adelaide,
        hobart, darwin, auckland, wellington, christchurch, honolulu, anchorage, seattle, portland,
        sacramento, oakland, fresno, phoenix, tucson, denver, boulder, dallas, houston, austin, tulsa,
        omaha, chicago, detroit, cleveland, pittsburgh, boston, albany, buffalo, baltimore, richmond,
        charlotte, savannah, atlanta, miami, tampa, orlando, memphis, nashville, louisville, minneapolis,
        milwaukee, toronto, montreal, ottawa, calgary, vancouver, winnipeg, halifax, havana, kingston,
        bogota, medellin, quito, guayaquil, lima, cusco, la paz, santiago, valparaiso, montevideo,
        asuncion, rosario, cordoba, mendoza, brasilia, recife, salvador, fortaleza, manaus, curitiba,
        reykjavik, tromso, bergen, uppsala, malmo, aarhus, hamburg, munich, cologne, leipzig, dresden,
        stuttgart, bremen, lyon, marseille, toulouse, bordeaux, nantes, lille, seville, valencia, granada,
        bilbao, porto, coimbra, leeds, bristol, norwich, plymouth, york, bath, nice, cork, split, bern"""),
    "place": _words("""
        new, north, south, east, west, saint, port, fort, lake, upper, lower, mount, great, san, santa, el"""),
    "town": _words("""
        ashford, bramley, colville, denholm, elmhurst, fairview, glenmore, harlow, ironwood, jamestown,
        kelvin, linden, marlow, newbury, oakdale, pinehurst, queensbury, rockport, stanton, tilbury,
        ulverston, vernon, westbrook, yarrow, arden, bedford, clifton, dunbar, ellery, farnham, granby,
        hollis, inverness, kirkby, lorain, melrose, norden, orford, prestwick, redhill, sherwood, tremont,
        wickham, barstow, camden, drayton, everton, florian, gavarre, hartwell, isidro, jericho, lucia,
        mateo, nazaire, pascual, rafaela, tomas, ursin, vigo, adrian, bernard, celeste, damian"""),
    "food": _words("""
        milk, bread, eggs, butter, cheese, yogurt, rice, pasta, flour, sugar, salt, pepper, onions, garlic,
        tomatoes, potatoes, carrots, celery, spinach, lettuce, cucumbers, zucchini, mushrooms, broccoli,
        cauliflower, cabbage, peas, beans, lentils, chickpeas, corn, avocados, lemons, limes, oranges,
        apples, bananas, grapes, strawberries, blueberries, raspberries, cherries, peaches, plums, pears,
        mangoes, pineapple, melon, kiwis, figs, dates, raisins, almonds, walnuts, cashews, peanuts,
        pistachios, oatmeal, cereal, granola, honey, jam, syrup, ketchup, mustard, mayonnaise, vinegar,
        olives, pickles, tofu, salmon, tuna, shrimp, chicken, turkey, bacon, sausages, ham, noodles,
        tortillas, bagels, croissants, muffins, cookies, crackers, pretzels, popcorn, chocolate, vanilla,
        cinnamon, paprika, cumin, basil, oregano, parsley, rosemary, thyme, ginger, turmeric, coffee, tea,
        juice, lemonade, soda, wine, beer, cider, hummus, salsa, dumplings, waffles, pancakes, lasagna,
        soup, stew, radishes, beets, turnips, leeks, asparagus, eggplant, artichokes, papaya, apricots,
        coconut, quinoa, couscous, barley, mozzarella, parmesan, feta, anchovies, sardines, crab, kale"""),
    "goods": _words("""
        batteries, candles, napkins, toothpaste, shampoo, sponges, detergent, envelopes, stamps, pencils,
        notebooks, scissors, matches, lightbulbs, bandages, sunscreen, tissues, towels, socks, gloves,
        slippers, sweaters, raincoats, sandals, sunglasses, passports, tickets, chargers, headphones,
        adapters, blankets, pillows, curtains, hangers, buckets, brooms, nails, screws, hammers, ladders,
        paint, brushes, ribbons, balloons, postcards, magazines, crayons, marbles, puzzles, umbrellas,
        backpacks, binoculars, flashlights, tents, ropes, firewood, charcoal, fertilizer, seeds, shovels,
        flowerpots, birdseed, leashes, kibble, diapers, wipes, bibs, vitamins, aspirin, razors, combs,
        lipstick, perfume, soap, lotion, thread, buttons, zippers, fabric, yarn, glue, tape, markers"""),
    "quality": _words("""
        fresh, organic, frozen, cheap, large, small, green, red, spicy, sweet, sour, dried, canned,
        italian, french, japanese, local, new, spare, extra, plain, dark, white, mixed, unsalted, smoked,
        roasted, pickled, vegan, imported, colorful, soft, waterproof, striped, folding, travel"""),
    "thing": _words("""
        laundry, dishwasher, package, prescription, library books, rental car, garage, bathroom, fridge,
        oven, printer, passport, license, insurance, contract, invoice, report, presentation, homework,
        tax return, rent, mortgage, electric bill, phone bill, plants, lawn, hedge, roses, cat, dog,
        goldfish, hamster, rabbit, bicycle, tires, brakes, windshield, chimney, gutters, roof, fence,
        mailbox, suitcase, wardrobe, bookshelf, carpet, sofa, piano, violin, guitar, camera, laptop,
        router, password, calendar, newsletter, website, backup, thermostat, furnace, boiler, filter,
        smoke detector, faucet, sink, bathtub, tablecloth, cake, turkey, costume, present, invitation,
        balloons, tickets, visa, luggage, keys, wallet, umbrella, jacket, tuxedo, dress, shoes, glasses,
        microscope, telescope, helmet, canoe, tent, stroller, crib, aquarium, greenhouse, compost,
        sprinkler, doorbell, freezer, blender, toaster, kettle, lamp, mirror, clock, antenna, curtains"""),
    "person": _words("""
        dentist, doctor, plumber, electrician, landlord, accountant, lawyer, teacher, coach, neighbor,
        babysitter, gardener, mechanic, barber, tailor, baker, florist, veterinarian, pharmacist, banker,
        librarian, therapist, optician, surgeon, nurse, architect, contractor, caterer, photographer,
        manager, recruiter, professor, tutor, principal, pastor, carpenter, locksmith, roofer, cleaner,
        chimney sweep, piano tuner, travel agent, insurance broker, supervisor, secretary, treasurer"""),
    "event": _words("""
        yoga, pilates, karate, choir, rehearsal, football, tennis, swimming, chess, ballet, band, church,
        graduation, wedding, funeral, birthday, picnic, barbecue, breakfast, brunch, lunch, dinner,
        interview, meeting, webinar, conference, seminar, lecture, exam, workshop, training, hiking,
        fishing, sailing, skiing, surfing, climbing, running, cycling, bowling, darts, poker, bingo,
        pottery, painting, knitting, gardening, cooking, baking, shopping, cleaning, ironing, meditation,
        medicine, insulin, physiotherapy, checkup, haircut, manicure, massage, sauna, carpool, flight,
        ferry, commute, parade, concert, festival, marathon, auction, hackathon, debate, fencing,
        archery, rowing, badminton, volleyball, gymnastics, wrestling, judo, rugby, cricket, hockey"""),
    "occasion": _words("""
        class, practice, lesson, club, session, party, appointment, day, night, group, course, camp"""),
    "relation": _words("""
        mom, dad, grandma, grandpa, aunt, uncle, cousin, boss, coach, nanny, professor, doctor, sister,
        brother, landlord, roommate, captain, nurse, pastor, godmother, granny, nephew, niece, papa"""),
    "eatery": _words("""
        bistro, tavern, grill, diner, kitchen, cafe, trattoria, brasserie, steakhouse, pizzeria, cantina,
        teahouse, bakery, pub, brewery, smokehouse, noodle bar, oyster bar, curry house, sushi bar,
        taqueria, canteen, rotisserie, creperie, buffet, inn, chophouse, gastropub, deli, parlor"""),
    "zone": _words("""
        bedroom, bathroom, office, studio, hallway, closet, playroom, nursery, workshop, garage, attic,
        basement, balcony, porch, patio, pantry, den, library, kitchen, lounge, cellar, laundry room,
        dining room, living room, guest room, sunroom, staircase, terrace, conservatory, greenhouse"""),
    "where": _words("""
        upstairs, downstairs, back, front, main, guest, small, large, left, right, upper, lower, second,
        inner, outer, east, west, north, south, spare, old, new, blue, corner, master, family, rear"""),
    "state": _words("""
        broken, ready, locked, missing, fixed, dirty, clean, late, expensive, empty, full, wet, frozen,
        leaking, cancelled, finished, delivered, stuck, open, gone, repaired, ruined, packed, hot, cold,
        perfect, delicious, sold, unplugged, charged, paid, signed, lost, awesome, noisy, fragile"""),
}

OPEN: dict[str, tuple[str, ...]] = {
    "artist": (
        "{first} {last}",
        "{first} {last}",
        "{last}",
        "the {adjective} {noun}s",
        "{adjective} {noun}",
        "{first} and the {noun}s",
    ),
    "song": (
        "{adjective} {noun}",
        "{noun} and {noun}",
        "my {adjective} {noun}",
        "{first}",
        "the {noun} song",
        "{noun}",
        "dear {first}",
    ),
    "city": ("{city}", "{city}", "{city}", "{place} {town}", "{town}"),
    "item": ("{food}", "{goods}", "{quality} {food}", "{quality} {goods}", "{food} and {goods}", "{food} and {food}"),
    "label": ("{food}", "{quality} {food}", "{event}", "{thing}"),
    "event": ("{event}", "{event} {occasion}", "{first}'s {event}"),
    "contact": ("{first}", "{first}", "{first} {last}", "{relation}", "{relation} {first}"),
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
        "{last} and {last}",
        "the {noun} {eatery}",
        "{adjective} {food}",
        "casa {first}",
    ),
    "room": ("{zone}", "{where} {zone}", "{first}'s {zone}", "{where} {zone}"),
    "movie": (
        "the {adjective} {noun}",
        "{noun} of the {noun}s",
        "the last {noun}",
        "{first} and the {noun}",
        "return of the {noun}",
        "{adjective} {noun}",
        "{first} {last}",
    ),
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
    ),
}

_HOURS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_MINUTES = ("ten", "fifteen", "twenty", "thirty", "forty five")
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
    "duration": (
        *(f"{n} minutes" for n in ("two", "three", "five", "six", "eight", *_MINUTES, "twenty five")),
        *(f"{n} seconds" for n in ("ten", "twenty", "thirty", "ninety")),
        "one hour",
        "two hours",
        "three hours",
        "an hour",
        "half an hour",
        "90 minutes",
        "15 minutes",
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
    "level": ("ten percent", "twenty percent", "thirty percent", "fifty percent", "eighty percent", "full brightness"),
}


def is_held_out(word: str) -> bool:
    """Say whether a word of `WORDS` is kept out of every training value, by a stable checksum."""
    return zlib.crc32(word.encode("utf-8")) % HELD_OUT_ONE_IN == 0


@functools.cache
def entries(name: str, held_out: bool) -> tuple[str, ...]:
    """The entries of the word list `name` on one side of the split. Raises KeyError for no such list."""
    return tuple(word for word in WORDS[name] if is_held_out(word) == held_out)


@functools.cache
def _blanks(pattern: str) -> tuple[tuple[str, str | None], ...]:
    """The (fixed text, word list) pieces of a pattern."""
    return tuple((text, name) for text, name, _, _ in string.Formatter().parse(pattern))


def draw(slot: str, held_out: bool, rng: random.Random) -> str:
    """Draw one value for a slot; held-out words fill an open slot throughout where `held_out`.

    Raises KeyError for a slot that neither `OPEN` nor `CLOSED` has.
    """
    if slot in CLOSED:
        return rng.choice(CLOSED[slot])
    pieces = _blanks(rng.choice(OPEN[slot]))
    return "".join(text + (rng.choice(entries(name, held_out)) if name else "") for text, name in pieces)
