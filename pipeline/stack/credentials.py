"""Passwords and keys of the local stack, generated at its first start and kept in home/secrets.env (mode 600)."""

import base64
import json
import os
import secrets
from pathlib import Path

FILE = "secrets.env"
USER = "admin"
PASSWORD = "AIRFLOW_ADMIN_PASSWORD"
PASSWORDS_FILE = "passwords.json"


def read_or_create(home: Path) -> dict[str, str]:
    """The stack's secrets by variable name: the same ones at every start. Also writes Airflow's password file."""
    path = home / FILE
    if not path.exists():
        write_private(path, "".join(f"{name}={value}\n" for name, value in generate().items()))
    found = dict(line.split("=", 1) for line in path.read_text(encoding="utf-8").splitlines() if line)
    write_private(home / PASSWORDS_FILE, json.dumps({USER: found[PASSWORD]}))
    return found


def generate() -> dict[str, str]:
    return {
        PASSWORD: secrets.token_urlsafe(15),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),  # HS512 wants 64 bytes
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    partial.replace(path)
