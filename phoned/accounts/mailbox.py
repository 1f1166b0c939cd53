"""What waits in an account's mailbox, as far as it was told (RFC 3842)."""

from __future__ import annotations

from phoned.accounts.news import AccountNews
from phoned.model import MailboxView
from phoned.sip.message_summary import MessageSummary


class Mailbox:
    """Driven by the table of accounts."""

    def __init__(self, news: AccountNews) -> None:
        self._news = news
        self.view: MailboxView | None = None
        """None until the server says something."""

    def hear(self, summary: MessageSummary) -> None:
        """News. What is repeated is no event: a server says it again with every registration."""
        view = MailboxView(
            waiting=summary.waiting,
            new=summary.new,
            old=summary.old,
            new_urgent=summary.new_urgent,
            old_urgent=summary.old_urgent,
        )
        if view != self.view:
            self.view = view
            self._news.tell("account.mailbox")
            self._news.flush()
