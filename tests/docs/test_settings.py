"""What is written about gearmand's settings is what their table says."""

from __future__ import annotations

from pathlib import Path

from geartrain.cli.server_manual import files, reference
from geartrain.server.settings import FIELDS, Settings, option_name


def test_pages_about_settings_are_those_of_the_table(root: Path) -> None:
    stale = [
        name
        for name, text in files().items()
        if not (root / name).exists() or (root / name).read_text() != text
    ]

    assert stale == [], "run: python -m geartrain.cli.server_manual ."


def test_every_setting_is_in_the_reference() -> None:
    page = reference()

    missing = [name for name in FIELDS if f"`{option_name(name)}`" not in page]

    assert missing == []


def test_the_page_of_limits_has_the_defaults_of_the_table(root: Path) -> None:
    page = (root / "docs/howto/limits.md").read_text()
    settings = Settings()
    mib = 2**20

    assert f"| `max-packet-bytes` | {settings.max_packet_bytes // mib} MiB |" in page
    assert f"| `packet-timeout` | {settings.packet_timeout:g} s |" in page
    silence_of = f"{settings.handshake_timeout:g} s; {settings.ssl_handshake_timeout:g} s"
    assert f"with TLS `ssl-handshake-timeout` | {silence_of} |" in page
    assert f"| {settings.pause_output // mib} MiB, {settings.max_output // mib} MiB |" in page
    assert settings.max_functions == 1_000_000
    assert (settings.max_connections, settings.max_jobs_per_function, settings.max_memory) == (
        0,
        0,
        0,
    )
    assert settings.wakeup_delay == 1.0
    silence = settings.keepalive_idle + settings.keepalive_interval * settings.keepalive_count
    assert (silence, settings.user_timeout) == (120, 120.0)
