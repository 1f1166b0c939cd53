"""Does the registrar take us? A REGISTER that only asks, and, where nobody can be hurt by it, one that binds.

The question (RFC 3261 10.2.3) proves user and password and binds nothing, so a phone at the same address keeps its
calls even at a registrar that has room for one binding only. A binding of our own, under an instance-id that nobody
has, is made only when the registrar holds none for this address and no phone runs here; it is removed at once, alone.
"""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version

from phoned.assembly import parameters_of
from phoned.config.schema import AccountConfig
from phoned.config.types import Secret
from phoned.doctor import remedies
from phoned.doctor.chain import Chain
from phoned.doctor.clock import Evidence
from phoned.errors import MalformedMessage, UsageError
from phoned.model import AccountState, AccountView, Cause
from phoned.signaling import AccountEvent, Signaling, SystemRandom
from phoned.sip.account import AccountParameters
from phoned.sip.events import BindingsTold, Event, Registered, RegistrationFailed, Unregistered
from phoned.sip.message import parse
from phoned.sip.user_agent import UserAgent
from phoned.transport.flow import Flow

ANSWER_S = 5.0
REMOVED_S = 2.0
EXPIRES_S = 60
"""Should the removal be lost, the binding is gone after a minute."""

Outcome = Registered | RegistrationFailed | Unregistered | BindingsTold | None
"""None: no answer."""


class Registrar:
    """Talks to a registrar over one flow: its `FlowListener`, and the hearer of the SIP core. `talk` once, `close`."""

    def __init__(self, account: AccountConfig, password: Secret | None, *, evidence: Evidence, server: str) -> None:
        self._account = account
        self._password = password
        self._evidence = evidence
        self._server = server
        self._signaling = Signaling(UserAgent(random=SystemRandom()))
        self._signaling.connect(self, self)
        self._outcome: asyncio.Future[Outcome] | None = None

    def close(self) -> None:
        """Stop the core and end the flow."""
        self._signaling.close()

    async def talk(self, chain: Chain, flow: Flow, *, may_bind: bool, own: AccountView | None) -> None:
        """The check ``register``. ``own``: the same account in the phone that asks."""
        try:
            asked = await self._register(flow, asks_only=True)
        except UsageError as error:
            chain.failed(error.detail, "check aor and auth_username")
            return
        if not isinstance(asked, BindingsTold):
            self._tell_refused(chain, asked)
            return
        good = "user and password are good" if self._password is not None else "the server wants no password"
        if own is not None and own.desired == "registered" and own.state is not AccountState.ONLINE:
            last = own.registration.last_error
            why = f": {last.cause} {last.detail}" if last is not None else ""
            chain.failed(
                f"{good}, but the running phone's account is {own.state}{why}",
                f"try again now: phonectl retry {own.id}; then phonectl accounts",
            )
        elif asked.contacts:
            chain.passed(f"{good}; {len(asked.contacts)} registered at {self._account.aor}, left alone")
        elif not may_bind:
            chain.passed(f"{good}; nothing was registered, because a phone runs here")
        else:
            await self._bind(chain, flow, good)

    async def _bind(self, chain: Chain, flow: Flow, good: str) -> None:
        bound = await self._register(flow, asks_only=False)
        if not isinstance(bound, Registered):
            self._tell_refused(chain, bound)
            return
        removed = await self._unregister()
        left = "" if isinstance(removed, Unregistered) else f", which ends by itself within {EXPIRES_S} s"
        chain.passed(
            f"{good}; registered for {bound.expires_s:g} s and {'removed' if not left else 'not removed'}{left}"
        )

    def _tell_refused(self, chain: Chain, outcome: Outcome) -> None:
        if isinstance(outcome, RegistrationFailed):
            chain.failed(*remedies.of_registration(outcome, self._account.aor, self._account.username))
        else:
            chain.failed(
                f"no answer to REGISTER within {ANSWER_S:g} s",
                "the server takes the WebSocket but no SIP on it: ask whoever runs it",
            )

    # --- the core

    async def _register(self, flow: Flow, *, asks_only: bool) -> Outcome:
        name = "ask" if asks_only else "bind"
        if not asks_only:
            self._signaling.remove_account("ask")
        self._signaling.add_account(name, self._parameters(asks_only=asks_only))
        self._signaling.attach(
            name, flow, sent_by=str(flow.local) if self._account.contact_host == "local_ip" else None
        )
        return await self._outcome_of(lambda: self._signaling.register(name, flow), ANSWER_S)

    async def _unregister(self) -> Outcome:
        return await self._outcome_of(lambda: self._signaling.unregister("bind"), REMOVED_S)

    async def _outcome_of(self, verb: Callable[[], None], deadline_s: float) -> Outcome:
        self._outcome = asyncio.get_running_loop().create_future()
        verb()
        try:
            async with asyncio.timeout(deadline_s):
                return await self._outcome
        except TimeoutError:
            return None

    def _parameters(self, *, asks_only: bool) -> AccountParameters:
        """The account's, under an identity that nobody else has."""
        made = parameters_of(
            self._account,
            self._password,
            instance_id=uuid.uuid4().urn,
            reg_id=1,
            call_id=secrets.token_hex(16),
            cseq=0,
            allow_refer=False,
            user_agent=f"phoned-doctor/{version('phoned')}",
        )
        return replace(made, asks_only=asks_only, expires_s=EXPIRES_S, mailbox=False, allow_refer=False)

    def on_account_event(self, event: AccountEvent) -> None:
        """What came of a REGISTER."""
        if self._outcome is None or self._outcome.done():
            return
        if isinstance(event, Registered | RegistrationFailed | Unregistered | BindingsTold):
            self._outcome.set_result(event)

    def on_session_event(self, event: Event) -> None:
        """Nobody is called here."""

    def on_flow_closed(self, account: str, flow: Flow, cause: Cause, detail: str) -> None:
        """The core has told."""

    # --- the flow

    def on_message(self, flow: Flow, data: bytes) -> None:
        """SIP from the server; a Date in it is evidence."""
        try:
            self._evidence.hear(self._server, parse(data).headers.get("Date"))
        except MalformedMessage:
            pass  # the core counts it
        self._signaling.on_message(flow, data)

    def on_closed(self, flow: Flow, cause: Cause, detail: str) -> None:
        """The flow is gone."""
        self._signaling.on_closed(flow, cause, detail)
