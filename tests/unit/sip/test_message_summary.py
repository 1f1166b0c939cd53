"""What a mailbox holds, as servers write it."""

from __future__ import annotations

import pytest

from phoned.errors import MalformedMessage
from phoned.sip.message_summary import MAX_COUNT, MessageSummary, summary_of


@pytest.mark.parametrize(
    ("body", "summary"),
    [
        (b"Messages-Waiting: no\r\n", MessageSummary(waiting=False)),
        (
            b"Messages-Waiting: yes\r\nMessage-Account: sip:a@b\r\nVoice-Message: 2/8 (0/2)\r\nFax-Message: 1/1\r\n",
            MessageSummary(waiting=True, mailbox="sip:a@b", new=2, old=8, new_urgent=0, old_urgent=2),
        ),
        (b"messages-waiting:YES\nvoice-message:4/0\n", MessageSummary(waiting=True, new=4, old=0)),
        (b"Messages-Waiting: yes\r\nVoice-Message: 99999999/0\r\n", MessageSummary(waiting=True, new=MAX_COUNT, old=0)),
        (b"junk\r\nMessages-Waiting: yes\r\nMessages-Waiting: no\r\n", MessageSummary(waiting=True)),
    ],
)
def test_a_summary_is_read(body: bytes, summary: MessageSummary) -> None:
    assert summary_of(body) == summary


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"Messages-Waiting: maybe", b"Messages-Waiting: yes\r\nVoice-Message: many", b"\xff\x00"]
)
def test_what_is_no_summary_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        summary_of(body)
