"""Loading: search order, layers, paths, secrets, and every error at once with its line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, Field, RootModel

from phoned.config.load import LoadedConfig, find_config, load_config
from phoned.config.places import default_runtime_dir, default_state_dir
from phoned.config.report import ConfigError
from phoned.config.types import FromRuntime, Secret, SecretFile, Table
from phoned.errors import NotFound

ACCOUNT = """\
[[accounts]]
id = "front"
aor = "sip:alice@example.org"
outbound_proxy = "wss://edge1.example.org/ws"
"""


class Web(Table):
    socket: FromRuntime = Path("api.sock")
    port: Annotated[int, Field(strict=True, ge=0, le=65_535)] = 8760
    name: str = "web"


class Hook(Table):
    url: str
    secret_file: SecretFile


class Hooks(RootModel[list[Hook]]):
    """An array of tables."""


class Folder:
    """A directory with configuration files and an environment of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environ = {"HOME": str(path), "STATE_DIRECTORY": str(path / "state"), "RUNTIME_DIRECTORY": str(path / "r")}

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def load(self, text: str | None = None, **environ: str) -> LoadedConfig:
        file = self.path / "phoned.toml" if text is None else self.write("phoned.toml", text)
        models: dict[str, type[BaseModel]] = {"api": Web, "webhooks": Hooks}
        return load_config(file, models=models, environ={**self.environ, **environ})

    def problems(self, text: str | None = None, **environ: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(text, **environ)
        return [str(problem).replace(f"{self.path}/", "") for problem in caught.value.problems]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# ---------------------------------------------------------------- values and their origin


def test_a_small_file_gives_every_default(folder: Folder) -> None:
    loaded = folder.load(ACCOUNT)
    account = loaded.config.accounts[0]
    assert account.username == "alice"
    assert account.recovery.keepalive_s == 60
    assert account.in_dialog_auth == "407"
    assert loaded.config.media.codecs == ("opus", "g722", "pcmu", "pcma")
    assert loaded.config.dial.emergency_numbers == ("112", "911", "999")
    assert loaded.state_dir == folder.path / "state"
    assert loaded.config.media.recordings_dir == folder.path / "state" / "recordings"
    assert loaded.runtime_dir == folder.path / "r"
    web = loaded.services["api"]
    assert isinstance(web, Web)
    assert web.socket == folder.path / "r" / "api.sock"
    assert loaded.services["webhooks"] == Hooks([])
    assert loaded.warnings == ()
    assert loaded.password("front") is None


def test_a_profile_gives_defaults_and_single_values_override(folder: Folder) -> None:
    loaded = folder.load(ACCOUNT + 'profile = "pipe"\n[accounts.recovery]\nbackoff_cap_s = 9\n')
    recovery = loaded.config.accounts[0].recovery
    assert (recovery.max_attempts, recovery.attempt_deadline_s, recovery.backoff_cap_s) == (30, 10, 9)
    at = ("accounts", 0, "recovery")
    assert str(loaded.origin((*at, "backoff_cap_s"))).endswith("phoned.toml:7")
    assert str(loaded.origin((*at, "max_attempts"))) == "profile pipe"
    assert str(loaded.origin((*at, "ping_misses"))) == "default"


def test_drop_ins_merge_in_order_and_accounts_by_id(folder: Folder) -> None:
    folder.write("conf.d/20.toml", '[[accounts]]\nid = "back"\naor = "sip:b@x"\noutbound_proxy = "wss://x/"\n')
    folder.write(
        "conf.d/10.toml",
        '[[accounts]]\nid = "front"\nauth_username = "al"\n[accounts.recovery]\nkeepalive_s = 30\n'
        '[media]\ncodecs = ["pcmu"]\n[[incoming]]\naction = "reject"\n',
    )
    loaded = folder.load(
        ACCOUNT + '[media]\ncodecs = ["opus"]\nallow_loopback = true\n[[incoming]]\nmatch = "sip:1*"\n'
    )
    assert [account.id for account in loaded.config.accounts] == ["front", "back"]
    assert loaded.config.accounts[0].auth_username == "al"
    assert loaded.config.accounts[0].recovery.keepalive_s == 30
    assert loaded.config.media.codecs == ("pcmu",)
    assert loaded.config.media.allow_loopback
    assert [rule.action for rule in loaded.config.incoming] == ["ring", "reject"]
    assert [file.name for file in loaded.files] == ["phoned.toml", "10.toml", "20.toml"]
    assert str(loaded.origin(("accounts", 0, "auth_username"))).endswith("10.toml:3")
    assert str(loaded.origin(("accounts", 1, "aor"))).endswith("20.toml:3")
    assert str(loaded.origin(("media", "codecs"))).endswith("10.toml:7")


def test_the_environment_wins_and_reads_toml_values(folder: Folder) -> None:
    loaded = folder.load(
        ACCOUNT + "[api]\nport = 1\n",
        PHONED_API__PORT="9000",
        PHONED_MEDIA__ALLOW_LOOPBACK="true",
        PHONED_DIAL__DENY='["+1900*"]',
        PHONED_AUDIO__INPUT="USB Speaker",
        PHONED_TOKEN="not a setting",
    )
    web = loaded.services["api"]
    assert isinstance(web, Web)
    assert web.port == 9000
    assert loaded.config.media.allow_loopback
    assert loaded.config.dial.deny == ("+1900*",)
    assert loaded.config.audio.input == "USB Speaker"
    assert str(loaded.origin(("api", "port"))) == "environment PHONED_API__PORT"


def test_relative_paths_hang_on_the_file_that_names_them(folder: Folder) -> None:
    folder.write("alice.secret", "s3cret-one\n")
    folder.write("conf.d/ca.pem", "")
    folder.write("conf.d/tls.toml", '[[accounts]]\nid = "front"\n[accounts.tls]\nca_file = "ca.pem"\n')
    loaded = folder.load(
        ACCOUNT + 'password_file = "alice.secret"\n[phone]\nstate_dir = "here"\n[media]\nmedia_dir = "songs"\n'
    )
    account = loaded.config.accounts[0]
    assert account.password_file == folder.path / "alice.secret"
    assert account.tls.ca_file == folder.path / "conf.d" / "ca.pem"
    assert loaded.state_dir == folder.path / "here"
    assert loaded.config.media.media_dir == folder.path / "here" / "songs"
    assert loaded.password("front") == Secret(b"s3cret-one")
    assert "s3cret-one" not in repr(loaded)


def test_the_home_directory_may_be_named_by_its_sign(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of")
    loaded = folder.load(ACCOUNT + '[phone]\nstate_dir = "~/s"\n[audio]\nringtone = "~/ring.wav"\n')
    assert loaded.state_dir == Path("/home/of/s")
    assert loaded.config.audio.ringtone == Path("/home/of/ring.wav")


# ---------------------------------------------------------------- where things are


def test_search_order(tmp_path: Path) -> None:
    named = tmp_path / "x.toml"
    assert find_config(named, {}) == named
    system = tmp_path / "system.toml"
    system.touch()
    assert find_config(None, {"HOME": str(tmp_path)}, system) == system
    user = tmp_path / ".config" / "phoned" / "phoned.toml"
    user.parent.mkdir(parents=True)
    user.touch()
    assert find_config(None, {"HOME": str(tmp_path)}) == user
    xdg = tmp_path / "xdg" / "phoned" / "phoned.toml"
    xdg.parent.mkdir(parents=True)
    xdg.touch()
    assert find_config(None, {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}) == xdg


def test_no_configuration_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="phoned init"):
        find_config(None, {"HOME": str(tmp_path)}, tmp_path / "system.toml")


def test_state_and_runtime_directories(tmp_path: Path) -> None:
    assert default_state_dir({"STATE_DIRECTORY": "/var/lib/phoned:/x"}) == Path("/var/lib/phoned")
    assert default_state_dir({"XDG_STATE_HOME": "/s"}) == Path("/s/phoned")
    assert default_state_dir({"HOME": "/h"}) == Path("/h/.local/state/phoned")
    assert default_runtime_dir({"RUNTIME_DIRECTORY": "/run/phoned-a"}, tmp_path) == Path("/run/phoned-a")
    assert default_runtime_dir({"XDG_RUNTIME_DIR": "/run/user/7"}, tmp_path) == Path("/run/user/7/phoned")
    last = Path("/run/phoned") if os.geteuid() == 0 else tmp_path / "run"
    assert default_runtime_dir({}, tmp_path) == last


# ---------------------------------------------------------------- errors


def test_all_errors_come_together_with_line_and_nearest_name(folder: Folder) -> None:
    text = """\
[phone]
state_dri = "x"

[[accounts]]
id = "front door"
aor = "alice"
outbound_proxy = "https://edge"
profile = "piep"
password_file = "no.secret"
[accounts.recovery]
keepalive_s = "30"
ping_misses = true
backof = "fixed"

[[accounts]]
id = "b"

[[incoming]]
action = "stream"
[media]
codecs = [
  "opus",
  "g729",
]
[medai]
[api]
prot = 1
port = 99999
"""
    assert folder.problems(text, PHONED_DIAL__MAX_CONCURENT="3") == [
        "phoned.toml:2: phone.state_dri: unknown key: did you mean 'state_dir'?",
        "phoned.toml:5: accounts[0].id: letters, digits, '.', '_' and '-' only, at most 64",
        'phoned.toml:6: accounts[0].aor: not an address of record: write it like "sip:alice@example.org"',
        'phoned.toml:7: accounts[0].outbound_proxy: not a ws or wss URL: write it like "wss://edge.example.org/ws"',
        "phoned.toml:8: accounts[0].profile: must be 'default', 'ringcentral', 'pipe', 'flashphoner', 'openvidu' or "
        "'millicast'",
        "phoned.toml:9: accounts[0].password_file: no.secret: No such file or directory",
        "phoned.toml:11: accounts[0].recovery.keepalive_s: should be a valid number",
        "phoned.toml:12: accounts[0].recovery.ping_misses: should be a valid integer",
        "phoned.toml:13: accounts[0].recovery.backof: unknown key: did you mean 'backoff'?",
        "phoned.toml:15: accounts[1].aor: missing",
        "phoned.toml:15: accounts[1].outbound_proxy: missing",
        'phoned.toml:18: incoming[0]: url goes with action = "stream", and that needs it',
        "phoned.toml:21: media.codecs[1]: must be 'opus', 'g722', 'pcmu' or 'pcma'",
        "phoned.toml:25: medai: unknown key: did you mean 'media'?",
        "phoned.toml:27: api.prot: unknown key: did you mean 'port'?",
        "phoned.toml:28: api.port: should be less than or equal to 65535",
        "environment PHONED_DIAL__MAX_CONCURENT: dial.max_concurent: unknown key: did you mean 'max_concurrent'?",
    ]


def test_files_that_are_no_toml_are_all_named_with_their_line(folder: Folder) -> None:
    folder.write("conf.d/a.toml", "x = 1\nx = 2\n")
    folder.write("conf.d/b.toml", "[phone\n")
    (folder.path / "conf.d" / "c.toml").write_bytes(b"x = '\xff'")
    (folder.path / "conf.d" / "d.toml").mkdir()
    told = folder.problems('[phone]\nstate_dir = "unfinished\n')
    assert [line.partition(": ")[0] for line in told] == [
        "phoned.toml:2",
        "conf.d/a.toml:2",
        "conf.d/b.toml:1",
        "conf.d/c.toml",
        "conf.d/d.toml",
    ]


def test_a_named_file_that_is_not_there_is_an_error(folder: Folder) -> None:
    assert folder.problems() == ["phoned.toml: cannot be read: No such file or directory"]


def test_an_account_id_may_stand_once_in_a_file(folder: Folder) -> None:
    assert folder.problems(ACCOUNT + ACCOUNT) == ["phoned.toml:6: accounts[1].id: 'front' is taken"]


def test_arrays_of_tables_are_not_for_the_environment(folder: Folder) -> None:
    told = folder.problems(ACCOUNT, PHONED_ACCOUNTS__AOR="x", PHONED___PORT="1")
    assert len(told) == 2
    assert all("no single value" in line for line in told)


@pytest.mark.parametrize(
    "text", ["phone = 3", "accounts = 3", "accounts = [3]", "media = []", "api = 3", "webhooks = 3"]
)
def test_a_table_that_is_no_table_is_an_error_and_no_crash(folder: Folder, text: str) -> None:
    assert folder.problems(text + "\n")[0].startswith("phoned.toml:1: ")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('outbound_proxy_backup = "wss://user:pw@x/"', "logged"),
        ('outbound_proxy_backup = "wss://[::1/"', "not a URL"),
        ('outbound_proxy_backup = "wss://x/ y"', "no blanks"),
        ('outbound_proxy_backup = "wss://x:0/"', "not a ws"),
        ('http_proxy = "socks5://x"', "http URL"),
        ('http_proxy_credential_file = "ok.secret"', "needs http_proxy"),
        ('password_file = "ok.secret"\ncredential = "x"', "one of the two"),
        ('credential = "x"', "LoadCredential"),
        ("[accounts.tls]\npin_sha256 = ['abc']", "SHA-256"),
        ("[accounts.recovery]\nbackoff_cap_s = 0.1", "below backoff_base_s"),
        ("[accounts.recovery]\nkeepalive_s = inf", "keepalive_s"),
        ("[accounts.recovery]\nkeepalive_s = nan", "keepalive_s"),
        ("[accounts.recovery]\nkeepalive_s = -1", "greater than 0"),
        ("[network]\nallow_private = ['10.0.0.1/8']", "127.0.0.0/8"),
        ("[media]\ncodecs = []", "at least one"),
        ("[media]\ncodecs = ['opus', 'opus']", "twice"),
        ("[media]\nstun = ['example.org']", "not a stun server"),
        ("[media]\nturn = [{url = 'stun:x', username = 'u', credential_file = 'ok.secret'}]", "not a turn server"),
        ("[media]\nrelay_only = true", "no way out without a server"),
        ("[media]\nopus_bitrate = 5999", "6000"),
        ("[media]\nopus_complexity = 11", "10"),
        ("sample_rate = 44100", "8000, 16000 or 48000"),
        ("[[incoming]]\ncode = 200", "300 to 699"),
    ],
)
def test_values_that_cannot_be(folder: Folder, line: str, said: str) -> None:
    folder.write("ok.secret", "u:p")
    told = folder.problems(ACCOUNT + line + "\n")
    assert len(told) == 1
    assert said in told[0]


def test_values_that_can_be(folder: Folder) -> None:
    folder.write("ok.secret", "u:p")
    pin = "AB" * 32
    loaded = folder.load(
        ACCOUNT + 'http_proxy = "http://proxy:3128"\nhttp_proxy_credential_file = "ok.secret"\n'
        f'[accounts.tls]\npin_sha256 = ["{pin}", "sha256/q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="]\n'
        "[media]\nstun = ['stun:a:1']\nturn = [{url = 'turns:x', username = 'u', credential_file = 'ok.secret'}]\n"
        "[[incoming]]\naction = 'stream'\nurl = 'ws://bot'\n[[incoming]]\ncode = 603\n"
        "[network]\nallow_private = ['::1']\n"
    )
    assert loaded.config.accounts[0].tls.pin_sha256 == (pin.lower(), pin.lower())
    assert loaded.config.media.turn[0].credential_file == folder.path / "ok.secret"


# ---------------------------------------------------------------- secrets


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o440])
def test_secret_files_that_others_cannot_read_pass(folder: Folder, mode: int) -> None:
    folder.write("alice.secret", "hush-hush", mode)
    assert folder.load(ACCOUNT + 'password_file = "alice.secret"\n').password("front") == Secret(b"hush-hush")


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o601, 0o777])
def test_secret_files_that_others_can_reach_are_refused(folder: Folder, mode: int) -> None:
    folder.write("alice.secret", "hush-hush", mode)
    told = folder.problems(ACCOUNT + 'password_file = "alice.secret"\n')
    assert len(told) == 1
    assert "chmod 600" in told[0]
    assert "hush" not in told[0]


def test_a_secret_from_a_systemd_credential(folder: Folder) -> None:
    folder.write("creds/alice", "from-systemd\n", 0o444)
    text = ACCOUNT + 'credential = "alice"\n'
    loaded = folder.load(text, CREDENTIALS_DIRECTORY=str(folder.path / "creds"))
    assert loaded.password("front") == Secret(b"from-systemd")
    assert loaded.secrets.read("alice") == b"from-systemd"
    for name in ("../phoned.toml", "bob", ".."):
        with pytest.raises(NotFound):
            loaded.secrets.read(name)
        assert (
            "credential"
            in folder.problems(text.replace('"alice"', f'"{name}"'), CREDENTIALS_DIRECTORY=str(folder.path / "creds"))[
                0
            ]
        )


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 70_000])
def test_a_secret_that_cannot_be_one_is_refused(folder: Folder, content: bytes) -> None:
    file = folder.write("alice.secret", "")
    file.write_bytes(content)
    assert len(folder.problems(ACCOUNT + 'password_file = "alice.secret"\n')) == 1


def test_a_fifo_as_secret_is_refused_at_once(folder: Folder) -> None:
    os.mkfifo(folder.path / "alice.secret", 0o600)
    assert "not a regular file" in folder.problems(ACCOUNT + 'password_file = "alice.secret"\n')[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_secret_of_a_stranger_is_refused(folder: Folder) -> None:
    os.chown(folder.write("alice.secret", "hush-hush"), 12_345, -1)
    assert "owned by uid 12345" in folder.problems(ACCOUNT + 'password_file = "alice.secret"\n')[0]


def test_a_secret_does_not_show_or_copy_itself() -> None:
    import copy
    import pickle

    secret = Secret(b"hush-hush")
    assert "hush" not in f"{secret} {secret!r} {[secret]}"
    assert secret.text() == "hush-hush"
    assert hash(secret) == hash(Secret(b"hush-hush"))
    assert secret != b"hush-hush"
    for leak in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError):
            leak(secret)


# ---------------------------------------------------------------- services


def test_tables_of_services_are_validated_in_the_same_go_and_their_paths_too(folder: Folder) -> None:
    folder.write("hook.secret", "whsec_x")
    loaded = folder.load(
        ACCOUNT + '[[webhooks]]\nurl = "https://x"\nsecret_file = "hook.secret"\n[api]\nsocket = "/s"\n'
    )
    hooks = loaded.services["webhooks"]
    assert isinstance(hooks, RootModel)
    assert hooks.root[0].secret_file == folder.path / "hook.secret"
    assert loaded.secrets.read(str(hooks.root[0].secret_file)) == b"whsec_x"
    told = folder.problems(ACCOUNT + '[[webhooks]]\nurl = 3\nsecret_fle = "x"\n')
    assert told == [
        "phoned.toml:5: webhooks[0].secret_file: missing",
        "phoned.toml:6: webhooks[0].url: should be a valid string",
        "phoned.toml:7: webhooks[0].secret_fle: unknown key: did you mean 'secret_file'?",
    ]


def test_a_service_may_validate_its_table_later_with_the_same_errors(folder: Folder) -> None:
    file = folder.write("phoned.toml", ACCOUNT + '[api]\nnaem = "x"\n')
    loaded = load_config(file, environ=folder.environ)
    assert loaded.tables["api"] == {"naem": "x"}
    with pytest.raises(ConfigError, match=r"phoned\.toml:6: api\.naem: unknown key: did you mean 'name'"):
        loaded.service("api", Web)
    assert loaded.service("metrics", Web).port == 8760


def test_what_is_unwise_is_a_warning(folder: Folder) -> None:
    loaded = folder.load(
        ACCOUNT.replace("wss://", "ws://") + "[accounts.tls]\ninsecure_skip_verify = true\n[mqtt]\nx = 1\n"
    )
    assert [word in " ".join(loaded.warnings) for word in ("insecure_skip_verify", "not encrypted", "'mqtt'")] == [
        True
    ] * 3
    assert len(loaded.warnings) == 3
    assert folder.load("").warnings == ("no [[accounts]]: nothing will be registered",)
    (warning,) = folder.load(ACCOUNT + '[audio]\nhold_music = "gone.wav"\n').warnings
    assert "hold_music" in warning
    assert "gone.wav cannot be read" in warning
