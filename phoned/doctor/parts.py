"""What there is to look at for a configuration: each part is a chain of checks and the work that makes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from phoned.assembly import stun_of, target_of, turn_of
from phoned.config.load import LoadedConfig
from phoned.config.schema import Config
from phoned.config.schema import TurnServer as TurnConfig
from phoned.config.secrets import read_secret_file
from phoned.config.single import AccountSettings, settings_of
from phoned.doctor import devices, disk, media, music, servers
from phoned.doctor.chain import Chain, Proxy
from phoned.doctor.clock import Evidence
from phoned.doctor.register import Registrar
from phoned.doctor.surroundings import Surroundings, off_loop
from phoned.doctor.way import Way, server_of, steps_of

FILES_S = 5.0
NEED_CONFIGURATION = ("disk", "audio", "dns", "tcp", "tls", "websocket", "register", "clock")
DEFAULT_CODECS = ("opus", "pcmu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Something that is looked at by itself."""

    title: str
    chain: Chain
    work: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A phone as it is configured. ``accounts``: those of the configuration and those that were made at run time."""

    config: Config
    state_dir: Path
    accounts: tuple[AccountSettings, ...]

    @classmethod
    def of(cls, loaded: LoadedConfig) -> Patient:
        """One that does not run. Blocks; raises `BadSecret`."""
        return cls(config=loaded.config, state_dir=loaded.state_dir, accounts=settings_of(loaded))


def parts_without(around: Surroundings) -> list[Part]:
    """What can be looked at without a configuration, and what cannot."""
    blocked = Chain(*NEED_CONFIGURATION)

    async def stop() -> None:
        blocked.stop("there is no configuration that can be used")

    return [*_codecs(around, DEFAULT_CODECS), Part(title="the rest", chain=blocked, work=stop)]


def parts_of(patient: Patient, around: Surroundings, evidence: Evidence) -> list[Part]:
    """Everything but the clock, which is judged by what the others hear."""
    config = patient.config
    room, audio = Chain("disk"), Chain("audio")
    return [
        Part(
            title="disk",
            chain=room,
            work=lambda: disk.check(room, patient.state_dir, config.media.recordings_dir, around.free_bytes),
        ),
        *_codecs(around, config.media.codecs),
        Part(title="audio devices", chain=audio, work=lambda: devices.check(audio, config.audio, around.sound)),
        *([] if config.audio.hold_music is None else [_music(config.audio.hold_music)]),
        *(_stun(url) for url in config.media.stun),
        *(_turn(server) for server in config.media.turn),
        *(part for account in patient.accounts for part in _account(patient, account, around, evidence)),
    ]


def _codecs(around: Surroundings, codecs: tuple[str, ...]) -> list[Part]:
    opus, path = Chain("opus"), Chain("media")
    return [
        Part(title="opus", chain=opus, work=lambda: media.check_opus(opus, around.opus_version, "opus" in codecs)),
        Part(title="media loopback", chain=path, work=lambda: media.check_loopback(path, codecs)),
    ]


def _music(file: Path) -> Part:
    chain = Chain("hold_music")
    return Part(title="music on hold", chain=chain, work=lambda: music.check(chain, file))


def _stun(url: str) -> Part:
    chain = Chain("stun")
    return Part(title=url, chain=chain, work=lambda: servers.check_stun(chain, *stun_of(url)))


def _turn(server: TurnConfig) -> Part:
    chain = Chain("turn")

    async def work() -> None:
        secret = await off_loop(lambda: read_secret_file(server.credential_file), FILES_S)
        await servers.check_turn(chain, turn_of(server, secret))

    return Part(title=server.url, chain=chain, work=work)


def _account(patient: Patient, account: AccountSettings, around: Surroundings, evidence: Evidence) -> list[Part]:
    ways: list[tuple[Proxy, str | None]] = [
        ("primary", account.config.outbound_proxy),
        ("backup", account.config.outbound_proxy_backup),
    ]
    return [_way(account, proxy, url, patient.state_dir, around, evidence) for proxy, url in ways if url is not None]


def _way(
    account: AccountSettings, proxy: Proxy, url: str, state_dir: Path, around: Surroundings, evidence: Evidence
) -> Part:
    target = target_of(account.config, url, account.proxy_credential)
    chain = Chain(*steps_of(target), "register", account=account.id, proxy=proxy)

    async def work() -> None:
        way = Way(target, lookup=around.lookup, evidence=evidence)
        server = server_of(target)[0].host
        registrar = Registrar(account.config, account.password, evidence=evidence, server=server)
        try:
            flow = await way.walk(chain, registrar)
            if flow is not None:
                # whoever may take the account over must not be disturbed: see `register`
                alone = proxy == "primary" and not await off_loop(lambda: around.phone_runs(state_dir), FILES_S)
                own = around.account(account.id) if proxy == "primary" else None
                await registrar.talk(chain, flow, may_bind=alone, own=own)
                flow.close()
        finally:
            registrar.close()

    return Part(title=f"{account.id}, {proxy} proxy", chain=chain, work=work)
