"""What is said about single functions, in TOML or on the command line, as policies of the broker.

    [function."resize"]                         gearmand --policy 'resize attempts=5 backoff=1s'
    attempts = 5
    backoff = "1s"

The name is a function's, or a pattern with ``*`` and ``?``. Both ways end in the same
words, which are read here; ``settings_file.read_toml`` makes them of the tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from geartrain.broker.policies import (
    ALL_OUTCOMES,
    ALWAYS,
    INTERVAL,
    OFF,
    OUTCOME_NAMES,
    Policies,
    Policy,
)
from geartrain.server.kinds import COUNT, TIME, BadValue, read_kind

#: What may be said, and what it is for; the reference page is made of it.
KEYS: Final = {
    "attempts": "times a job is given out in all, -1 for ever; what follows needs it",
    "backoff": "pause before the second attempt; each further one is twice as long, and varies by"
    " half, so that jobs that failed together do not come back together (default: none)",
    "backoff-max": "longest pause (default: 5min, or the backoff if that is longer)",
    "on": "outcomes that count as attempts: worker-lost, timeout, fail, exception (default: all)."
    " The others go as without a policy: a lost worker's job is given out again, a failed one"
    " has failed",
    "dead": "yes: a background job that is given up goes to the dead set (default: no)",
    "durability": "with a --queue, a background submission is answered when its row is on the disk"
    " (always, the default), at once and written within the interval (interval), or at once and"
    " never written (off)",
    "interval": "with durability = interval: written after so long at the latest (default: 200ms)",
}

_DURABILITY: Final = {"always": ALWAYS, "interval": INTERVAL, "off": OFF}
_YES: Final = {"yes": True, "true": True, "no": False, "false": False}


def read_policies(texts: Sequence[str], source: str = "policy") -> Policies:
    """All that was said, as the broker knows it.

    Raises:
        BadValue: naming what was said, and what may be.
    """
    policies = Policies()
    for text in texts:
        name, said = _split(text, source)
        policies.set(name.encode("utf-8", "surrogateescape"), _policy(name, said, source))
    return policies


def _split(text: str, source: str) -> tuple[str, dict[str, str]]:
    name, rest = "", text.strip()
    if rest.startswith('"'):
        try:
            name, end = json.JSONDecoder().raw_decode(rest)
        except ValueError:
            raise BadValue(source, text, 'a name, in "quotes" if it holds spaces') from None
        rest = rest[end:]
    else:
        name, _, rest = rest.partition(" ")
    said: dict[str, str] = {}
    for word in rest.split():
        key, equals, value = word.partition("=")
        key = key.replace("_", "-")
        if not equals or key not in KEYS:
            raise BadValue(
                f"{source} for {name}", word, f"{', '.join(f'{key}=...' for key in KEYS)}"
            )
        said[key] = value
    if not name or "=" in name or not said:
        raise BadValue(source, text, "a function's name and KEY=VALUE, such as 'resize attempts=5'")
    return name, said


def _policy(name: str, said: Mapping[str, str], source: str) -> Policy:
    def where(key: str) -> str:
        return f"{source} for {name}: {key}"

    def choice(key: str, choices: Mapping[str, int]) -> int:
        if said[key] not in choices:
            raise BadValue(where(key), said[key], " or ".join(choices))
        return choices[said[key]]

    policy = Policy()
    attempts = 0
    covers = ALL_OUTCOMES
    backoff, backoff_max = policy.backoff, policy.backoff_max
    dead = False
    if "attempts" in said:
        attempts = int(read_kind(where("attempts"), said["attempts"], COUNT, -1, 2**31 - 1))
        if attempts == 0:
            raise BadValue(where("attempts"), 0, "1 or more, or -1 for ever")
    else:
        for key in ("backoff", "backoff-max", "on", "dead"):
            if key in said and said[key] not in ("no", "false"):
                raise BadValue(
                    where(key), said[key], "attempts with it: how often a job is tried in all"
                )
    if "backoff" in said:
        backoff = read_kind(where("backoff"), said["backoff"], TIME, 0, 1e9)
        backoff_max = max(backoff, backoff_max)
    if "backoff-max" in said:
        backoff_max = read_kind(where("backoff-max"), said["backoff-max"], TIME, 0, 1e9)
        if backoff_max < backoff:
            raise BadValue(
                where("backoff-max"), said["backoff-max"], f"no less than backoff={said['backoff']}"
            )
    if "on" in said:
        covers = 0
        for outcome in said["on"].split(","):
            if outcome not in OUTCOME_NAMES:
                raise BadValue(where("on"), outcome, " or ".join(OUTCOME_NAMES))
            covers |= OUTCOME_NAMES[outcome]
    if "dead" in said:
        dead = bool(choice("dead", _YES))
        if dead and attempts < 0:
            raise BadValue(where("dead"), "yes", "attempts of 1 or more: nothing is given up")
    durability, interval = ALWAYS, policy.interval
    if "durability" in said:
        durability = choice("durability", _DURABILITY)
    if "interval" in said:
        if durability != INTERVAL:
            raise BadValue(where("interval"), said["interval"], "durability=interval with it")
        interval = read_kind(where("interval"), said["interval"], TIME, 0.001, 3600)
    return Policy(attempts, covers, backoff, backoff_max, dead, durability, interval)
