"""The exchange in a box with many users, as a process of its own: ``python -m tests.bench.end_sandbox USERS``."""

from __future__ import annotations

import sys

from phoned.sandbox.server import Sandbox
from tests.bench.end import Json, serve


def user(number: int) -> str:
    """The name of the n-th user, which is also the password."""
    return f"user{number:04d}"


def main() -> None:
    """Serve."""
    users = {user(number): user(number) for number in range(int(sys.argv[1]))}
    sandbox = Sandbox(users=users)

    async def do(verb: str, order: Json) -> Json:
        match verb:
            case "start":
                return {"url": await sandbox.start(), "domain": sandbox.domain}
            case "stop":
                await sandbox.stop()
                return {}
            case _:
                raise ValueError(verb)

    serve(do)


if __name__ == "__main__":
    main()
