"""What another configuration means for a phone that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phoned.config.schema import Config
from phoned.reload import difference


def config(**tables: Any) -> Config:
    return Config.model_validate({"phone": {"state_dir": Path("/s")}, "media": {"media_dir": Path("/m")}, **tables})


def test_nothing_has_changed() -> None:
    found = difference(config(), config(), most_calls=256)
    assert (found.applied, found.restart_needed, found.config) == ((), (), config())


def test_what_concerns_calls_is_taken() -> None:
    new = config(
        dial={"deny": ["0900*"], "max_concurrent": 200},
        incoming=[{"action": "reject"}],
        auto_answer={"callers": ["sip:door@*"]},
        transfer={"allow_refer": True},
        media={"media_dir": Path("/m"), "codecs": ["pcmu"], "allow_loopback": True},
    )
    found = difference(config(), new, most_calls=256)
    assert set(found.applied) == {
        "dial.deny",
        "dial.max_concurrent",
        "incoming",
        "auto_answer.callers",
        "transfer.allow_refer",
        "media.codecs",
        "media.allow_loopback",
    }
    assert (found.restart_needed, found.config) == ((), new)


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        ({"phone": {"state_dir": Path("/t")}}, "phone.state_dir"),
        ({"network": {"source": "polling"}}, "network.source"),
        ({"audio": {"input": "default"}}, "audio.input"),
        ({"media": {"media_dir": Path("/n")}}, "media.media_dir"),
        ({"dial": {"max_concurrent": 300}}, "dial.max_concurrent"),
    ],
)
def test_what_was_built_once_stays_and_is_named_each_time(tables: dict[str, Any], key: str) -> None:
    new = config(**tables, transfer={"allow_refer": True})
    first = difference(config(), new, most_calls=256)
    assert (first.applied, first.restart_needed) == (("transfer.allow_refer",), (key,))
    assert first.config == config(transfer={"allow_refer": True})
    again = difference(first.config, new, most_calls=256)
    assert (again.applied, again.restart_needed) == ((), (key,))


def test_a_phone_that_began_with_many_calls_may_have_as_many_again() -> None:
    old, new = config(dial={"max_concurrent": 1000}), config(dial={"max_concurrent": 900})
    assert difference(old, new, most_calls=1000).config == new
    assert difference(new, old, most_calls=1000).config == old


def test_accounts_are_for_others_to_compare() -> None:
    new = config(accounts=[{"id": "a", "aor": "sip:a@x.org", "outbound_proxy": "wss://x/"}])
    found = difference(config(), new, most_calls=256)
    assert (found.applied, found.restart_needed, found.config) == ((), (), new)
