"""Does the audio path work on this machine: codecs, a call with ourselves?"""

from __future__ import annotations

from collections.abc import Callable

from phoned.doctor.chain import Chain
from phoned.doctor.surroundings import off_loop
from phoned.media import codecs
from phoned.media.selftest import SelfTestFailed, self_test

OPUS_S = 5.0
LOOPBACK_S = 10.0


async def check_opus(chain: Chain, version: Callable[[], str | None], wanted: bool) -> None:
    """The check ``opus``."""
    if not wanted:
        chain.skipped("not run: not one of [media] codecs")
        return
    try:
        found = await off_loop(version, OPUS_S)
    except TimeoutError:
        chain.failed(f"loading it took more than {OPUS_S:g} s", "see whether the disk hangs (dmesg)")
        return
    if found is None:
        fix = "apt install libopus0, or reinstall the wheel of PyAV (pip install --force-reinstall av)"
        chain.failed("libopus is missing: calls would sound like an old telephone", fix)
        return
    chain.passed(found)


async def check_loopback(chain: Chain, wanted: tuple[str, ...]) -> None:
    """The check ``media``: ICE, DTLS, SRTP, codec and jitter buffer, from a tone at one end to the other."""
    usable = codecs.available()
    names = tuple(name for name in wanted if name in usable) or ("pcmu",)
    try:
        found = await self_test(codecs=names, deadline_s=LOOPBACK_S)
    except SelfTestFailed as error:
        fix = "reinstall phoned in an environment of its own; a firewall must let UDP pass on the loopback interface"
        chain.failed(f"a call with ourselves did not work: {error}", fix)
        return
    chain.passed(
        f"a tone was heard through {names[0]}; connected in {found.connect_ms:.0f} ms,"
        f" moved to another path in {found.swap_ms:.0f} ms"
    )
