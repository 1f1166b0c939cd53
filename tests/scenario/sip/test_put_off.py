"""Retry-After in the refusal of our re-INVITE: a repair is said again then; a person is not kept waiting for long."""

from __future__ import annotations

import pytest

from phoned.sip.account import AccountParameters
from phoned.sip.events import Modified, ModifyCause, ModifyPutOff, ModifyRefused
from phoned.sip.invite_session.modify import MAX_AGAIN
from phoned.sip.message import Request, Response, response_to
from tests.support.sip_network import Phone, SipNetwork
from tests.support.sip_server import Server, accept_all

RECOVERY, MEDIA, HOLD = ModifyCause.RECOVERY, ModifyCause.MEDIA, ModifyCause.HOLD


class Scene:
    """A call of Alice's; then the proxy refuses so many re-INVITEs."""

    def __init__(self, status: int, after_s: int, *, times: int = 1, retention_s: float = 300.0) -> None:
        self.network = SipNetwork()
        parameters = AccountParameters(aor="sip:alice@example.com", retention_s=retention_s)
        self.alice: Phone = self.network.phone("alice", parameters=parameters)
        self.server = Server(self.network, self.alice, accept_all)
        self.alice.take(self.alice.ua.register("alice", self.server.flow, self.network.now))
        self.network.run()
        self.alice.call()
        self.network.run()
        self.left = times
        self._refusal = status, after_s
        self.server.answer = self.answer

    def answer(self, request: Request) -> Response | None:
        if request.method != "INVITE" or not self.left:
            return accept_all(request)
        self.left -= 1
        status, after_s = self._refusal
        response = response_to(request, status, to_tag="far")
        response.headers.add("Retry-After", f"{after_s} (busy);duration=60")
        return response

    @property
    def said(self) -> int:
        """re-INVITEs so far."""
        return len(self.server.requests("INVITE")) - 1

    @property
    def refusals(self) -> list[tuple[int, float | None]]:
        return [(event.status, event.retry_after_s) for event in self.alice.all(ModifyRefused)]


@pytest.mark.behaviour("W25")
@pytest.mark.parametrize("cause", [RECOVERY, MEDIA])
@pytest.mark.parametrize(("status", "after_s"), [(503, 3), (503, 120), (500, 30), (480, 3), (404, 3), (600, 3)])
def test_a_repair_that_is_put_off_is_said_again_when_it_may_be(cause: ModifyCause, status: int, after_s: int) -> None:
    scene = Scene(status, after_s)
    scene.alice.reinvite(cause)
    scene.network.run(after_s - 0.1)
    put_off = scene.alice.one(ModifyPutOff)
    assert (put_off.causes, put_off.status, put_off.after_s) == ((cause,), status, after_s)
    assert (scene.said, scene.refusals, scene.alice.all(Modified)) == (1, [], [])
    scene.network.run(1)
    assert (scene.said, scene.refusals) == (2, [])
    assert scene.alice.one(Modified).causes == (cause,)


def test_a_repair_is_put_off_no_longer_than_its_call_may_wait() -> None:
    scene = Scene(503, 400)
    scene.alice.reinvite(RECOVERY)
    scene.network.run(1)
    assert scene.refusals == [(503, 400)]
    scene = Scene(503, 40, times=9, retention_s=100)
    scene.alice.reinvite(RECOVERY)
    scene.network.run(70)
    assert (scene.said, scene.refusals) == (2, [])
    scene.network.run(30)
    assert (scene.said, scene.refusals) == (3, [(503, 40)])
    scene.alice.reinvite(RECOVERY)
    scene.network.run(1)
    assert len(scene.alice.all(ModifyPutOff)) == 3, "another repair has its own time"


def test_a_repair_is_put_off_so_many_times_and_no_more() -> None:
    scene = Scene(503, 0, times=99)
    scene.alice.reinvite(RECOVERY)
    scene.network.run(30)
    assert (scene.said, scene.refusals) == (MAX_AGAIN + 1, [(503, 0)])


def test_a_person_waits_for_a_short_while_only() -> None:
    scene = Scene(503, 3)
    scene.alice.reinvite(HOLD)
    scene.network.run(4)
    assert (scene.said, scene.refusals) == (2, [])
    for status, after_s in ((503, 11), (603, 3)):
        scene = Scene(status, after_s)
        scene.alice.reinvite(HOLD)
        scene.network.run(60)
        assert (scene.said, scene.refusals) == (1, [(status, after_s)])


def test_what_is_wished_meanwhile_goes_with_the_repair_that_was_put_off() -> None:
    scene = Scene(503, 20)
    scene.alice.reinvite(RECOVERY)
    scene.network.run(1)
    scene.alice.reinvite(HOLD)
    scene.network.run(1)
    assert scene.said == 1
    scene.network.run(20)
    assert scene.alice.one(Modified).causes == (RECOVERY, HOLD)


def test_a_new_flow_does_not_wait_for_what_the_old_one_asked() -> None:
    scene = Scene(503, 60)
    scene.alice.reinvite(RECOVERY)
    scene.network.run(1)
    new = Server(scene.network, scene.alice, accept_all)
    scene.alice.take(scene.alice.ua.register("alice", new.flow, scene.network.now))
    scene.alice.take(scene.alice.ua.move_account("alice", new.flow, scene.network.now))
    scene.network.run(1)
    assert len(new.requests("INVITE")) == 1
    scene.alice.one(Modified)
    scene.network.run(90)
    assert scene.said == len(new.requests("INVITE")) == 1


def test_a_call_that_is_hung_up_is_not_repaired_any_more() -> None:
    scene = Scene(503, 5)
    scene.alice.reinvite(RECOVERY)
    scene.network.run(1)
    scene.alice.hangup()
    scene.network.run(10)
    assert (scene.said, len(scene.server.requests("BYE"))) == (1, 1)
