"""Checks that stand on one another."""

from __future__ import annotations

from phoned.doctor.chain import Chain, broken, verdict


def test_after_the_first_failure_the_rest_is_not_run() -> None:
    chain = Chain("dns", "tcp", "tls", account="front", proxy="backup")
    chain.passed("found")
    assert chain.next == "tcp"
    chain.failed("refused", "start it")
    assert chain.next is None
    assert [(check.name, check.ok, check.detail, check.fix) for check in chain.checks] == [
        ("dns", True, "found", None),
        ("tcp", False, "refused", "start it"),
        ("tls", None, "not run: tcp failed", None),
    ]
    assert {(check.account, check.proxy) for check in chain.checks} == {("front", "backup")}
    assert [check.name for check in broken(chain.checks)] == ["tcp"]
    assert not verdict(chain.checks).ok


def test_what_was_skipped_is_not_broken() -> None:
    chain = Chain("opus")
    chain.skipped("not wanted")
    chain.stop("too late")
    assert len(chain.checks) == 1
    assert verdict(chain.checks).ok


def test_what_a_server_said_is_one_line_without_secrets() -> None:
    chain = Chain("register")
    chain.failed('403\r\n  said Authorization: Digest response="0123456789abcdef"', "ask")
    assert chain.checks[0].detail == "403 said Authorization: ***"
