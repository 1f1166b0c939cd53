"""`KeyValue` in memory: outlives whoever uses it, as the database does."""

from __future__ import annotations

from phoned.errors import PhonedError


class MemoryKeys:
    """``broken``: raised by everything, as a sick disk does."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.broken: PhonedError | None = None

    async def get(self, key: str) -> bytes | None:
        self._work()
        return self.values.get(key)

    async def set(self, key: str, value: bytes) -> None:
        self._work()
        self.values[key] = value

    async def delete(self, key: str) -> None:
        self._work()
        self.values.pop(key, None)

    async def items(self, prefix: str) -> dict[str, bytes]:
        self._work()
        return {key: value for key, value in self.values.items() if key.startswith(prefix)}

    def _work(self) -> None:
        if self.broken is not None:
            raise self.broken
