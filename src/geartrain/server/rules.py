"""What the settings mean to the broker: its rules, and how its jobs are called."""

from __future__ import annotations

import socket

from geartrain.broker.handles import HandleMaker
from geartrain.broker.state import Rules
from geartrain.errors import ConfigurationError
from geartrain.server.function_policies import read_policies
from geartrain.server.settings import Settings


def rules_of(settings: Settings) -> Rules:
    """The settings that the broker goes by.

    Raises:
        ConfigurationError: a policy cannot be understood.
    """
    rules = Rules()
    rules.job_retries = settings.job_retries
    rules.worker_wakeup = settings.worker_wakeup
    rules.wakeup_seconds = settings.wakeup_delay
    rules.strict_order = settings.strict_order
    rules.fail_on_timeout = settings.fail_on_timeout
    rules.max_functions = settings.max_functions
    rules.max_jobs_per_function = settings.max_jobs_per_function
    rules.max_memory_bytes = settings.max_memory
    rules.press_seconds = settings.store_wait
    rules.exceptions = settings.exceptions
    rules.policies = read_policies(settings.policy)
    return rules


def handles_of(settings: Settings) -> HandleMaker:
    """Handles with the prefix that is set, or with this machine's name.

    Raises:
        ConfigurationError: the prefix would make handles that clients cannot keep.
    """
    prefix = settings.job_handle_prefix
    if not prefix:
        prefix = "H:" + socket.gethostname()[:40]
    if any(ch.isspace() or not ch.isprintable() for ch in prefix):
        raise ConfigurationError(
            f"job-handle-prefix {prefix!r} holds white space or control characters; leave them out"
        )
    text = prefix.encode() + b":"
    if len(text) > 46:
        raise ConfigurationError(
            f"job-handle-prefix {prefix!r} is too long: at most 45 bytes, so that handles stay "
            f"within the 63 that clients keep"
        )
    return HandleMaker(text)
