from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from phoned.config.secrets import FileSecrets
from phoned.errors import NotFound
from phoned.service import ServicePlugin, installed_services
from phoned.services.twilio.config import TwilioConfig
from phoned.services.twilio.service import TwilioService
from tests.support.media import until
from tests.support.offers import Offering

SID = "AC" + "0" * 32


@dataclass
class Context(Offering):
    """As much of a context as the service looks at."""

    config: TwilioConfig
    secrets: FileSecrets = field(default_factory=lambda: FileSecrets({}))


class Broken(FileSecrets):
    def read(self, name: str) -> bytes:
        raise RuntimeError(name)


def service_of(context: Any) -> TwilioService:
    return TwilioService.create(context)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    file.chmod(0o600)
    return file


def test_it_is_a_plug_in() -> None:
    plugin: ServicePlugin = installed_services()["twilio"]
    assert plugin.config_model is TwilioConfig
    assert plugin.default


async def test_it_offers_the_account_while_it_runs(token_file: Path) -> None:
    context = Context(TwilioConfig(account_sid=SID, auth_token_file=token_file))
    service = service_of(context)
    await service.start()
    assert context.twilio is not None
    assert context.twilio.accepts(SID.encode(), b"0123456789abcdef")
    await service.stop(1.0)
    assert context.twilio is None


async def test_without_a_table_there_is_none() -> None:
    context = Context(TwilioConfig())
    service = service_of(context)
    await service.start()
    assert context.twilio is None
    await service.stop(1.0)


async def test_another_table_counts_at_once(token_file: Path) -> None:
    context = Context(TwilioConfig())
    service = service_of(context)
    await service.start()
    assert service.reconfigure(TwilioConfig(account_sid=SID, auth_token_file=token_file)) == []
    await until(lambda: context.twilio is not None)
    service.reconfigure(TwilioConfig())
    await until(lambda: context.twilio is None)
    await service.stop(1.0)


async def test_a_secret_that_cannot_be_read_leaves_it_as_it_was(
    token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = Context(TwilioConfig(account_sid=SID, auth_token_file=token_file))
    service = service_of(context)
    await service.start()
    gone = TwilioConfig(account_sid="other", credential="none")
    service.reconfigure(gone)
    await until(lambda: "stays as it was: credential 'none'" in caplog.text)
    service.reconfigure(TwilioConfig(account_sid="other", credential="a\0b"))
    context.secrets = Broken({})
    await until(lambda: "crashed" in caplog.text)
    assert context.twilio is not None
    assert context.twilio.sid == SID
    await service.stop(1.0)
    with pytest.raises(NotFound):
        await service_of(Context(gone)).start()
