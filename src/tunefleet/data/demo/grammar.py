"""Demo grammar: the intents of the assistant, and the sentences in which a user asks for them.

A template is a sentence with `{slot}` blanks and `(this|that)` choices, which may be empty. `TEMPLATES`
serve training, `HELD_OUT_TEMPLATES` only the split `unseen_templates`. `SLOT_ORDER` fixes the order of
the slots in the JSON. No template is ambiguous: what marks a slot's kind is a word beside it.
"""

from __future__ import annotations

import itertools
import re

_REQUEST = "(|please |can you |could you |i want you to )"

SLOT_ORDER: dict[str, tuple[str, ...]] = {
    "play_music": ("song", "artist", "device"),
    "get_weather": ("condition", "feel", "city", "day"),
    "set_alarm": ("time", "day", "event"),
    "set_reminder": ("task", "time", "day"),
    "add_to_list": ("item", "list"),
    "send_message": ("contact", "text"),
    "book_restaurant": ("restaurant", "people", "time", "day", "city"),
    "control_light": ("room", "state", "color", "level"),
}

TEMPLATES: dict[str, tuple[str, ...]] = {
    "play_music": (
        "<ask>(play|put on) something by {artist}",
        "<ask>(play|put on) something by {artist} on the {device}",
        "<ask>play (some|any) music by {artist}(| now| please)",
        "<ask>(play|start) the song {song}",
        "<ask>(play|start) the song {song} on the {device}",
        "<ask>(play|put on) {song} by {artist}",
        "<ask>(play|put on) {song} by {artist} on the {device}",
        "<ask>play the song {song} by {artist}",
        "on the {device} play {song} by {artist}",
        "i (want|would like) to hear {song} by {artist}",
        "i (want|would like) to hear something by {artist} on the {device}",
        "let me hear the (song|track) {song}",
        "start {song} by {artist} on the {device}(| please)",
        "i am in the mood for music by {artist}",
        "<ask>(shuffle|queue) songs by {artist} on the {device}",
        "<ask>queue the track {song} on the {device}",
    ),
    "get_weather": (
        "what is the weather (in|like in) {city}",
        "what is the weather (in|like in) {city} {day}",
        "what will the weather be like in {city} {day}",
        "will it {condition} in {city} {day}",
        "will it {condition} in {city}",
        "is it going to {condition} in {city} {day}",
        "is it {feel} in {city}( right now|)",
        "will it be {feel} in {city} {day}",
        "how is the weather in {city}( right now|)",
        "(show|tell) me the (weather|forecast) for {city}",
        "(show|tell) me the (weather|forecast) for {city} {day}",
        "weather (in|for) {city} {day}(| please)",
        "how {feel} will it be in {city} {day}",
        "does it {condition} in {city} {day}",
        "do i need a coat in {city} {day}",
        "i am going to {city} {day} will it {condition}",
    ),
    "set_alarm": (
        "<ask>set an alarm for {time}",
        "<ask>set an alarm for {time} {day}",
        "<ask>set an alarm for {event} at {time}",
        "<ask>set (an|my) alarm at {time} for {event}",
        "<ask>wake me (up |){day} at {time}",
        "<ask>wake me (up |)at {time} for {event}",
        "<ask>wake me (up |)at {time} {day} for {event}",
        "i (need|have) to get up at {time} {day}",
        "i (need|have) to get up at {time} for {event}",
        "set the {event} alarm for {time}(| please)",
        "set the {event} alarm for {time} {day}",
        "alarm at {time} {day}(| please)",
        "i need an alarm for {event} at {time} {day}",
        "make sure i am awake at {time} for {event}",
        "new alarm for {event} {day} at {time}",
        "<ask>get me up {day} at {time} for {event}",
    ),
    "set_reminder": (
        "<ask>remind me to {task}",
        "<ask>remind me to {task} {day}",
        "<ask>remind me to {task} at {time}",
        "<ask>remind me to {task} {day} at {time}",
        "<ask>remind me {day} to {task}",
        "<ask>remind me at {time} to {task}",
        "<ask>set a reminder to {task} {day}",
        "<ask>set a reminder at {time} to {task}",
        "do not let me forget to {task}",
        "do not let me forget to {task} {day}",
        "i (need|have) to {task} {day} at {time} remind me",
        "i must not forget to {task} at {time}",
        "(add|create) a reminder for {day} to {task}",
        "new reminder to {task} at {time}(| please)",
        "reminder for {day} at {time} to {task}",
        "<ask>make a note to {task} {day}",
    ),
    "add_to_list": (
        "<ask>add {item} to (my|the) {list} list",
        "<ask>put {item} on (my|the) {list} list",
        "<ask>(add|write) {item} to the list for {list}",
        "(my|the) {list} list needs {item}",
        "(my|the) {list} list should have {item}",
        "<ask>write {item} on (my|the) {list} list",
        "we need {item} on the {list} list",
        "we are out of {item} add it to the {list} list",
        "i need {item} put it on my {list} list",
        "on my {list} list put {item}",
        "to the {list} list add {item}(| please)",
        "<ask>include {item} in my {list} list",
        "<ask>note {item} on my {list} list",
        "{item} should go on the {list} list",
        "{item} goes on my {list} list(| please)",
        "<ask>update my {list} list with {item}",
    ),
    "send_message": (
        "<ask>(tell|text|message) {contact} that {text}",
        "<ask>(tell|text) {contact} {text}",
        "<ask>send {contact} a message that {text}",
        "<ask>send a (message|text) to {contact} saying {text}",
        "<ask>send a (message|text) to {contact} that says {text}",
        "<ask>let {contact} know that {text}",
        "<ask>let {contact} know {text}",
        "<ask>message {contact} saying {text}",
        "message to {contact} {text}",
        "new message for {contact} {text}",
        "write to {contact} that {text}",
        "write {contact} a message saying {text}",
        "i want to tell {contact} that {text}",
        "<ask>text my friend {contact} that {text}",
        "<ask>reply to {contact} that {text}",
        "<ask>answer {contact} with {text}",
    ),
    "book_restaurant": (
        "<ask>(book|reserve) a table at {restaurant} for {people}",
        "<ask>(book|reserve) a table at {restaurant} for {people} people {day}",
        "<ask>(book|reserve) a table for {people} at {restaurant}",
        "<ask>(book|reserve) a table for {people} at {restaurant} in {city}",
        "<ask>(book|reserve) a table for {people} at {restaurant} {day} at {time}",
        "<ask>(book|get) us a table at {restaurant} {day}",
        "<ask>make a reservation at {restaurant} for {people} people",
        "<ask>make a reservation at {restaurant} in {city} for {people}",
        "i (want|would like) to eat at {restaurant} {day}",
        "i (want|would like) to eat at {restaurant} in {city} {day}",
        "i need a table for {people} at {restaurant} at {time}",
        "table for {people} at {restaurant} {day}(| please)",
        "we are {people} people and want to eat at {restaurant}",
        "reservation for {people} at {restaurant} at {time}",
        "<ask>reserve {restaurant} for {people} people at {time}",
        "<ask>get a table at {restaurant} for {people} at {time} {day}",
    ),
    "control_light": (
        "<ask>turn {state} the (light|lights|lamp) in the {room}",
        "<ask>turn the {room} (light|lights|lamp) {state}",
        "<ask>switch {state} the {room} (light|lights|lamp)",
        "<ask>switch the (light|lights) in the {room} {state}",
        "<ask>(set|change|turn) the {room} (light|lights|lamp) to {color}",
        "<ask>(set|change) the (light|lights) in the {room} to {color}",
        "<ask>dim the {room} (light|lights|lamp) to {level}",
        "<ask>dim the (light|lights) in the {room} to {level}",
        "<ask>make the {room} (light|lights) {color}",
        "<ask>make the (light|lights) in the {room} {color}",
        "{room} lights {state}(| please)",
        "lights {state} in the {room}(| please)",
        "in the {room} turn the (light|lights) {state}",
        "i want {color} (light|lights) in the {room}",
        "<ask>set the brightness in the {room} to {level}",
        "the lights in the {room} should be {state}",
    ),
}

HELD_OUT_TEMPLATES: dict[str, tuple[str, ...]] = {
    "play_music": (
        "<ask>start something by {artist} on the {device}",
        "i want to hear the song {song} on the {device}",
        "put on the song {song} by {artist}(| please)",
        "let me hear {song} by {artist} on the {device}",
    ),
    "get_weather": (
        "what is the forecast for {city} {day}",
        "tell me how the weather will be in {city} {day}",
        "is it going to be {feel} in {city} {day}",
        "do you think it will {condition} in {city} {day}",
    ),
    "set_alarm": (
        "<ask>set an alarm {day} at {time} for {event}",
        "i need to wake up at {time} for {event}",
        "alarm for {event} at {time}(| please)",
        "i have {event} {day} wake me up at {time}",
    ),
    "set_reminder": (
        "<ask>set a reminder for {day} at {time} to {task}",
        "<ask>remind me at {time} {day} to {task}",
        "i need a reminder to {task} {day}",
        "i have to {task} at {time} do not let me forget",
    ),
    "add_to_list": (
        "i want {item} on my {list} list",
        "add to my {list} list {item}",
        "we need {item} add it to the {list} list",
        "<ask>make sure {item} is on the {list} list",
    ),
    "send_message": (
        "<ask>send {contact} a text saying {text}",
        "<ask>write a message to {contact} that says {text}",
        "text to {contact} {text}",
        "let my friend {contact} know that {text}",
    ),
    "book_restaurant": (
        "<ask>get us a table for {people} at {restaurant} {day}",
        "we would like to eat at {restaurant} {day} at {time}",
        "<ask>make a reservation for {people} at {restaurant} at {time}",
        "i want a table at {restaurant} in {city} for {people} people",
    ),
    "control_light": (
        "<ask>turn the lamp in the {room} {state}",
        "<ask>change the color of the {room} lights to {color}",
        "<ask>set the {room} lights to {level}",
        "the {room} light should be {color}",
    ),
}

_CHOICE = re.compile(r"\(([^()]*)\)")
_SLOT = re.compile(r"\{(\w+)\}")


def expand(template: str) -> list[str]:
    """List every sentence pattern of a template: all choices made, only `{slot}` blanks left."""
    pieces = _CHOICE.split(template.replace("<ask>", _REQUEST))
    choices = [piece.split("|") if index % 2 else [piece] for index, piece in enumerate(pieces)]
    return [" ".join("".join(parts).split()) for parts in itertools.product(*choices)]


def slots_of(pattern: str) -> tuple[str, ...]:
    """Name the blanks of a sentence pattern in the order in which they are spoken."""
    return tuple(_SLOT.findall(pattern))
