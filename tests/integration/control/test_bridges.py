"""Bridges with real calls: what the far ends hear, and a daemon that is killed."""

from __future__ import annotations

from tests.support.child import until
from tests.support.exchange import Phone

LOUD_DBOV = -30.0


def told(phone: Phone, call: str, loud: bool) -> None:
    """The call's far end is sent something loud, or nothing."""
    until(lambda: (phone.stats(call)["sent_dbov"] > LOUD_DBOV) is loud, f"{call} is loud: {loud}", 10.0, 0.05)


def test_two_calls_hear_each_other_also_after_the_daemon_was_killed(phone: Phone) -> None:
    echo, tone = phone.calling("echo"), phone.calling("milliwatt")
    bridge = phone.post("/v1/bridges", {"calls": [echo, tone]}, status=201)
    phone.events.wait_for("bridge.created", lambda data: data["bridge"] == bridge)
    told(phone, echo, True)
    told(phone, tone, True)  # its own tone, from the echo of the other

    phone.die()
    began = phone.again()
    phone.wait_ready()
    phone.back(echo, began)
    phone.back(tone, began)
    again = phone.get(f"/v1/bridges/{bridge['id']}")
    assert (again["state"], set(again["calls"])) == ("active", {echo, tone})
    told(phone, echo, True)
    told(phone, tone, True)

    phone.verb(tone, "hangup")
    phone.events.wait_for("bridge.ended", lambda data: data["bridge"]["calls"] == [echo])
    told(phone, echo, False)
    assert phone.call(echo)["state"] == "active"
    phone.verb(echo, "hangup")
