"""Settings; GEARMAN_SERVERS says where, DJANGO_CACHE where results are kept."""

import os

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
    "now": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"},
}
