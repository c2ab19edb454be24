"""Settings; GEARMAN_SERVERS says where, DJANGO_CACHE where results are kept."""

import os
from importlib.util import find_spec

#: Django 6 has its own; before, there is the package from which they were made.
TASKS_PACKAGE = "django.tasks" if find_spec("django.tasks") else "django_tasks"
SECRET_KEY = "not a secret"
USE_TZ = True
INSTALLED_APPS = ["geartrain.django"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": os.environ["DJANGO_CACHE"],
    }
}
TASKS = {
    "default": {
        "BACKEND": "geartrain.django.GearmanBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"results": "default", "namespace": "shop."},
    },
    "mute": {"BACKEND": "geartrain.django.GearmanBackend"},
    "now": {"BACKEND": f"{TASKS_PACKAGE}.backends.immediate.ImmediateBackend"},
}
