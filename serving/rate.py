"""A token bucket for each caller, in bounded memory. Who counts as one caller is the guard's business."""

MOST = 10_000  # callers; beyond them the one that was silent longest is forgotten, and starts afresh


class Buckets:
    """Each holds a second's worth of tokens, one at least, and fills at `per_s`."""

    def __init__(self, per_s: float, most: int = MOST) -> None:
        self._per_s, self._size, self._most = per_s, max(per_s, 1.0), most
        self._left: dict[str, tuple[float, float]] = {}  # caller -> tokens at a time; silent ones first

    def wait_s(self, caller: str, now: float) -> float:
        """Take a token. Returns 0 when there was one, else the seconds until there is."""
        tokens, at = self._left.pop(caller, (self._size, now))
        tokens = min(self._size, tokens + (now - at) * self._per_s)
        wait_s = 0.0 if tokens >= 1 else (1 - tokens) / self._per_s
        self._left[caller] = (tokens if wait_s else tokens - 1, now)
        if len(self._left) > self._most:
            del self._left[next(iter(self._left))]
        return wait_s
