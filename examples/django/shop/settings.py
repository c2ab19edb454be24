"""As little as possible."""

from pathlib import Path

HERE = Path(__file__).resolve().parent.parent

SECRET_KEY = "only an example"
DEBUG = True
USE_TZ = True
INSTALLED_APPS = ["geartrain.django"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": HERE / "shop.sqlite3"}}
# Results are read by other processes than those that write them: no cache in memory.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": HERE / "cache",
    }
}
TASKS = {
    "default": {
        "BACKEND": "geartrain.django.GearmanBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"namespace": "shop.", "results": "default"},
    }
}
