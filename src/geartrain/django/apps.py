"""What ``INSTALLED_APPS`` needs, for the management command."""

from __future__ import annotations

from django.apps import AppConfig


class GeartrainConfig(AppConfig):  # type: ignore[misc]
    """No models; a management command."""

    name = "geartrain.django"
    label = "geartrain"
    verbose_name = "Gearman"
