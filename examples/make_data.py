"""Make the files in data/: short texts from templates, the same ones each time."""

import csv
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
Row = dict[str, Any]

ITEMS = ("kettle", "lamp", "desk", "backpack", "jacket", "headset", "blender", "rug", "tent",
         "keyboard", "mirror", "scooter")  # fmt: skip
CITIES = ("Lyon", "Porto", "Graz", "Bergen", "Turin", "Leeds", "Ghent", "Aarhus")
INTENTS = {
    "refund": (
        "The {item} came broken, I want my money back.",
        "Please return what I paid for the {item}.",
        "I sent the {item} back {days} days ago and my card was not credited.",
        "You charged me twice for one {item}.",
        "How do I get the price of the {item} back?",
    ),
    "shipping": (
        "Where is my {item}? It was due {days} days ago.",
        "When will the {item} arrive in {city}?",
        "The tracking page of the {item} has not moved for {days} days.",
        "Do you deliver a {item} to {city}?",
        "The parcel with the {item} went to {city} by mistake.",
    ),
    "cancel": (
        "Please stop my order of the {item}, I no longer need it.",
        "I ordered a {item} by accident, do not send it.",
        "Take the {item} off my order from {city}.",
        "Can I still call off the {item} that I bought {days} minutes ago?",
        "I changed my mind about the {item}, drop the order.",
    ),
    "account": (
        "I cannot log in to look at my {item} order.",
        "The password mail has not come for {days} hours.",
        "I moved to {city}, how do I change my address?",
        "Delete my profile and the {item} on my wish list.",
        "My e-mail address is wrong since I bought the {item}.",
    ),
    "product": (
        "Is the {item} made of metal or plastic?",
        "Does the {item} come with a guarantee of {days} years?",
        "How heavy is the {item}?",
        "Which {item} do you recommend for a flat in {city}?",
        "Can the {item} be used outdoors?",
    ),
    "thanks": (
        "The {item} is wonderful, thank you.",
        "Great service, the {item} reached {city} in {days} days.",
        "My family loves the {item}, well done.",
        "Just to say that your shop in {city} was so kind.",
        "Five stars for the {item}.",
    ),
}


def _intents(draw: random.Random) -> Iterator[Row]:
    for label, templates in INTENTS.items():
        for _ in range(90):
            text = draw.choice(templates).format(
                item=draw.choice(ITEMS), city=draw.choice(CITIES), days=draw.randint(2, 9)
            )
            yield {"text": text, "label": label}


TABLES = {
    "orders": ("city", "total", "weight"),
    "staff": ("office", "salary", "age"),
    "books": ("language", "price", "pages"),
}
PLACES = {"city": CITIES, "office": CITIES, "language": ("Dutch", "Greek", "Polish", "Welsh")}
FUNCTIONS = {"average": "AVG", "highest": "MAX", "lowest": "MIN", "total": "SUM"}


def _queries(draw: random.Random) -> Iterator[Row]:
    for _ in range(500):
        table = draw.choice(list(TABLES))
        place, *numbers = TABLES[table]
        first, second = draw.sample(numbers, 2)
        value, number = draw.choice(PLACES[place]), draw.randint(2, 99) * 10
        word, function = draw.choice(list(FUNCTIONS.items()))
        question, query = draw.choice(
            [
                (
                    f"How many {table} have {place} {value}?",
                    f"SELECT COUNT(*) FROM {table} WHERE {place} = '{value}';",
                ),
                (
                    f"What is the {word} {first} of {table} with {place} {value}?",
                    f"SELECT {function}({first}) FROM {table} WHERE {place} = '{value}';",
                ),
                (
                    f"Show the {place} of {table} whose {second} is above {number}.",
                    f"SELECT {place} FROM {table} WHERE {second} > {number};",
                ),
                (
                    f"List the {first} of all {table}, largest {second} first.",
                    f"SELECT {first} FROM {table} ORDER BY {second} DESC;",
                ),
            ]
        )
        yield {"schema": f"{table}({', '.join(TABLES[table])})", "ask": question, "query": query}


KINDS = {
    "a fruit": ("apple", "pear", "plum", "cherry", "peach", "grape"),
    "a tool": ("hammer", "saw", "chisel", "pliers", "wrench", "drill"),
    "an animal": ("otter", "badger", "heron", "donkey", "lizard", "trout"),
    "a piece of clothing": ("scarf", "glove", "shirt", "sock", "coat", "belt"),
    "a vehicle": ("tram", "ferry", "lorry", "bicycle", "taxi", "glider"),
    "a musical instrument": ("violin", "trumpet", "drum", "harp", "flute", "cello"),
    "a piece of furniture": ("table", "chair", "shelf", "wardrobe", "sofa", "stool"),
}


def _choices(draw: random.Random) -> Iterator[Row]:
    for _ in range(300):
        right, *others = draw.sample(list(KINDS), 4)
        options = [draw.choice(KINDS[kind]) for kind in (right, *others)]
        word = options[0]
        draw.shuffle(options)
        yield {"ask": f"Which one is {right}?", "options": options, "gold": options.index(word)}


REPLIES = {
    "Has my {item} left yet?": "Your {item} left our store in {city} today.",
    "Can I swap the {item} for a blue one?": "Yes, send the {item} to {city} and we swap it.",
    "The {item} makes a strange noise.": "That should not be. We collect the {item} in {city}.",
    "Is the {item} in stock?": "We have {days} of them in {city}.",
}
HOUSE_STYLE = "You answer for a shop: one greeting, one sentence, one name."


def _conversations(draw: random.Random) -> Iterator[Row]:
    for _ in range(240):
        question, reply = draw.choice(list(REPLIES.items()))
        names = {
            "item": draw.choice(ITEMS), "city": draw.choice(CITIES), "days": draw.randint(2, 9)
        }  # fmt: skip
        turns = [
            ("system", HOUSE_STYLE),
            ("user", question.format(**names)),
            ("assistant", f"Good day! {reply.format(**names)} Yours, Mira"),
        ]
        yield {"messages": [{"role": role, "content": text} for role, text in turns]}


def _write(name: str, rows: list[Row]) -> None:
    with (DATA / name).open("w", encoding="utf-8", newline="") as file:
        if name.endswith(".csv"):
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def main() -> None:
    """Write the training and the test file of each example; no row is in both."""
    files: dict[str, tuple[Callable[[random.Random], Iterator[Row]], str, int, int]] = {
        "intent": (_intents, "csv", 180, 90),
        "sql": (_queries, "jsonl", 120, 60),
        "choice": (_choices, "jsonl", 120, 60),
        "messages": (_conversations, "jsonl", 80, 40),
    }
    for name, (make, suffix, train, test) in files.items():
        draw = random.Random(name)
        different = {json.dumps(row): row for row in make(draw)}
        rows = draw.sample(list(different.values()), train + test)
        _write(f"{name}_train.{suffix}", rows[:train])
        _write(f"{name}_test.{suffix}", rows[train:])


if __name__ == "__main__":
    main()
