"""One account from a document of the control API: the rules and the words of the file, all that is wrong at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phoned.config.load import load_config
from phoned.config.single import read_account, settings_of
from phoned.config.types import Secret
from phoned.errors import InvalidValues

DOCUMENT = {"aor": "sip:alice@example.org", "outbound_proxy": "wss://edge.example.org/ws"}
KEPT = Secret(b"of before")


def secret_file(path: Path, text: str = "from a file", mode: int = 0o600) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(mode)
    return path


def found(document: dict[str, Any], environ: dict[str, str] | None = None) -> dict[str, str]:
    with pytest.raises(InvalidValues) as refusal:
        read_account("front", document, environ or {})
    return dict(refusal.value.found)


def test_the_keys_are_those_of_the_file() -> None:
    settings = read_account("front", {**DOCUMENT, "profile": "pipe", "recovery": {"keepalive_s": 7}}, {})
    assert (settings.id, settings.config.username, settings.password) == ("front", "alice", None)
    assert (settings.config.recovery.keepalive_s, settings.config.recovery.keepalive_timeout_s) == (7, 10)
    assert read_account("front", {**DOCUMENT, "id": "front"}, {}) == read_account("front", DOCUMENT, {})


def test_everything_that_is_wrong_is_told_together_with_its_place(tmp_path: Path) -> None:
    open_to_all = secret_file(tmp_path / "s", mode=0o644)
    told = found(
        {
            "id": "back",
            "outbound_proxi": "wss://x",
            "outbound_proxy": "http://x",
            "recovery": {"keepalive": 1, "connect": "never", "ping_misses": "2"},
            "tls": {"ca_file": "ca.pem"},
            "password_file": str(open_to_all),
            "http_proxy": "http://p:1",
            "http_proxy_credential_file": "p.secret",
            "a/b~c": 1,
        }
    )
    assert set(told) == {
        "/id",
        "/aor",
        "/outbound_proxi",
        "/outbound_proxy",
        "/recovery/keepalive",
        "/recovery/connect",
        "/recovery/ping_misses",
        "/tls/ca_file",
        "/password_file",
        "/http_proxy_credential_file",
        "/a~1b~0c",
    }
    assert "did you mean 'outbound_proxy'" in told["/outbound_proxi"]
    assert "did you mean 'keepalive_s'" in told["/recovery/keepalive"]
    assert told["/tls/ca_file"] == "give an absolute path"
    assert "chmod 600" in told["/password_file"]


def test_the_name_of_an_account_is_checked() -> None:
    with pytest.raises(InvalidValues) as refusal:
        read_account("../x", DOCUMENT, {})
    assert refusal.value.found[0][0] == "/id"


@pytest.mark.parametrize("password", ["", "a\nb", 5, "x" * 1025, ["x"], "tab\t"])
def test_a_password_is_one_line(password: object) -> None:
    told = found({**DOCUMENT, "password": password})
    assert set(told) == {"/password"}
    assert str(password) not in told["/password"] or not password


def test_a_password_comes_from_one_place(tmp_path: Path) -> None:
    file = secret_file(tmp_path / "s")
    assert "/password" in found({**DOCUMENT, "password": "x", "password_file": str(file)})
    assert "" in found({**DOCUMENT, "credential": "c", "password_file": str(file)}, {"CREDENTIALS_DIRECTORY": "/"})
    assert "LoadCredential" in found({**DOCUMENT, "credential": "c"})["/credential"]
    assert "No such file" in found({**DOCUMENT, "password_file": str(tmp_path / "none")})["/password_file"]


def test_the_password_that_was_given_before_stays_until_another_is_named(tmp_path: Path) -> None:
    file = secret_file(tmp_path / "s")
    (tmp_path / "c").write_text("from systemd\n")
    cases: list[tuple[dict[str, Any], Secret | None]] = [
        ({}, KEPT),
        ({"password": None}, None),
        ({"password": "new"}, Secret(b"new")),
        ({"password_file": str(file)}, Secret(b"from a file")),
        ({"credential": "c"}, Secret(b"from systemd")),
    ]
    for more, password in cases:
        settings = read_account("front", {**DOCUMENT, **more}, {"CREDENTIALS_DIRECTORY": str(tmp_path)}, kept=KEPT)
        assert settings.password == password


def test_the_proxys_credential_is_read(tmp_path: Path) -> None:
    file = secret_file(tmp_path / "p", "user:pw")
    document = {**DOCUMENT, "http_proxy": "http://p:1", "http_proxy_credential_file": str(file)}
    assert read_account("front", document, {}).proxy_credential == Secret(b"user:pw")


def test_the_accounts_of_the_files_with_their_secrets(tmp_path: Path) -> None:
    secret_file(tmp_path / "s")
    secret_file(tmp_path / "p", "user:pw")
    main = tmp_path / "phoned.toml"
    main.write_text(
        '[[accounts]]\nid = "a"\naor = "sip:a@x.org"\noutbound_proxy = "wss://x/"\npassword_file = "s"\n'
        'http_proxy = "http://p:1"\nhttp_proxy_credential_file = "p"\n'
        '[[accounts]]\nid = "b"\naor = "sip:b@x.org"\noutbound_proxy = "wss://x/"\n'
    )
    first, second = settings_of(load_config(main, environ={"HOME": str(tmp_path)}))
    assert (first.password, first.proxy_credential) == (Secret(b"from a file"), Secret(b"user:pw"))
    assert (second.password, second.proxy_credential) == (None, None)
    assert "file" not in repr(first.password)
