"""One local UDP socket of an ICE agent: the first look at each datagram, and what may not hurt aioice.

Owns the sorting by first byte (RFC 7983) and by who sent it. It decides nothing about pairs.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from aioice import stun
from aioice.ice import StunProtocol

from phoned.media.datagram import MAX_DATAGRAM, is_rtcp

if TYPE_CHECKING:
    from phoned.media.ice import IceAgent


class IceSocket(StunProtocol):
    """One local socket. Sorts what comes in; STUN goes to aioice only when it cannot hurt it."""

    receiver: IceAgent

    def __init__(self, receiver: IceAgent, own: socket.socket | None = None) -> None:
        super().__init__(receiver)
        self.own_socket = own
        """What media is sent on without a detour through asyncio; None when a relay is in between."""
        self._lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._lost.set()

    async def close(self) -> None:
        # aioice waits for a future, which a cancelled waiter cancels for all that come after it
        self.transport.close()
        await self._lost.wait()

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        assert isinstance(data, bytes)
        agent = self.receiver
        length = len(data)
        source = addr if len(addr) == 2 else addr[:2]  # IPv6 has four
        if not 0 < length <= MAX_DATAGRAM:
            agent.drop("length", f"{length} bytes from {source}")
            return
        first = data[0]
        if first < 4:
            self._stun_received(data, source)
        elif source not in agent.trusted:
            agent.drop("stranger", source)
        elif 127 < first < 192 and length > 12:
            agent.packets_received += 1
            if is_rtcp(data):
                agent.listener.rtcp_received(data)
            else:
                agent.listener.rtp_received(data)
        elif 19 < first < 64 and length > 13:
            agent.listener.dtls_received(data)
        else:
            agent.drop("kind", source)

    def _stun_received(self, data: bytes, source: tuple[str, int]) -> None:
        agent = self.receiver
        if len(data) < stun.HEADER_LENGTH:
            agent.drop("stun", source)
            return
        is_response = data[0] & 1 == 1
        if is_response and data[8:20] not in self.transactions:
            self.receiver.owner.log.count("stun_unasked")  # a late answer, or a stranger's
            return
        if not is_response and agent.username_prefix not in data:
            # no answer, not even an error: nobody who knows our credentials sends this
            agent.drop("stun_foreign", source)
            return
        try:
            message = stun.parse_message(data)
            if is_response:
                self.transactions[data[8:20]].response_received(message, source)
            elif message.message_class == stun.Class.REQUEST:
                agent.request_received(message, source, self)
        except Exception as error:  # struct.error, KeyError and others for attributes that are short or missing
            agent.drop("stun", f"{source}: {error!r}")

    def send_stun(self, message: stun.Message, addr: tuple[str, int]) -> None:
        if message.message_class == stun.Class.RESPONSE:
            # aioice answers with success only after MESSAGE-INTEGRITY was verified with our password
            self.receiver.trust(addr)
        if not self.receiver.closing:
            super().send_stun(message, addr)

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, OSError):
            self.receiver.socket_error(self, exc)
