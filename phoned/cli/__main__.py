"""`python -m phoned.cli`: the same as `phoned`."""

from __future__ import annotations

from phoned.cli import main

main()
