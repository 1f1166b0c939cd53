from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from api.access import Access, Principal, check_scope, in_group, scope_of_user
from api.errors import Problem
from api.security import Headers, Peer
from phoned.store.tokens import Scope, TokenStore, issue_token

TCP = Peer(unix=False, address="127.0.0.1")
ME, ROOT, MEMBER, STRANGER = (Peer(unix=True, uid=uid, gid=uid) for uid in (1000, 0, 2000, 65533))


@pytest.fixture
def access(tmp_path: Path) -> Access:
    return Access(TokenStore(tmp_path), rate_per_s=50, own_uid=1000)


def bearer(token: str) -> Headers:
    return [(b"authorization", b"Bearer " + token.encode())]


@pytest.mark.parametrize(("uid", "expected"), [(0, "admin"), (1000, "admin"), (2000, "call"), (65533, None)])
def test_the_user_behind_the_unix_socket_stands_for_a_token(uid: int, expected: Scope | None) -> None:
    assert scope_of_user(uid, uid, own_uid=1000, member=lambda uid, gid: uid == 2000) == expected


def test_membership_of_a_group() -> None:
    me = pwd.getpwuid(os.getuid())
    mine = grp.getgrgid(me.pw_gid).gr_name
    assert in_group(me.pw_uid, None, mine)
    assert in_group(65533, me.pw_gid, mine)
    assert not in_group(65533, 65533, mine)
    assert not in_group(me.pw_uid, me.pw_gid, "no-such-group-at-all")


def test_a_token_names_itself(access: Access, tmp_path: Path) -> None:
    token = issue_token(tmp_path, "call")
    principal = access.identify(TCP, bearer(token), 0.0)
    assert isinstance(principal, Principal)
    assert principal.scope == "call"
    assert principal.id.startswith("tok_")


def test_root_and_our_own_user_need_no_token(access: Access) -> None:
    assert access.identify(ROOT, [], 0.0) == Principal(id="uid:0", scope="admin")
    assert access.identify(ME, [], 0.0) == Principal(id="uid:1000", scope="admin")


def test_a_stranger_on_the_socket_and_everybody_on_tcp_need_one(access: Access) -> None:
    for peer in (STRANGER, TCP):
        found = access.identify(peer, [], 0.0)
        assert isinstance(found, Problem)
        assert found.code == "unauthorized"


def test_a_smaller_token_makes_root_smaller(access: Access, tmp_path: Path) -> None:
    principal = access.identify(ROOT, bearer(issue_token(tmp_path, "read")), 0.0)
    assert isinstance(principal, Principal)
    assert principal.scope == "read"


def test_a_wrong_token_is_wrong_even_for_root(access: Access) -> None:
    found = access.identify(ROOT, bearer("phoned_wrong"), 0.0)
    assert isinstance(found, Problem)
    assert found.status == 401


def test_the_sixth_wrong_token_is_429_and_a_right_one_still_works(access: Access, tmp_path: Path) -> None:
    statuses = []
    for _ in range(6):
        found = access.identify(TCP, bearer("wrong"), 0.0)
        assert isinstance(found, Problem)
        statuses.append(found.status)
    assert statuses == [401, 401, 401, 401, 401, 429]
    assert isinstance(access.identify(TCP, bearer(issue_token(tmp_path, "read")), 0.0), Principal)


def test_a_missing_token_does_not_count(access: Access) -> None:
    for _ in range(20):
        found = access.identify(TCP, [], 0.0)
        assert isinstance(found, Problem)
        assert found.status == 401


def test_a_ticket_stands_for_whoever_asked_for_it(access: Access) -> None:
    me = Principal(id="tok_1", scope="read")
    name = access.tickets.issue(me, 0.0)
    assert access.identify(TCP, [], 1.0, ("phoned.v1", f"bearer.{name}")) == me
    again = access.identify(TCP, [], 1.0, (f"bearer.{name}",))
    assert isinstance(again, Problem)
    assert again.status == 401


@pytest.mark.parametrize(
    ("held", "needed", "passes"),
    [("read", "read", True), ("read", "call", False), ("call", "media", False), ("admin", "media", True)],
)
def test_scopes(held: Scope, needed: Scope, passes: bool) -> None:
    found = check_scope(Principal(id="x", scope=held), needed)
    assert (found is None) == passes
    if found is not None:
        assert found.status == 403
        assert found.extra["scope"] == needed
