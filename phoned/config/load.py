"""From files and the environment to a validated configuration, or to every problem at once.

Order: ``--config``, else ``$XDG_CONFIG_HOME/phoned/phoned.toml``, else ``/etc/phoned/phoned.toml``; then
``conf.d/*.toml`` beside it; then ``PHONED_TABLE__KEY``. Tables of services stay raw until their models are known: pass
them as ``models``, or call `LoadedConfig.service` later. Everything here blocks on files: call it off the loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, RootModel, ValidationError

from phoned.config.merge import Layers, read_layers
from phoned.config.places import SYSTEM_FILE, default_runtime_dir, default_state_dir
from phoned.config.profiles import PROFILES
from phoned.config.report import DEFAULT, ConfigError, Location, Origin, Problem, dotted
from phoned.config.schema import AccountConfig, Config
from phoned.config.secrets import BadSecret, FileSecrets, read_credential, read_secret_file
from phoned.config.shape import Places, absolute_paths, problems_of
from phoned.config.types import Secret

SERVICE_TABLES = ("api", "webhooks", "twilio", "mqtt", "nats", "metrics")
"""Tables of services that the contract names: kept even where no installed service claims them."""

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedConfig:
    """A configuration that holds together."""

    config: Config
    files: tuple[Path, ...]
    runtime_dir: Path
    """Where sockets go."""
    tables: Mapping[str, Any] = field(repr=False)
    """Raw tables of services."""
    services: Mapping[str, BaseModel]
    """Validated tables of the services whose models were given, absent tables as their defaults."""
    warnings: tuple[str, ...]
    """What works but should be known; the daemon logs them at its start."""
    secrets: FileSecrets = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)
    """Where it was read: the environment of the process."""
    _passwords: Mapping[str, Secret] = field(repr=False)
    _layers: Layers = field(repr=False)

    @property
    def state_dir(self) -> Path:
        return self.config.phone.state_dir

    def password(self, account: str) -> Secret | None:
        """The SIP password of an account; None when it has none."""
        return self._passwords.get(account)

    def origin(self, location: Location) -> Origin:
        """Where a value came from, for `check-config`."""
        stated = self._layers.stated(location)
        return stated if stated is not None else _default_origin(self.config, location)

    def service(self, name: str, model: type[Model]) -> Model:
        """Validate the table of one service (its defaults when it is absent). Raises `ConfigError`."""
        problems: list[Problem] = []
        value = _service(self._layers, name, model, self._places(), problems)
        if value is None:
            raise ConfigError(problems)
        return value

    def _places(self) -> Places:
        return Places(state=self.state_dir, runtime=self.runtime_dir)


def find_config(explicit: Path | None, environ: Mapping[str, str], system: Path = SYSTEM_FILE) -> Path:
    """The main file. Raises `ConfigError` when there is none."""
    if explicit is not None:
        return explicit
    home = Path(environ.get("HOME") or "~").expanduser()
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    candidates = (user / "phoned" / "phoned.toml", system)
    for candidate in candidates:
        if candidate.exists():
            return candidate
    message = "no configuration: run `phoned init`, or name a file with --config"
    origin = Origin(source=" or ".join(map(str, candidates)))
    raise ConfigError([Problem(origin=origin, key="", message=message)], absent=True)


def load_config(
    path: Path | None = None,
    *,
    models: Mapping[str, type[BaseModel]] | None = None,
    environ: Mapping[str, str] | None = None,
) -> LoadedConfig:
    """The configuration in force. Raises `ConfigError` with all problems.

    ``models``: configuration models of the installed services by table name; their tables are validated in the same
    go, so that all errors come together.
    """
    environ = os.environ if environ is None else environ
    models = models or {}
    layers = read_layers(find_config(path, environ), environ)
    problems = layers.problems

    names = dict.fromkeys((*SERVICE_TABLES, *models))
    tables = {name: layers.data[name] for name in names if name in layers.data}
    core = {key: value for key, value in layers.data.items() if key not in tables}
    _fill_state_dir(core, layers.origin, environ)
    state = core["phone"]["state_dir"] if isinstance(core["phone"], dict) else default_state_dir(environ)
    state_dir = state if isinstance(state, Path) else default_state_dir(environ)
    places = Places(state=state_dir, runtime=default_runtime_dir(environ, state_dir))

    secret_files = list(absolute_paths(Config, core, (), layers.origin, places))
    problems += _double_accounts(core, layers.origin)
    try:
        config = Config.model_validate(core)
    except ValidationError as error:
        config = None
        problems += problems_of(error, Config, (), layers.origin, {(): tuple(names)})
    services: dict[str, BaseModel] = {}
    for name, model in models.items():
        value = _service(layers, name, model, places, problems)
        if value is not None:
            services[name] = value
    problems += _bad_secret_files(secret_files, layers.origin)
    passwords = dict(_passwords(config.accounts if config else (), layers.origin, environ, problems))
    if problems or config is None:
        raise ConfigError(sorted(dict.fromkeys(problems), key=_place_in_files))
    return LoadedConfig(
        config=config,
        files=tuple(layers.files),
        runtime_dir=places.runtime,
        tables=tables,
        services=services,
        warnings=tuple(_warnings(config, tables, models)),
        secrets=FileSecrets(environ),
        environ=environ,
        _passwords=passwords,
        _layers=layers,
    )


# ---------------------------------------------------------------- pieces


def _fill_state_dir(core: dict[str, Any], origin: Callable[[Location], Origin], environ: Mapping[str, str]) -> None:
    """``state_dir`` first: other paths hang on it."""
    phone = core.setdefault("phone", {})
    if not isinstance(phone, dict):
        return  # reported by the model
    value = phone.setdefault("state_dir", default_state_dir(environ))
    if isinstance(value, str):
        base = origin(("phone", "state_dir")).base or Path.cwd()
        phone["state_dir"] = base / Path(value).expanduser()


def _service(layers: Layers, name: str, model: type[Model], places: Places, problems: list[Problem]) -> Model | None:
    """One service's table, validated; None when it has problems, which are added."""
    before = len(problems)
    data = layers.data.get(name, [] if _is_list_model(model) else {})
    secret_files = list(absolute_paths(model, data, (name,), layers.origin, places))
    problems += _bad_secret_files(secret_files, layers.origin)
    try:
        value = model.model_validate(data)
    except ValidationError as error:
        problems += problems_of(error, model, (name,), layers.origin)
        return None
    return value if len(problems) == before else None


def _is_list_model(model: type[BaseModel]) -> bool:
    return issubclass(model, RootModel) and get_origin(model.model_fields["root"].annotation) in (list, tuple)


def _double_accounts(core: Mapping[str, Any], origin: Callable[[Location], Origin]) -> Iterator[Problem]:
    """Two accounts of one id in one file (over several files they merge)."""
    accounts = core.get("accounts")
    seen: set[str] = set()
    for index, account in enumerate(accounts if isinstance(accounts, list) else []):
        name = account.get("id") if isinstance(account, dict) else None
        if isinstance(name, str):
            if name in seen:
                location = ("accounts", index, "id")
                yield Problem(origin=origin(location), key=dotted(location), message=f"{name!r} is taken")
            seen.add(name)


def _bad_secret_files(files: list[tuple[Location, Path]], origin: Callable[[Location], Origin]) -> Iterator[Problem]:
    for location, path in files:
        try:
            read_secret_file(path)
        except BadSecret as error:
            yield Problem(origin=origin(location), key=dotted(location), message=error.detail, secret_fix=error.fix)


def _passwords(
    accounts: tuple[AccountConfig, ...],
    origin: Callable[[Location], Origin],
    environ: Mapping[str, str],
    problems: list[Problem],
) -> Iterator[tuple[str, Secret]]:
    for index, account in enumerate(accounts):
        try:
            if account.credential is not None:
                yield account.id, read_credential(account.credential, environ)
            elif account.password_file is not None:
                yield account.id, read_secret_file(account.password_file)
        except BadSecret as error:
            if account.credential is not None:  # a bad file has been reported with the other secret files
                location = ("accounts", index, "credential")
                key = dotted(location)
                problems.append(Problem(origin=origin(location), key=key, message=error.detail, secret_fix=error.fix))


def _place_in_files(problem: Problem) -> tuple[str, int]:
    return problem.origin.source, problem.origin.line or 0


def _warnings(config: Config, tables: Mapping[str, Any], models: Mapping[str, type[BaseModel]]) -> Iterator[str]:
    if not config.accounts:
        yield "no [[accounts]]: nothing will be registered"
    for account in config.accounts:
        if account.tls.insecure_skip_verify:
            yield f"account {account.id}: insecure_skip_verify is on: anybody on the way can listen and pretend"
        for url in (account.outbound_proxy, account.outbound_proxy_backup):
            parts = urlsplit(url or "")
            if parts.scheme == "ws" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
                yield f"account {account.id}: {url} is not encrypted: use wss://"
    music = config.audio.hold_music
    if music is not None and not os.access(music, os.R_OK):
        yield f"[audio] hold_music: {music} cannot be read: far ends on hold will hear silence"
    if models:
        for name in tables:
            if name not in models:
                yield f"[{name}]: no installed service is called {name!r}; the table is not used"


def _default_origin(config: Config, location: Location) -> Origin:
    """``profile x`` for a recovery value that the account's profile brought, else ``default``."""
    match location:
        case ("accounts", int(index), "recovery", str(key)) if index < len(config.accounts):
            profile = config.accounts[index].profile
            if key in PROFILES[profile]:
                return Origin(source=f"profile {profile}")
    return DEFAULT
