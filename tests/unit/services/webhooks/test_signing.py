from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from phoned.config.types import Secret
from phoned.errors import InvalidValue
from phoned.services.webhooks.signing import Signer, new_secret

NOW = datetime(2026, 11, 21, 10, 0, 0, 900_000, tzinfo=UTC)


def test_a_signature_is_what_the_librarys_example_says() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    moment = datetime.fromtimestamp(1614265330, UTC)
    headers = Signer(Secret(secret.encode())).headers("msg_p5jXN8AQM9LWM0D4loKWxJek", '{"test": 2432232314}', moment)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_new_secret_is_long_and_new_and_does_not_show_itself() -> None:
    one, other = new_secret(), new_secret()
    assert one != other
    assert len(base64.b64decode(one.text().removeprefix("whsec_"))) == 32
    assert one.text() not in repr(Signer(one))


def test_the_receiver_checks_it_with_the_same_text() -> None:
    secret = new_secret()
    headers = Signer(secret).headers("evt_1", '{"type":"x"}', datetime.now(UTC))
    assert Webhook(secret.text()).verify('{"type":"x"}', headers) == {"type": "x"}


def test_two_secrets_make_two_signatures() -> None:
    one, other = new_secret(), new_secret()
    both = Signer(Secret(f"{one.text()}\n{other.text()}\n".encode())).headers("evt_1", "{}", NOW)
    assert both["webhook-timestamp"] == "1795255200"
    assert both["webhook-signature"].split() == [
        Signer(secret).headers("evt_1", "{}", NOW)["webhook-signature"] for secret in (one, other)
    ]


@pytest.mark.parametrize(
    "text", ["", "  ", "hello", "whsec_", "whsec_c2hvcnQ=", "whsec_" + "A" * 200, "whsec_%%%%%%%%"]
)
def test_what_is_no_secret_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        Signer(Secret(text.encode()))
    told = caught.value.detail
    assert "there is no secret" in told or "openssl rand" in told
    assert not text.removeprefix("whsec_").strip() or text.removeprefix("whsec_") not in told
