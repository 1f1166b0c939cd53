"""``[[webhooks]]`` as a person writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoned.config.load import load_config
from phoned.config.report import ConfigError
from phoned.services.webhooks.config import WebhooksConfig
from phoned.services.webhooks.schedule import TABLE_S
from tests.support.webhook_sink import SECRET
from tests.support.webhooks import secret_file


def load(directory: Path, text: str, secret: str = SECRET) -> WebhooksConfig:
    secret_file(directory, secret)
    file = directory / "phoned.toml"
    file.write_text(text)
    loaded = load_config(file, models={"webhooks": WebhooksConfig}, environ={"HOME": str(directory)})
    found = loaded.services["webhooks"]
    assert isinstance(found, WebhooksConfig)
    return found


def test_no_table_is_no_webhook(tmp_path: Path) -> None:
    assert load(tmp_path, "").root == ()


def test_the_table_of_the_contract(tmp_path: Path) -> None:
    text = '[[webhooks]]\nurl = "https://example.org/phone"\nevents = ["call.*"]\nsecret_file = "webhook.secret"\n'
    (found,) = load(tmp_path, text).root
    assert (found.url, found.events) == ("https://example.org/phone", ("call.*",))
    assert found.secret_file == tmp_path / "webhook.secret"
    assert (found.timeout_s, found.decide_s, found.retry_s, found.disable_after_s) == (15, 5, TABLE_S, 432_000)


@pytest.mark.parametrize(
    ("text", "secret", "told"),
    [
        ('url = "ftp://x/"\nsecret_file = "webhook.secret"', SECRET, "must begin with https:// or http://"),
        ('url = "https://u:p@x/"\nsecret_file = "webhook.secret"', SECRET, "no user and password"),
        ('url = "https://x/"', SECRET, "secret_file: missing"),
        ('url = "https://x/"\nsecret_file = "none"', SECRET, "No such file"),
        ('url = "https://x/"\nsecret_file = "webhook.secret"', "hunter2", "openssl rand"),
        ('url = "https://x/"\nsecret_file = "webhook.secret"\nevents = ["Call"]', SECRET, "is no event"),
        ('url = "https://x/"\nsecret_file = "webhook.secret"\nevents = []', SECRET, "name 1 to"),
        ('url = "https://x/"\nsecret_file = "webhook.secret"\nretry = 3', SECRET, "did you mean 'retry_s'"),
        ('url = "https://x/"\nsecret_file = "webhook.secret"\nretry_s = []', SECRET, "retry_s"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, secret: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"[[webhooks]]\n{text}\n", secret)
    assert told in caught.value.detail
    assert "webhooks[0]" in caught.value.detail
    assert "hunter2" not in caught.value.detail


def test_one_url_is_one_webhook(tmp_path: Path) -> None:
    table = '[[webhooks]]\nurl = "https://example.org/"\nsecret_file = "webhook.secret"\n'
    with pytest.raises(ConfigError, match="named twice"):
        load(tmp_path, table + table)
