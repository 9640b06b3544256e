"""Problems made from templates."""

import random

from paribus.data.wordproblems import NAMES

BEGUN = (
    "On the way home {a}", "After lunch {a}", "Every day of the week {b}", "Before the party {a}",
    "Together with her brother {b}", "To make some more money {a}", "At the end of the year {b}",
    "If it does not rain {a}", "As he had nothing else to do {b}", "With the help of {b} {a}",
    "Last summer in the {p} {a}", "While her mother was at work {b}", "Since it was on sale {a}",
    "Two hours later {b}", "In the first half of the game {a}", "For his birthday {b}",
)  # fmt: skip
MIDDLE = (
    "bought {n} of the {t} for ${m} each", "gave away a third of all {n} {t}",
    "walked {n} miles to the {p} and back", "has to wait for {n} minutes in front of the {p}",
    "puts {n} {t} into each of {m} boxes", "was paid ${m} an hour for {n} hours of work",
    "sells {n} packs of {t} which cost him ${m}", "eats one out of {n} {t} from the table",
    "finds that {m} percent of the {t} are broken", "drove to the {p} at {n} miles per hour",
    "reads {n} pages more than the night before", "cuts the {t} into {n} pieces of the same size",
    "needs {n} cups of sugar for every {m} {t}", "saves ${n} a week instead of ${m}",
    "fills {n} of the {m} empty jars with {t}", "counted {n} people who were older than {m}",
)  # fmt: skip
ENDED = (
    "and then lost half of them.", "but kept the rest for herself.", "which is as many as {b}.",
    "until there was nothing left.", "so that both had the same.", "without telling anyone.",
    "and did it again on each of the next {m} days.", "because the {p} was closed by then.",
    "than she had thought it would be.", "when all of their friends had gone.",
    "and that took {n} minutes more.", "as well as a few old ones.", "for the whole class.",
    "where they met {b} and her sister.", "out of which {n} were for the {p}.", "in a day.",
)  # fmt: skip
ASKED = (
    "How many {t} are there in total?",
    "How much money does {a} have left?",
    "How long will it take them altogether?",
    "What is the cost of all the {t} together?",
    "How many more {t} does {b} need?",
)
THINGS = ("apples", "pens", "marbles", "red shirts", "tickets", "cookies", "old coins", "flowers")
PLACES = ("park", "market", "farm", "school library", "garden", "station", "museum", "office")


Template = tuple[str, ...]


def templates(rng: random.Random, count: int) -> list[Template]:
    """Texts of four sentences, of which any two have a few parts in common."""
    return [
        (*(part for _ in range(3) for part in map(rng.choice, (BEGUN, MIDDLE, ENDED))),
         rng.choice(ASKED))
        for _ in range(count)
    ]  # fmt: skip


def instance(rng: random.Random, template: Template) -> str:
    a, b = rng.sample(NAMES, 2)
    t, p = rng.choice(THINGS), rng.choice(PLACES)
    return " ".join(
        each.format(a=a, b=b, t=t, p=p, n=rng.randint(2, 99), m=rng.randint(2, 999))
        for each in template
    )


def of_templates(seed: int, count: int, each: int) -> tuple[list[str], list[int]]:
    """`each` problems of `count` templates, shuffled, and the template of each problem."""
    rng = random.Random(seed)
    made = [
        (instance(rng, template), number)
        for number, template in enumerate(templates(rng, count))
        for _ in range(each)
    ]
    rng.shuffle(made)
    return [text for text, _ in made], [number for _, number in made]
