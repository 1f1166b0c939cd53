"""``[twilio]`` as a person writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoned.config.load import load_config
from phoned.config.report import ConfigError
from phoned.services.twilio.config import TwilioConfig

SID = "AC" + "0" * 32


def load(directory: Path, text: str, token: str = "0123456789abcdef\n", mode: int = 0o600) -> TwilioConfig:
    secret = directory / "twilio.token"
    secret.write_text(token)
    secret.chmod(mode)
    file = directory / "phoned.toml"
    file.write_text(text)
    loaded = load_config(file, models={"twilio": TwilioConfig}, environ={"HOME": str(directory)})
    found = loaded.services["twilio"]
    assert isinstance(found, TwilioConfig)
    return found


@pytest.mark.parametrize("text", ["", "[twilio]\n"])
def test_without_it_there_is_no_account(tmp_path: Path, text: str) -> None:
    found = load(tmp_path, text)
    assert (found.account_sid, found.secret) == (None, None)


def test_the_table_of_the_contract(tmp_path: Path) -> None:
    found = load(tmp_path, f'[twilio]\naccount_sid = "{SID}"\nauth_token_file = "twilio.token"\n')
    assert (found.account_sid, found.secret) == (SID, str(tmp_path / "twilio.token"))


def test_a_systemd_credential_does_as_well(tmp_path: Path) -> None:
    assert load(tmp_path, f'[twilio]\naccount_sid = "{SID}"\ncredential = "twilio"\n').secret == "twilio"


@pytest.mark.parametrize(
    ("text", "token", "mode", "told"),
    [
        (f'account_sid = "{SID}"', "0123456789abcdef", 0o600, "give both, or none"),
        ('auth_token_file = "twilio.token"', "0123456789abcdef", 0o600, "give both, or none"),
        (
            f'account_sid = "{SID}"\nauth_token_file = "twilio.token"\ncredential = "x"',
            "0123456789abcdef",
            0o600,
            "give one of them",
        ),
        ('account_sid = "AC/../x"\ncredential = "x"', "0123456789abcdef", 0o600, "account_sid"),
        (f'account_sid = "{SID}"\nauth_token_file = "twilio.token"', "1234567", 0o600, "too easy to guess"),
        (f'account_sid = "{SID}"\nauth_token_file = "twilio.token"', "0123456789abcdef", 0o644, "lets others at"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, token: str, mode: int, told: str) -> None:
    with pytest.raises(ConfigError) as found:
        load(tmp_path, f"[twilio]\n{text}\n", token, mode)
    assert told in str(found.value)
    assert token not in str(found.value)
