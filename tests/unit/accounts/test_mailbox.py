"""What an account knows of its mailbox."""

from __future__ import annotations

from phoned.accounts.registry import Accounts
from phoned.model import MailboxView
from phoned.sip.events import MessagesWaiting
from phoned.sip.message_summary import MessageSummary
from tests.support.accounts import World
from tests.support.calls import virtual


@virtual
async def test_news_of_the_mailbox_are_told_once_and_stand_in_the_view() -> None:
    world = World()
    await world.online()
    accounts = Accounts()
    accounts.add(world.account)
    assert world.account.view().mailbox is None
    two = MessageSummary(waiting=True, mailbox="sip:a@b", new=2, old=8)
    for summary in (two, two, MessageSummary(waiting=False)):
        accounts.on_account_event(MessagesWaiting(account=world.account.id, summary=summary))
    accounts.on_account_event(MessagesWaiting(account="nobody", summary=two))
    told = [event.data["account"].mailbox for event in await world.events() if event.type == "account.mailbox"]
    assert told == [MailboxView(waiting=True, new=2, old=8), MailboxView(waiting=False)]
    assert world.account.view().mailbox == told[-1]
