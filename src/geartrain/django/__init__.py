"""Django's tasks on job servers: of Django 6, or of the package django-tasks before it.

::

    INSTALLED_APPS = [..., "geartrain.django"]
    TASKS = {
        "default": {
            "BACKEND": "geartrain.django.GearmanBackend",
            "QUEUES": ["default", "mail"],
            "OPTIONS": {
                "servers": "gm1,gm2",  # None: $GEARMAN_SERVERS, else localhost
                "namespace": "shop.",  # before the names of functions on the wire
                "results": "default",  # a cache that keeps results; None: nowhere
                "result_seconds": 86400,  # for how long
            },
        }
    }

``my_task.enqueue(...)`` submits a background job; ``python manage.py gearman_worker``
does them. Each queue is one function on the wire, ``django.<queue>``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geartrain.django.backend import GearmanBackend

__all__ = ["GearmanBackend"]


def __getattr__(name: str) -> object:
    # On first use: Django imports this package before its settings are ready.
    if name == "GearmanBackend":
        from geartrain.django.backend import GearmanBackend

        return GearmanBackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
