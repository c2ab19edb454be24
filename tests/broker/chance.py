"""Stories told by chance: the steps of ``BrokerLifetime``, weighted by hand.

Hypothesis looks for odd values and makes what it finds small, but of many rules it
tries few at a time, so that the rare meetings (a worker woken for one function that
takes a job of another, while a third sleeps) hardly happen. Here they happen all
the time. A story that fails is made small by leaving steps out, and printed as the
calls that tell it again.
"""

from __future__ import annotations

import random
from typing import Any

from tests.broker.lifetime import NAMES, BrokerLifetime
from tests.broker.mind import COMPLETE, DATA, EXCEPTION, FAIL, HIGH, LOW, NORMAL, STATUS, WARNING

#: A step: the method, and what it is called with.
Step = tuple[str, dict[str, Any]]

#: How often each thing happens, in a hundred and a bit.
WEIGHTS = {
    "submit_something_to_do": 25, "submit": 10, "worker_learns_and_sleeps": 14, "sleep": 10,
    "grab": 18, "finish": 12, "report": 3, "time_passes": 8, "can_do": 3, "cant_do": 3,
    "reset_abilities": 2, "leave": 3, "cancel": 2, "limit": 1, "drop_or_create": 1,
    "nothing_is_due_before_the_next_deadline": 1,
}  # fmt: skip


def make_story(chance: random.Random, length: int) -> list[Step]:
    """Rules, and then ``length`` steps."""
    rules = {
        "worker_wakeup": chance.choice([1, 1, 1, 0, 2, 3]),
        "wakeup_seconds": chance.choice([1.0, 1.0, 0.0]),
        "strict_order": chance.random() < 0.3,
        "job_retries": chance.choice([-1, -1, 0, 1, 2]),
        "fail_on_timeout": chance.random() < 0.2,
        "max_functions": chance.choice([0, 0, 0, 3]),
        "max_memory_bytes": chance.choice([0, 0, 0, 4000]),
        "alone_from": chance.choice([16, 16, 1, 1, 2]),
    }
    names = list(NAMES[: chance.choice([1, 2, 2, 3, 4])])
    slots = chance.choice([2, 3, 4, 6])
    # Where work is short workers sleep, where it is not nobody does: tell of both.
    work = chance.choice([0.3, 0.3, 0.6, 1.0])
    words = list(WEIGHTS)
    weights = [
        weight * work if word.startswith("submit") else weight for word, weight in WEIGHTS.items()
    ]
    story: list[Step] = [("begin", rules)]
    for word in chance.choices(words, weights, k=length):
        story.append((word, _details(word, chance, names, slots)))
    return story


def _details(word: str, chance: random.Random, names: list[bytes], slots: int) -> dict[str, Any]:
    slot, name = chance.randrange(slots), chance.choice(names)
    priority = chance.choice([NORMAL, NORMAL, HIGH, LOW])
    last = chance.random() < 0.7
    if word == "submit_something_to_do":
        return {"name": name, "priority": priority, "last": last}
    if word == "submit":
        return {
            "slot": slot, "name": name, "priority": priority, "last": last,
            "unique": chance.choice([b"", b"u", b"u", b"v", b"-", b"x" * 65]),
            "workload": chance.choice([b"", b"w", b"u"]),
            "background": chance.random() < 0.5,
            "delay": chance.choice([0, 0, 0, 1, 3, 10**15]),
        }  # fmt: skip
    if word == "worker_learns_and_sleeps":
        return {"slot": slot, "some": chance.sample(names, chance.randint(1, len(names)))}
    if word == "grab":
        return {"slot": slot, "often": chance.choice([1, 1, 1, 2, 4]), "last": last}
    if word == "finish":
        kind = chance.choice([COMPLETE, COMPLETE, FAIL, EXCEPTION])
        twice = chance.random() < 0.1
        choice = chance.randrange(8)
        return {"slot": slot, "choice": choice, "kind": kind, "twice": twice, "last": last}
    if word == "report":
        kind = chance.choice([DATA, WARNING, STATUS])
        return {"slot": slot, "choice": chance.randrange(8), "kind": kind}
    if word == "time_passes":
        return {"seconds": chance.choice([0.0, 0.5, 1.0, 1.0, 3.0]), "jump": 0}
    if word == "can_do":
        seconds = chance.choice([0.0, 0.0, 1.5, 4.0])
        return {"slot": slot, "name": name, "seconds": seconds, "last": last}
    if word == "cant_do":
        return {"slot": slot, "name": name, "last": last}
    if word == "reset_abilities":
        return {"slot": slot, "last": last}
    if word in ("sleep", "leave"):
        return {"slot": slot}
    if word == "cancel":
        return {"choice": chance.randrange(8)}
    if word == "limit":
        return {"name": name, "limits": (0, chance.randrange(4), 0)}
    if word == "drop_or_create":
        return {"name": name, "create": chance.random() < 0.3}
    return {}


def fault_of(story: list[Step]) -> str:
    """Play a story; what went wrong, or nothing."""
    life = BrokerLifetime()
    at = "begin"
    try:
        for word, details in story:
            at = word
            getattr(life, word)(**details)
        at = "teardown"
        life.teardown()
    except Exception as error:
        return f"{at}: {type(error).__name__}: {error}"
    return ""


def smallest(story: list[Step]) -> list[Step]:
    """The story without the steps that it fails without."""
    size = len(story) // 2
    while size:
        at = 1
        while at < len(story):
            shorter = story[:at] + story[at + size :]
            if fault_of(shorter):
                story = shorter
            else:
                at += size
        size //= 2
    return story


def tell(seed: int, length: int) -> None:
    """Tell the story of this seed.

    Raises:
        AssertionError: it does not end well; the text tells it as short as it can be.
    """
    story = make_story(random.Random(seed), length)
    if fault_of(story):
        short = smallest(story)
        lines = [f"life.{word}({_arguments(details)})" for word, details in short]
        text = "\n".join(["life = BrokerLifetime()", *lines, "life.teardown()"])
        raise AssertionError(f"story {seed} does not end well: {fault_of(short)}\n\n{text}")


def _arguments(details: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in details.items())
