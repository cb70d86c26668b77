"""Write the example files of the tasks page: `python docs/examples/write.py`.

The sentences follow a few patterns, so that a model as small as the embedded one learns them in a minute. They were
written for these files.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
Row = dict[str, Any]

PEOPLE = [
    "Anna",
    "Mary",
    "Peter",
    "John",
    "Clara",
    "Henry",
    "Emma",
    "Walter",
    "Ruth",
    "George",
    "Alice",
    "Thomas",
    "Helen",
    "Robert",
    "Jane",
    "Martin",
]
TOWNS = [
    "London",
    "Paris",
    "Oslo",
    "Rome",
    "Vienna",
    "Boston",
    "Bergen",
    "Madrid",
    "Dublin",
    "Geneva",
    "Lisbon",
    "Prague",
]
FIRMS = [
    "Hill Bank",
    "Marsh Press",
    "Stone Works",
    "Lake Hotel",
    "Wood School",
    "Brook Mill",
    "Moor Hospital",
    "Field College",
]
SENTENCES = (
    "PER lives in LOC .", "PER works for ORG in LOC .", "In LOC , PER met PER .", "ORG is in LOC .",
    "PER wrote a letter to ORG .", "Yesterday PER left LOC for LOC .", "The house in LOC belongs to PER .",
    "PER said that ORG would close .", "It rained in LOC all day .", "The old clock has stopped again .",
    "She asked PER to come to LOC .", "ORG has sold its house in LOC .",
)  # fmt: skip

THINGS = [
    "door",
    "window",
    "box",
    "letter",
    "gate",
    "garden",
    "book",
    "lamp",
    "boat",
    "cake",
    "clock",
    "map",
    "bridge",
    "table",
    "shop",
]
DEEDS = {
    "opened": "open", "closed": "close", "painted": "paint", "found": "find", "sold": "sell", "bought": "buy",
    "broke": "break", "lost": "lose", "repaired": "repair", "cleaned": "clean",
}  # fmt: skip
TIMES = [
    "on Monday",
    "on Friday",
    "in the morning",
    "in the evening",
    "last week",
    "at noon",
    "after supper",
    "before school",
]

REMARKS = (
    "It was a quiet day.", "Nobody said a word.", "The sun was shining.", "That was hard work.",
    "The children laughed.",
    "It did not take long.",
)  # fmt: skip

# What has happened, and what people do then.
STORIES = (
    ("It began to rain.", "Dark clouds covered the sky, and the first drops fell.", "Water ran down the windows.",
     "She opened her umbrella.", "He put on his raincoat.", "They ran inside to stay dry."),
    ("He had eaten nothing all day.", "She was very hungry.", "Dinner was late.",
     "She made some bread and soup.", "He ate two apples at once.", "They sat down at the table to eat."),
    ("She had worked all night.", "He could hardly keep his eyes open.", "The child was very tired.",
     "She went to bed early.", "He fell asleep in his chair.", "They slept until noon."),
    ("A letter came for Mary.", "The postman stood at the gate.", "He found an envelope on the table.",
     "She read it twice.", "He wrote an answer.", "They looked at the stamp."),
    ("The child had a fever.", "She felt ill.", "He coughed and coughed.",
     "They sent for the doctor.", "She stayed in bed.", "He took some medicine."),
    ("The band began to play.", "Music came from the hall.", "She sat down at the piano.",
     "They danced until midnight.", "He sang a song.", "Everyone listened to the tune."),
)  # fmt: skip

# What people look for, and what the documents say.
TOPICS = (
    ("how to bake bread", "the best flour for a loaf", "why dough does not rise", "an oven for bread",
     "Mix flour, water and salt, and let the dough rest.", "A loaf needs a hot oven.", "Yeast makes bread rise.",
     "The baker kneads the dough every morning."),
    ("how to repair a bicycle", "a flat tyre", "the chain of my bicycle is loose", "wheels and brakes",
     "Pump up the tyre and look for the hole.", "Oil the chain of your bicycle once a month.",
     "The brakes must not touch the wheel.", "A new wheel costs less than a new bicycle."),
    ("when to plant roses", "flowers for a small garden", "how to water a garden", "seeds for the spring",
     "Roses are planted in autumn.", "Water the flowers in the evening.", "Sow the seeds in good earth.",
     "A garden needs sun and rain."),
    ("how to train a dog", "food for a puppy", "my dog barks at night", "walks with a dog",
     "A puppy eats four times a day.", "Walk with the dog every morning.", "A dog that barks is often alone.",
     "Teach the dog one word at a time."),
)  # fmt: skip


def write_tagging(draw: random.Random) -> Iterator[Row]:
    """Yield sentences of words, each word with its label."""
    names = {"PER": PEOPLE, "LOC": TOWNS, "ORG": FIRMS}
    for number in range(240):
        tokens: list[str] = []
        labels: list[str] = []
        for word in SENTENCES[number % len(SENTENCES)].split():
            parts = draw.choice(names[word]).split() if word in names else [word]
            tokens += parts
            labels += [f"B-{word}", f"I-{word}"][: len(parts)] if word in names else ["O"]
        yield {"tokens": tokens, "labels": labels}


def write_answering(draw: random.Random) -> Iterator[Row]:
    """Yield questions, each with a context and the answer in it."""
    for number in range(240):
        person, thing, deed, time = (draw.choice(list(group)) for group in (PEOPLE, THINGS, DEEDS, TIMES))
        sentences = [f"{person} {deed} the {thing} {time}.", draw.choice(REMARKS)]
        question, answer = (
            (f"Who {deed} the {thing}?", person),
            (f"What did {person} {DEEDS[deed]}?", f"the {thing}"),
            (f"When did {person} {DEEDS[deed]} the {thing}?", time),
        )[number % 3]
        context = " ".join(sentences[:: draw.choice((1, -1))])
        answers = [{"text": answer, "answer_start": context.index(answer)}]
        yield {"question": question, "context": context, "answers": answers}


def write_choices(draw: random.Random) -> Iterator[Row]:
    """Yield stories, each with two endings of which one fits; the last ending of each first line is never used."""
    for _ in range(2):
        for story in STORIES:
            for place in range(9):
                if place == 2:
                    continue
                others = [other for other in STORIES if other is not story]
                endings = [draw.choice(draw.choice(others)[3:])]
                label = draw.randrange(2)
                endings.insert(label, story[3 + place % 3])
                yield {"context": story[place // 3], "choices": endings, "label": label}


def write_ranking(draw: random.Random) -> Iterator[Row]:
    """Yield pairs of a query and a document; the last document of each first query is never used."""
    for topic in TOPICS:
        for place in range(16):
            query, document = topic[place // 4], topic[4 + place % 4]
            if place == 3:
                continue
            yield {"text": query, "text_pair": document, "label": "relevant"}
            other = draw.choice([other for other in TOPICS if other is not topic])
            yield {"text": query, "text_pair": draw.choice(other[4:]), "label": "other"}


WRITERS = {
    "tagging.jsonl": write_tagging,
    "answering.jsonl": write_answering,
    "choices.jsonl": write_choices,
    "ranking.jsonl": write_ranking,
}


def build_files() -> dict[str, str]:
    """Return the content of each file by its name."""
    return {name: "".join(f"{json.dumps(row)}\n" for row in write(random.Random(1))) for name, write in WRITERS.items()}


if __name__ == "__main__":
    for name, content in build_files().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
