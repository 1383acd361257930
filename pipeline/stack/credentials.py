"""Passwords and keys of the local stack, generated at its first start and kept in home/secrets.env (mode 600)."""

import base64
import json
import secrets
from pathlib import Path

from core.keys import new_key
from core.private import write_private

FILE = "secrets.env"
USER = "admin"
PASSWORD = "AIRFLOW_ADMIN_PASSWORD"
PASSWORDS_FILE = "passwords.json"
SERVING_KEY, SALT = "LOOP_SERVING_KEY", "LOOP_SALT"
STACK = "stack"  # name of the stack's own key in the key file


def read_or_create(home: Path) -> dict[str, str]:
    """The stack's secrets by variable name: the same ones at every start. Also writes Airflow's password file."""
    kept = _read(home)
    found = generate() | kept  # a home of an earlier version lacks some
    if found != kept:
        write_private(home / FILE, "".join(f"{name}={value}\n" for name, value in found.items()))
    write_private(home / PASSWORDS_FILE, json.dumps({USER: found[PASSWORD]}))
    return found


def serving_key(home: Path) -> str | None:
    """What the stack of this home sends to its model server; None before its first start."""
    return _read(home).get(SERVING_KEY)


def generate() -> dict[str, str]:
    return {
        PASSWORD: secrets.token_urlsafe(15),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),  # HS512 wants 64 bytes
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        SERVING_KEY: new_key(),
        SALT: secrets.token_urlsafe(32),
    }


def _read(home: Path) -> dict[str, str]:
    path = home / FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines if line)
