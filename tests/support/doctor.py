"""Doctors for tests: one that finds what it is told to find."""

from __future__ import annotations

from phoned.model import CheckView, DoctorView

WELL = DoctorView(ok=True, checks=(CheckView(name="disk", ok=True, detail="there is room"),))


class FakeDoctor:
    """Finds ``view``, at once."""

    def __init__(self, view: DoctorView = WELL) -> None:
        self.view = view

    async def examine(self) -> DoctorView:
        return self.view
