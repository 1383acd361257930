"""The one place that makes a client of the model server: it sends the API key of the settings, past any proxy."""

import httpx

from core.config import settings


def client(url: str, timeout_s: float = 30.0) -> httpx.Client:
    return httpx.Client(base_url=url, headers=headers(), timeout=timeout_s, trust_env=False)


def headers() -> dict[str, str]:
    """What a request needs beside its body. The key goes nowhere but to the server that the settings name."""
    key = settings().serving_key
    return {"Authorization": f"Bearer {key}"} if key else {}
