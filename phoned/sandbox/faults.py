"""The fault switches: what goes wrong on purpose. Pure state; the server asks it about each message and upgrade."""

from __future__ import annotations

from dataclasses import dataclass

from phoned.errors import InvalidValue

MAX_DELAY_MS = 60_000


@dataclass(slots=True, kw_only=True)
class Faults:
    """What is wrong now. Everything off is a healthy exchange."""

    mute: bool = False
    """Sockets stay open, pings are answered, no SIP message gets an answer."""
    delay_ms: int = 0
    """Every message waits so long in both directions."""
    drop: int = 0
    """So many of the next messages are lost."""
    drop_method: str | None = None
    """Only messages of this method (by CSeq) are lost; None: any."""
    refuse: int = 0
    """Status that answers a WebSocket upgrade; 0: it is accepted."""

    def loses(self, method: str) -> bool:
        """Whether this message is lost; counts it."""
        if self.mute:
            return True
        if self.drop and self.drop_method in (None, method):
            self.drop -= 1
            return True
        return False

    def set(self, order: dict[str, object]) -> bool:
        """Carry out one order (a JSON line). True when every socket is to be closed. Raises `InvalidValue`.

        ``{"fault":"mute","on":true}``  ``{"fault":"close"}``  ``{"fault":"delay","ms":200}``
        ``{"fault":"drop","count":1,"method":"REGISTER"}``  ``{"fault":"refuse","status":503}`` (0 ends it)
        ``{"fault":"none"}`` heals everything.
        """
        match order:
            case {"fault": "mute", "on": bool(on)}:
                self.mute = on
            case {"fault": "close"}:
                return True
            case {"fault": "delay", "ms": int(ms)} if 0 <= ms <= MAX_DELAY_MS:
                self.delay_ms = ms
            case {"fault": "drop", "count": int(count)} if count >= 0:
                method = order.get("method")
                if method is not None and not isinstance(method, str):
                    raise InvalidValue("method is a string", pointer="/method")
                self.drop, self.drop_method = count, method
            case {"fault": "refuse", "status": int(status)} if status == 0 or 400 <= status <= 599:
                self.refuse = status
            case {"fault": "none"}:
                self.mute, self.delay_ms, self.drop, self.drop_method, self.refuse = False, 0, 0, None, 0
            case _:
                raise InvalidValue(
                    'an order is {"fault": "mute|close|delay|drop|refuse|none", ...}: '
                    '"on": true, "ms": 200, "count": 1, "method": "REGISTER", "status": 503'
                )
        return False
