"""Django as its users set it up: each save is a commit, here on a file as durable as ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def set_up(folder: Path, app: str, **settings: Any) -> None:
    """Configure it, once in a process, and load the app.

    Args:
        folder: for the database.
        app: what is installed.
        settings: what the app wants to be told.
    """
    import django
    from django.conf import settings as chosen

    durable = "PRAGMA journal_mode = wal; PRAGMA synchronous = full"
    chosen.configure(
        INSTALLED_APPS=[app],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": folder / "django.db",
                "OPTIONS": {"init_command": durable},
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        **settings,
    )
    django.setup()


def create_tables(*models: Any) -> None:
    """Make the tables of these models, with all of their indexes."""
    from django.db import connection

    with connection.schema_editor() as editor:
        for model in models:
            editor.create_model(model)
