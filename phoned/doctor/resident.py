"""The doctor in a running phone: the same examination, of what the phone goes by, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from phoned.config.load import LoadedConfig
from phoned.doctor.examination import examine
from phoned.doctor.parts import Patient
from phoned.doctor.surroundings import Surroundings
from phoned.errors import WrongState
from phoned.model import AccountView, DoctorView


class Resident:
    """Made by the daemon, asked through `Phone`. ``load`` reads the files again; ``patient`` is what is in force."""

    def __init__(
        self,
        load: Callable[[], LoadedConfig],
        patient: Callable[[], Patient],
        account: Callable[[str], AccountView | None],
        around: Surroundings | None = None,
    ) -> None:
        self._load = load
        self._patient = patient
        self._around = replace(around or Surroundings(), account=account, phone_runs=lambda state_dir: True)
        self._busy = False

    async def examine(self) -> DoctorView:
        """See `PhoneControl.doctor`."""
        if self._busy:
            raise WrongState(
                "an examination runs already; it takes a minute at most", state="examining", allowed_in=("idle",)
            )
        self._busy = True
        try:
            return await examine(self._load, in_force=self._patient(), around=self._around)
        finally:
            self._busy = False
