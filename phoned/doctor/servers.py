"""Do the STUN and TURN servers of the configuration answer?"""

from __future__ import annotations

from phoned.doctor.chain import Chain
from phoned.media.options import TurnServer
from phoned.media.reach import Unreachable, stun_address, turn_address

DEADLINE_S = 3.0
UNAUTHORIZED = (401, 403, 431, 441)


async def check_stun(chain: Chain, host: str, port: int) -> None:
    """The check ``stun`` of one server."""
    where = f"{host}:{port}"
    try:
        seen = await stun_address(host, port, DEADLINE_S)
    except Unreachable as error:
        fix = f"check its name and port in [media] stun, and that UDP to {where} is let through; or take it out"
        chain.failed(f"{where}: {error.detail}", fix)
        return
    chain.passed(f"{where} sees us as {seen}")


async def check_turn(chain: Chain, server: TurnServer) -> None:
    """The check ``turn`` of one server: an allocation, given back at once."""
    way = "TLS" if server.tls else server.transport.upper()
    where = f"{server.host}:{server.port} ({way})"
    try:
        relayed = await turn_address(server, DEADLINE_S)
    except Unreachable as error:
        if error.status in UNAUTHORIZED:
            fix = "check username and credential_file of this server in [media] turn"
        elif error.status is not None:
            fix = "ask whoever runs the server: it answers, but gives no relay"
        else:
            fix = f"check its name and port in [media] turn, and that {way} to it is let through; or take it out"
        chain.failed(f"{where}: {error.detail}", fix)
        return
    chain.passed(f"{where} relays at {relayed}")
