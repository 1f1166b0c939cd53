"""News of a mailbox: the subscription, its refreshes, its failures, and news that nobody asked for (RFC 3842)."""

from __future__ import annotations

import pytest

from phoned.sip.accessors import cseq
from phoned.sip.account import AccountParameters
from phoned.sip.events import MessagesWaiting
from phoned.sip.message import Request, Response, parse, response_to
from phoned.sip.transaction_layer import TransactionLimits
from phoned.sip.user_agent import UserAgent
from tests.scenario.sip.test_accounts import PARAMETERS
from tests.scenario.sip.test_requests import send
from tests.support.sip_calls import established
from tests.support.sip_network import SeededRandom, SipNetwork
from tests.support.sip_server import Answer, Challenger, Server, registered

NEWS = """NOTIFY sip:alice@x.invalid SIP/2.0
Via: SIP/2.0/WS server.invalid;branch=z9hG4bK{branch}
Max-Forwards: 70
From: <sip:alice@example.com>;tag={far}
To: <sip:alice@example.com>;tag={near}
Call-ID: {call_id}
CSeq: {number} NOTIFY
Contact: <sip:mailbox@example.com>
Event: {event}
Subscription-State: {state}
Content-Type: application/simple-message-summary
Content-Length: {length}

{body}"""
TWO = "Messages-Waiting: yes\r\nVoice-Message: 2/0\r\n"


class Mailbox:
    """A registrar, and a notifier that grants what ``answer`` says."""

    def __init__(
        self, network: SipNetwork, *answers: tuple[int, list[tuple[str, str]]], silent: bool = False, **changes: object
    ) -> None:
        self.network = network
        self.statuses = list(answers)
        """How the next SUBSCRIBEs are answered; then 200."""
        self.silent = silent
        parameters = {"aor": "sip:alice@example.com", "secret": "pw", "mailbox": True, **changes}
        self.alice = network.phone("alice", parameters=AccountParameters(**parameters))  # type: ignore[arg-type]
        self.server = self.connect()

    def connect(self, answer: Answer | None = None) -> Server:
        """Register over a new flow."""
        subscribed = answer or self.answer
        self.server = Server(
            self.network, self.alice, lambda r: registered(r) if r.method == "REGISTER" else subscribed(r)
        )
        self.alice.take(self.alice.ua.register("alice", self.server.flow, self.network.now))
        self.network.run()
        return self.server

    def answer(self, request: Request) -> Response | None:
        if self.silent:
            return None
        status, headers = self.statuses.pop(0) if self.statuses else (200, [("Expires", "3600")])
        response = response_to(request, status, to_tag="mailbox")
        response.headers.add("Contact", "<sip:mailbox@example.com>")
        for name, value in headers:
            response.headers.add(name, value)
        return response

    def subscribes(self) -> list[Request]:
        """Over all flows."""
        return self.alice.requests("SUBSCRIBE")

    def notify(
        self,
        number: int = 1,
        *,
        body: str = TWO,
        event: str = "message-summary",
        state: str = "active;expires=3600",
        of: int = -1,
    ) -> int:
        """News in the dialog of one of the SUBSCRIBEs; returns how they were answered."""
        subscribe = self.subscribes()[of]
        text = NEWS.format(
            branch=f"n{self.network.random.randrange(10**9)}",
            far="mailbox",
            near=(subscribe.headers.get("From") or "").partition(";tag=")[2],
            call_id=subscribe.headers.get("Call-ID"),
            number=number,
            event=event,
            state=state,
            length=len(body),
            body=body.replace("\r\n", "\n"),
        )
        head, _, rest = text.partition("\n\n")
        data = head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + rest.replace("\n", "\r\n").encode()
        self.alice.take(self.alice.ua.receive(self.server.flow, data, self.network.now))
        return self.alice.sent[-1].status if isinstance(self.alice.sent[-1], Response) else 0


def test_a_registered_account_hears_of_its_mailbox() -> None:
    mailbox = Mailbox(SipNetwork())
    (subscribe,) = mailbox.subscribes()
    assert (subscribe.uri, subscribe.headers.get("Event")) == ("sip:alice@example.com", "message-summary")
    assert mailbox.notify() == 200
    summary = mailbox.alice.one(MessagesWaiting).summary
    assert (summary.waiting, summary.new) == (True, 2)


def test_an_account_that_does_not_ask_does_not_subscribe() -> None:
    mailbox = Mailbox(SipNetwork(), mailbox=False)
    mailbox.network.run(10_000)
    assert mailbox.subscribes() == []


def test_the_first_news_make_the_dialog_when_the_answer_is_late() -> None:
    network = SipNetwork()
    mailbox = Mailbox(network, silent=True)
    assert mailbox.notify() == 200
    assert mailbox.alice.one(MessagesWaiting).summary.waiting
    mailbox.silent = False
    network.cut(mailbox.alice)
    mailbox.connect()
    first, second = mailbox.subscribes()
    assert second.headers.get("Call-ID") == first.headers.get("Call-ID")
    assert second.uri == "sip:mailbox@example.com"
    assert cseq(second).number == 2


def test_it_is_refreshed_in_time_and_not_by_each_register() -> None:
    mailbox = Mailbox(SipNetwork())
    for _ in range(5):
        mailbox.alice.take(mailbox.alice.ua.register("alice", mailbox.server.flow, mailbox.network.now))
        mailbox.network.run(60)
    assert len(mailbox.subscribes()) == 1
    mailbox.network.run(2500)
    first, second = mailbox.subscribes()
    assert second.headers.get("Call-ID") == first.headers.get("Call-ID")
    assert (cseq(second).number, second.headers.get("Expires")) == (2, "3600")


@pytest.mark.behaviour("F10")
def test_after_a_new_flow_the_mailbox_is_subscribed_to_again_after_the_calls_were_repaired() -> None:
    network = SipNetwork()
    mailbox = Mailbox(network)
    network.cut(mailbox.alice)
    mailbox.connect()
    methods = [message.method for message in mailbox.server.heard if isinstance(message, Request)]
    assert methods == ["REGISTER", "SUBSCRIBE"]
    assert mailbox.notify(1) == 200


def test_a_short_grant_does_not_make_a_tight_loop() -> None:
    network = SipNetwork()
    mailbox = Mailbox(network, *[(200, [("Expires", "1")])] * 1000)
    network.run(450)
    assert len(mailbox.subscribes()) <= 11


@pytest.mark.parametrize("status", [403, 405, 489, 501, 600])
def test_a_server_without_mailboxes_is_asked_again_on_another_flow_only(status: int) -> None:
    network = SipNetwork()
    mailbox = Mailbox(network)
    mailbox.statuses = [(status, [])]
    network.cut(mailbox.alice)
    mailbox.connect()
    network.run(100_000)
    assert len(mailbox.subscribes()) == 2
    network.cut(mailbox.alice)
    mailbox.connect()
    assert len(mailbox.subscribes()) == 3


@pytest.mark.parametrize(
    ("headers", "after"), [([], 300), ([("Retry-After", "1")], 300), ([("Retry-After", "1000 (later)")], 1000)]
)
def test_a_server_that_is_not_well_is_asked_again_after_a_while(headers: list[tuple[str, str]], after: int) -> None:
    network = SipNetwork()
    mailbox = Mailbox(network)
    mailbox.statuses = [(503, headers)]
    network.cut(mailbox.alice)
    mailbox.connect()
    network.run(after - 5)
    assert len(mailbox.subscribes()) == 2
    network.run(10)
    assert len(mailbox.subscribes()) == 3


def test_silence_is_asked_again_after_a_while() -> None:
    network = SipNetwork()
    mailbox = Mailbox(network)
    mailbox.silent = True
    network.cut(mailbox.alice)
    mailbox.connect()
    network.run(320)
    assert len(mailbox.subscribes()) == 2
    network.run(20)
    assert len(mailbox.subscribes()) == 3


def test_a_forgotten_subscription_is_made_anew() -> None:
    network = SipNetwork()
    mailbox = Mailbox(network)
    mailbox.statuses = [(481, [])]
    network.cut(mailbox.alice)
    mailbox.connect()
    first, refused, anew = mailbox.subscribes()
    assert refused.headers.get("Call-ID") == first.headers.get("Call-ID") != anew.headers.get("Call-ID")


def test_a_challenge_is_answered_also_for_a_refresh() -> None:
    network = SipNetwork()
    mailbox = Mailbox(network)
    challenger = Challenger(mailbox.answer)
    network.cut(mailbox.alice)
    mailbox.connect(challenger)
    assert [cseq(request).number for request in mailbox.subscribes()] == [1, 2, 3]
    network.run(3000)
    assert mailbox.subscribes()[-1].headers.get("Proxy-Authorization") is not None
    assert len(mailbox.subscribes()) <= 5


def test_a_challenge_to_the_first_is_answered_as_well() -> None:
    network = SipNetwork()
    mailbox = Mailbox(network, (489, []))
    network.cut(mailbox.alice)
    mailbox.connect(Challenger(mailbox.answer))
    assert [cseq(request).number for request in mailbox.subscribes()] == [1, 1, 2]
    assert mailbox.notify() == 200


def test_a_wrong_password_is_not_tried_for_ever() -> None:
    network = SipNetwork()
    mailbox = Mailbox(network)
    challenger = Challenger(mailbox.answer, password="another")
    network.cut(mailbox.alice)
    mailbox.connect(challenger)
    network.run(100_000)
    assert len(mailbox.subscribes()) <= 4


@pytest.mark.parametrize(
    ("headers", "asked"),
    [([("Min-Expires", "7200")], ["3600", "7200"]), ([], ["3600"]), ([("Min-Expires", "x")], ["3600"])],
)
def test_a_longer_interval_is_granted_when_asked_for(headers: list[tuple[str, str]], asked: list[str]) -> None:
    network = SipNetwork()
    mailbox = Mailbox(network)
    mailbox.statuses = [(423, headers)]
    network.cut(mailbox.alice)
    mailbox.connect()
    assert [request.headers.get("Expires") for request in mailbox.subscribes()[1:]] == asked


def test_a_server_that_always_wants_longer_is_left_alone() -> None:
    network = SipNetwork()
    mailbox = Mailbox(network)
    mailbox.statuses = [(423, [("Min-Expires", "7200")])] * 100
    network.cut(mailbox.alice)
    mailbox.connect()
    network.run(1000)
    assert len(mailbox.subscribes()) == 5


@pytest.mark.parametrize(
    ("state", "after_s"),
    [("terminated;reason=timeout", 1), ("terminated;reason=giveup", 300), ("terminated", 300)],
)
def test_a_subscription_that_the_server_ends_is_made_anew(state: str, after_s: int) -> None:
    network = SipNetwork()
    mailbox = Mailbox(network)
    mailbox.notify(state=state)
    network.run(after_s - 0.5)
    assert len(mailbox.subscribes()) == 1
    network.run(2)
    assert len({request.headers.get("Call-ID") for request in mailbox.subscribes()}) == 2


def test_a_subscription_that_the_server_rejects_is_over() -> None:
    network = SipNetwork()
    mailbox = Mailbox(network)
    mailbox.notify(state="terminated;reason=rejected")
    network.run(100_000)
    assert len(mailbox.subscribes()) == 1


def test_an_account_may_change_its_mind() -> None:
    network = SipNetwork()
    mailbox = Mailbox(network, mailbox=False)
    for wanted, asked in ((True, ["3600"]), (False, ["3600", "0"]), (True, ["3600", "0", "3600"])):
        parameters = AccountParameters(aor="sip:alice@example.com", secret="pw", mailbox=wanted)
        mailbox.alice.ua.change_account("alice", parameters)
        mailbox.alice.take(mailbox.alice.ua.register("alice", mailbox.server.flow, network.now))
        network.run()
        assert [request.headers.get("Expires") for request in mailbox.subscribes()] == asked


def test_unregistering_ends_it_and_the_server_is_told() -> None:
    network = SipNetwork()
    mailbox = Mailbox(network)
    mailbox.alice.take(mailbox.alice.ua.unregister("alice", network.now))
    network.run(10_000)
    assert [request.headers.get("Expires") for request in mailbox.subscribes()] == ["3600", "0"]
    assert mailbox.notify(7) == 481


def test_unregistering_before_it_was_granted_says_nothing() -> None:
    network = SipNetwork()
    mailbox = Mailbox(network)
    mailbox.notify(state="terminated;reason=rejected")
    mailbox.alice.take(mailbox.alice.ua.unregister("alice", network.now))
    network.run()
    assert len(mailbox.subscribes()) == 1


def test_without_a_flow_a_refresh_waits_for_the_next() -> None:
    network = SipNetwork()
    mailbox = Mailbox(network)
    network.cut(mailbox.alice)
    network.run(10_000)
    assert len(mailbox.subscribes()) == 1
    mailbox.connect()
    assert len(mailbox.subscribes()) == 2


def test_without_room_for_another_request_it_is_tried_later() -> None:
    network = SipNetwork()
    alice = network.phone("alice")
    alice.ua = UserAgent(random=SeededRandom(3), transaction_limits=TransactionLimits(client=1))
    alice.ua.add_account("alice", AccountParameters(aor="sip:alice@example.com", mailbox=True))
    # over UDP the REGISTER stays for Timer K
    server = Server(network, alice, lambda r: registered(r) if r.method == "REGISTER" else None, transport="UDP")
    alice.take(alice.ua.register("alice", server.flow, network.now))
    network.run(290)
    assert alice.requests("SUBSCRIBE") == []
    network.run(20)
    assert alice.requests("SUBSCRIBE") != []


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({"event": "presence"}, 489),
        ({"body": "hello"}, 400),
        ({"body": ""}, 200),
        ({"state": "nonsense=;"}, 200),
    ],
)
def test_news_that_say_nothing_are_answered_as_they_deserve(facts: dict[str, str], status: int) -> None:
    mailbox = Mailbox(SipNetwork())
    assert mailbox.notify(**facts) == status  # type: ignore[arg-type]  # texts
    assert len(mailbox.alice.all(MessagesWaiting)) == int("state" in facts)


def test_old_news_are_no_news() -> None:
    mailbox = Mailbox(SipNetwork())
    mailbox.notify(5)
    assert mailbox.notify(4) == 500
    mailbox.alice.one(MessagesWaiting)


@pytest.mark.parametrize(("body", "told"), [(TWO, 1), ("", 0)])
def test_news_that_nobody_subscribed_to_are_taken_from_the_registrar(body: str, told: int) -> None:
    network = SipNetwork()
    _, bob = established(network)
    extra = "Event: message-summary\n" + ("Content-Type: application/simple-message-summary\n" if body else "")
    assert send(network, bob, "NOTIFY", extra=extra, body=body.replace("\r\n", "\n")).status == 200
    assert len(bob.all(MessagesWaiting)) == told


def test_news_from_a_stranger_are_not_taken() -> None:
    network = SipNetwork()
    alice = network.phone("alice", parameters=PARAMETERS)
    server = Server(network, alice, lambda request: None)
    data = NEWS.replace(";tag={near}", "").format(
        branch="x", far="f", call_id="c", number=1, event="message-summary", state="active", length=0, body=""
    )
    alice.take(alice.ua.receive(server.flow, data.replace("\n", "\r\n").encode(), network.now))
    assert [message.status for message in alice.sent if isinstance(message, Response)] == [403]
    assert parse(data.replace("\n", "\r\n").encode())
