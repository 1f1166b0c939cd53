"""All bots of a phone: makes a `Link` for each, and lets them end in peace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from phoned.model import CallView, StreamRequest
from phoned.service import Context
from phoned.services.streams.config import Timing
from phoned.services.streams.link import Link
from phoned.services.streams.protocol import StreamInfo, StreamProtocol
from phoned.services.streams.protocols import new_protocol
from phoned.services.streams.socket import BotDialer
from phoned.stream import AudioPort


class Runtime:
    """Driven by the service."""

    def __init__(self, context: Context, *, agent: str, timing: Timing) -> None:
        self._context = context
        self._timing = timing
        self._dialer = BotDialer(context.urls, lambda: context.twilio, agent=agent)
        self._links: set[Link] = set()

    async def check(self, request: StreamRequest) -> None:
        """See `StreamRuntime`."""
        new_protocol(request.protocol, sample_rate=request.sample_rate, tracks=request.tracks)
        await self._dialer.check(request)

    def open(self, request: StreamRequest, call: CallView, port: AudioPort, on_change: Callable[[], None]) -> Link:
        """See `StreamRuntime`."""

        def changed() -> None:
            if link.over:
                self._links.discard(link)
            on_change()

        def protocol() -> StreamProtocol:
            return new_protocol(request.protocol, sample_rate=request.sample_rate, tracks=request.tracks)

        link = Link(
            request,
            call,
            port,
            info=self._info(request, call),
            protocol=protocol,
            dial=self._dialer.dial,
            phone=self._context.phone,
            bus=self._context.bus,
            on_change=changed,
            timing=self._timing,
        )
        self._links.add(link)
        link.start()
        return link

    def _info(self, request: StreamRequest, call: CallView) -> StreamInfo:
        account = self._context.twilio
        them, us = call.peer.number or call.peer.uri, self._context.phone.account(call.account).aor
        return StreamInfo(
            id=request.id or "",
            call=call.id,
            account=call.account,
            direction=call.direction,
            from_number=them if call.direction == "in" else us,
            to_number=us if call.direction == "in" else them,
            account_sid=account.sid if account is not None else None,
            tracks=("inbound", "outbound") if request.tracks == "both" else ("inbound",),
            parameters=request.parameters,
        )

    async def close(self, budget_s: float) -> None:
        """Wait for what is being said to bots; those whose calls still have audio are left without a word."""
        try:
            async with asyncio.timeout(budget_s / 2):
                await asyncio.gather(*(link.closed() for link in self._links))
        except TimeoutError:
            pass
        await asyncio.gather(*(link.abandon() for link in tuple(self._links)))
