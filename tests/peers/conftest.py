"""The peers, each started once a session and fresh for each test. What they said is shown with a failed test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from tests.peers.harness.baresip import Baresip
from tests.peers.harness.browser import Browser, Library, Page
from tests.peers.harness.console import ConsolePage
from tests.peers.harness.exchange import ExchangeProcess
from tests.peers.harness.kamailio import Kamailio
from tests.peers.harness.phone import ACCOUNT, account, phoned
from tests.peers.harness.rtpengine import Rtpengine
from tests.support.child import free_ports, until
from tests.support.daemon import PhonedProcess

HERE = Path(__file__).parent
StartPhone = Callable[[PhonedProcess], PhonedProcess]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs a peer."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.peer)


def show(title: str, text: str) -> None:
    """Pytest prints it with a failed test only."""
    sys.stderr.write(f"\n----- {title}\n{text[-12_000:]}\n")


@pytest.fixture(scope="session")
def kamailio_server() -> Iterator[Kamailio]:
    with Kamailio() as server:
        yield server


@pytest.fixture
def kamailio(kamailio_server: Kamailio) -> Iterator[Kamailio]:
    """Registrar and proxy; browsers and phones talk to each other directly."""
    kamailio_server.fresh()
    yield kamailio_server
    show("kamailio", kamailio_server.recent_log)


@pytest.fixture(scope="session")
def bridge_server() -> Iterator[Kamailio]:
    with Rtpengine() as rtpengine, Kamailio(rtpengine=rtpengine) as server:
        yield server


@pytest.fixture
def bridge(bridge_server: Kamailio) -> Iterator[Kamailio]:
    """Registrar and proxy with rtpengine between WebRTC and plain RTP/AVP."""
    bridge_server.fresh()
    yield bridge_server
    show("kamailio with rtpengine", bridge_server.recent_log)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with Browser() as chromium:
        yield chromium


@pytest.fixture(scope="session")
def exchange() -> Iterator[ExchangeProcess]:
    """The exchange in a box."""
    with ExchangeProcess() as process:
        yield process


@pytest.fixture
def desk(exchange: ExchangeProcess, start_phone: StartPhone) -> PhonedProcess:
    """A daemon with the accounts alice and bob at the exchange, and a TCP port for the console."""
    accounts = [exchange.account("alice"), exchange.account("bob")]
    api = {"port": free_ports(1)[0]}
    phone = start_phone(
        PhonedProcess(
            {"accounts": accounts, "api": api, "network": {"allow_private": ["127.0.0.0/8"]}}, secrets=exchange.users
        )
    )
    until(lambda: all(one["state"] == "online" for one in phone.get("/v1/accounts")["data"]), "both are registered")
    return phone


@pytest.fixture
def tab(browser: Browser) -> Iterator[ConsolePage]:
    """An empty tab. What its page complains of fails the test: a breach of the policy above all."""
    page = ConsolePage(browser)
    yield page
    problems = page.problems()
    page.close()
    assert problems == []


class OpenPage(Protocol):
    """Opens a registered page, closed after the test."""

    def __call__(
        self, user: str, library: Library = "jssip", *, tone_hz: float = 440.0, auto_answer: bool = True
    ) -> Page: ...


@pytest.fixture
def open_page(browser: Browser, kamailio: Kamailio) -> Iterator[OpenPage]:
    opened: list[tuple[str, Page]] = []

    def open_(user: str, library: Library = "jssip", *, tone_hz: float = 440.0, auto_answer: bool = True) -> Page:
        page = browser.page(kamailio, user, library=library, tone_hz=tone_hz, auto_answer=auto_answer)
        opened.append((user, page))
        return page

    yield open_
    for user, page in opened:
        show(f"page {page.name}", "\n".join(page.wire()))
        page.close()
        # SIP.js has no instance id: the next page of this user must not fork to this one
        until(partial(gone, kamailio, user), f"the registrar forgets {user}")


def gone(kamailio: Kamailio, user: str) -> bool:
    return not kamailio.contacts(user)


@pytest.fixture
def start_phone() -> Iterator[StartPhone]:
    """Starts daemons; each is stopped after the test, and must end by itself with 0."""
    with ExitStack() as stack:

        def start(process: PhonedProcess) -> PhonedProcess:
            stack.enter_context(process)
            process.start()
            stack.callback(finish, process)
            return process

        def finish(process: PhonedProcess) -> None:
            code = process.stop()
            show("phoned", process.log)
            assert code == 0, f"phoned ended with {code}"

        yield start


@pytest.fixture
def phone(kamailio: Kamailio, start_phone: StartPhone) -> PhonedProcess:
    """A daemon whose account is registered at `kamailio`."""
    return online(start_phone(phoned(account(kamailio))))


@pytest.fixture
def bridged_phone(bridge: Kamailio, start_phone: StartPhone) -> PhonedProcess:
    """A daemon whose account is registered at `bridge`."""
    return online(start_phone(phoned(account(bridge))))


@pytest.fixture
def baresip(bridge: Kamailio) -> Iterator[Baresip]:
    """A plain RTP/AVP phone, ``carol``, that answers by itself and says 1000 Hz."""
    with Baresip(bridge, "carol") as peer:
        yield peer
        show("baresip", peer.log)


def online(phone: PhonedProcess) -> PhonedProcess:
    """Wait for the registration."""
    phone.events.wait_for("account.registered", lambda data: data["account"]["id"] == ACCOUNT)
    phone.wait_ready()
    return phone
