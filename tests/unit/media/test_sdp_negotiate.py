"""Offer and answer: codecs, payload types, direction, roles, m-lines, and what changed; the strict writer with them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from phoned.errors import DescriptionError, InvalidValue
from phoned.media import sdp
from phoned.media.sdp import AudioDescription, Candidate, Direction, Origin, OtherMedia, PayloadType, Setup

PRINT = sdp.Fingerprint(algorithm="sha-256", value="AA:" * 31 + "AA")
OURS = Origin(session_id=10)
THEIRS = Origin(session_id=20)


def candidate(
    address: str, *, kind: str = "host", transport: str = "udp", component: int = 1, port: int = 5000
) -> Candidate:
    return Candidate(
        foundation="1", component=component, transport=transport, priority=1, address=address, port=port, type=kind
    )


def local(*codecs: str, direction: Direction = Direction.SENDRECV, dtx: bool = False) -> sdp.LocalMedia:
    return sdp.LocalMedia(
        codecs=codecs or ("opus", "G722", "PCMU", "PCMA"),
        ufrag="abcd",
        pwd="p" * 22,
        candidates=(candidate("192.0.2.1"),),
        fingerprint=PRINT,
        tls_id="t" * 24,
        ssrc=7,
        cname="me",
        direction=direction,
        opus=sdp.OpusFormat(fec=True, dtx=dtx),
    )


def change(description: sdp.SessionDescription, **values: object) -> sdp.SessionDescription:
    return replace(description, audio=replace(description.audio, **values))  # type: ignore[arg-type]  # test helper


OFFER = sdp.make_offer(local(), OURS)


def test_an_offer_names_everything_that_a_peer_needs() -> None:
    text = sdp.write(sdp.make_offer(local(dtx=True), OURS)).decode()
    assert text.endswith("\r\n")
    for line in (
        "v=0",
        "o=- 10 1 IN IP4 127.0.0.1",
        "a=group:BUNDLE 0",
        "m=audio 5000 UDP/TLS/RTP/SAVPF 111 9 0 8 110 101",
        "c=IN IP4 192.0.2.1",
        "a=mid:0",
        "a=sendrecv",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=10;useinbandfec=1;stereo=0;sprop-stereo=0;usedtx=1",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:110 telephone-event/48000",
        "a=rtpmap:101 telephone-event/8000",
        "a=ptime:20",
        "a=setup:actpass",
        f"a=fingerprint:sha-256 {PRINT.value}",
        "a=tls-id:" + "t" * 24,
        "a=ice-ufrag:abcd",
        "a=candidate:1 1 udp 1 192.0.2.1 5000 typ host",
        "a=end-of-candidates",
        "a=ssrc:7 cname:me",
    ):
        assert f"{line}\r\n" in text
    assert text.count("a=fingerprint") == 1


def test_what_is_written_is_read_as_it_was() -> None:
    assert sdp.read(sdp.write(OFFER)) == OFFER
    answer = sdp.make_answer(OFFER, local(), THEIRS)
    assert sdp.read(sdp.write(answer)) == answer


def test_without_any_candidate_the_default_is_the_discard_port() -> None:
    offer = sdp.make_offer(replace(local(), candidates=()), OURS)
    assert (offer.audio.port, offer.audio.address) == (9, "0.0.0.0")


@pytest.mark.parametrize("codecs", [("speex",), ()])
def test_an_offer_of_no_codec_of_ours_is_a_usage_error(codecs: tuple[str, ...]) -> None:
    with pytest.raises(InvalidValue):
        sdp.make_offer(replace(local(), codecs=codecs), OURS)


def browser_offer() -> sdp.SessionDescription:
    types = (
        PayloadType(number=63, name="red", clock_rate=48000, channels=2),
        PayloadType(number=8, name="pcma", clock_rate=8000),
        PayloadType(number=96, name="opus", clock_rate=48000, channels=2, fmtp="stereo=1"),
        PayloadType(number=97, name="opus", clock_rate=48000, channels=2),
        PayloadType(number=98, name="pcmu", clock_rate=16000),
        PayloadType(number=13, name="cn", clock_rate=8000),
        PayloadType(number=120, name="telephone-event", clock_rate=48000),
        PayloadType(number=121, name="telephone-event", clock_rate=8000),
        PayloadType(number=122, name="telephone-event", clock_rate=16000),
    )
    offer = change(OFFER, payload_types=types, mid="a1", protocol="RTP/SAVPF")
    others = (
        OtherMedia(kind="video", port=9, protocol="UDP/TLS/RTP/SAVPF", formats=("97", "98"), mid="v1"),
        OtherMedia(kind="application", port=9, protocol="UDP/DTLS/SCTP", formats=()),
    )
    return replace(offer, others=others, audio_index=1, bundle=("v1", "a1"), origin=THEIRS)


def test_an_answer_uses_the_offerer_s_numbers_order_profile_and_m_lines() -> None:
    answer = sdp.make_answer(browser_offer(), local(), OURS)
    assert [(p.number, p.name) for p in answer.audio.payload_types] == [
        (8, "pcma"),
        (96, "opus"),
        (120, "telephone-event"),
        (121, "telephone-event"),
    ]
    assert (answer.audio.protocol, answer.audio.mid, answer.bundle, answer.audio_index) == (
        "RTP/SAVPF",
        "a1",
        ("a1",),
        1,
    )
    text = sdp.write(answer).decode()
    assert (
        text.index("m=video 0 UDP/TLS/RTP/SAVPF 97 98")
        < text.index("m=audio")
        < text.index("m=application 0 UDP/DTLS/SCTP 0")
    )
    assert "a=mid:v1" in text


def test_our_own_order_on_request() -> None:
    answer = sdp.make_answer(browser_offer(), local("opus", "pcma", "opus", "g722"), OURS, order="local")
    assert [p.name for p in answer.audio.codecs] == ["opus", "pcma"]


def test_no_mid_no_bundle_no_mux_are_mirrored() -> None:
    answer = sdp.make_answer(change(OFFER, mid=None, rtcp_mux=False), local(), THEIRS)
    text = sdp.write(answer).decode()
    assert "BUNDLE" not in text
    assert "mid" not in text
    assert "rtcp-mux" not in text
    assert not sdp.agree(OFFER, answer).rtcp_mux


def test_no_codec_in_common_is_488() -> None:
    with pytest.raises(DescriptionError) as caught:
        sdp.make_answer(OFFER, replace(local(), codecs=("speex",)), THEIRS)
    assert caught.value.status == 488
    with pytest.raises(DescriptionError):
        sdp.agree(OFFER, change(OFFER, payload_types=()))


@pytest.mark.parametrize(
    "values",
    [
        {"port": 0},
        {"ufrag": ""},
        {"pwd": ""},
        {"fingerprints": ()},
        {"fingerprints": (sdp.Fingerprint(algorithm="sha-1", value="AA:BB"),)},
        {"setup": Setup.HOLDCONN},
    ],
)
def test_audio_that_cannot_be_secured_is_488(values: dict[str, object]) -> None:
    with pytest.raises(DescriptionError) as caught:
        sdp.check_usable(change(OFFER, **values))
    assert caught.value.status == 488


def test_an_answer_must_not_say_actpass() -> None:
    sdp.check_usable(OFFER)
    with pytest.raises(DescriptionError):
        sdp.check_usable(OFFER, answer=True)
    sdp.check_usable(change(OFFER, setup=None), answer=True)


@pytest.mark.parametrize(
    ("offered", "established", "answered", "role"),
    [
        (Setup.ACTPASS, None, Setup.ACTIVE, "client"),
        (Setup.ACTPASS, "client", Setup.ACTIVE, "client"),
        (Setup.ACTPASS, "server", Setup.PASSIVE, "server"),
        (Setup.ACTIVE, None, Setup.PASSIVE, "server"),
        (Setup.PASSIVE, None, Setup.ACTIVE, "client"),
        (None, None, Setup.PASSIVE, "server"),
    ],
)
def test_dtls_roles(offered: Setup | None, established: sdp.negotiate.Role | None, answered: Setup, role: str) -> None:
    offer = change(OFFER, setup=offered)
    answer = sdp.make_answer(offer, local(), THEIRS, established=established)
    assert answer.audio.setup is answered
    assert sdp.dtls_role(ours=answered, theirs=offered, offerer=False) == role
    assert sdp.dtls_role(ours=offered, theirs=answered, offerer=True) != role


def test_a_missing_role_in_an_answer_makes_us_the_client() -> None:
    assert sdp.dtls_role(ours=Setup.ACTPASS, theirs=None, offerer=True) == "client"


@pytest.mark.parametrize(
    ("offered", "wanted", "answered"),
    [
        ("sendrecv", "sendrecv", "sendrecv"),
        ("sendrecv", "sendonly", "sendonly"),
        ("sendonly", "sendrecv", "recvonly"),
        ("sendonly", "sendonly", "inactive"),
        ("recvonly", "sendrecv", "sendonly"),
        ("recvonly", "recvonly", "inactive"),
        ("inactive", "sendrecv", "inactive"),
        ("sendrecv", "inactive", "inactive"),
    ],
)
def test_direction_of_an_answer(offered: str, wanted: str, answered: str) -> None:
    assert sdp.answer_direction(Direction(offered), Direction(wanted)) is Direction(answered)


def audio(**values: object) -> AudioDescription:
    return change(OFFER, **values).audio


def test_remote_hold_in_all_its_forms() -> None:
    assert not sdp.remote_hold(audio())
    assert sdp.remote_hold(audio(direction=Direction.SENDONLY))
    assert sdp.remote_hold(audio(direction=Direction.INACTIVE))
    assert not sdp.remote_hold(audio(direction=Direction.RECVONLY))
    assert sdp.remote_hold(audio(address="0.0.0.0", port=4000))
    assert not sdp.remote_hold(audio(address="0.0.0.0", port=9))


def test_agreement_maps_both_sides_numbers() -> None:
    answer = change(
        sdp.make_answer(OFFER, local("opus", "pcmu"), THEIRS),
        payload_types=(
            PayloadType(number=0, name="pcmu", clock_rate=8000),
            PayloadType(number=99, name="opus", clock_rate=48000, channels=2, fmtp="stereo=0"),
            PayloadType(number=100, name="opus", clock_rate=48000, channels=2),
            PayloadType(number=13, name="cn", clock_rate=8000),
            PayloadType(number=126, name="telephone-event", clock_rate=8000),
        ),
    )
    agreement = sdp.agree(OFFER, answer)
    assert [(c.name, c.send_payload_type, c.receive_payload_type) for c in agreement.codecs] == [
        ("pcmu", 0, 0),
        ("opus", 99, 111),
    ]
    assert agreement.comfort_noise == 13
    assert agreement.direction is Direction.SENDRECV
    pcmu, opus = agreement.codecs
    event = agreement.telephone_event_for(pcmu)
    assert event is not None
    assert (event.send_payload_type, event.receive_payload_type) == (126, 101)
    assert agreement.telephone_event_for(opus) is None


def test_both_ends_agree_on_the_same() -> None:
    answer = sdp.make_answer(OFFER, local("pcma", "opus"), THEIRS)
    ours, theirs = sdp.agree(OFFER, answer), sdp.agree(answer, OFFER)
    assert [c.name for c in ours.codecs] == [c.name for c in theirs.codecs] == ["opus", "pcma"]
    assert ours.comfort_noise is None


def test_a_new_offer_keeps_numbers_mid_profile_and_m_lines_of_the_session() -> None:
    theirs = browser_offer()
    offer = sdp.make_offer(local("opus", "g722", "pcmu"), OURS, previous=theirs, setup=Setup.ACTIVE)
    numbers = {(p.name, p.clock_rate): p.number for p in offer.audio.payload_types}
    assert numbers[("opus", 48000)] == 96
    assert numbers[("telephone-event", 48000)] == 120
    assert numbers[("telephone-event", 8000)] == 121
    assert numbers[("g722", 8000)] == 9
    assert offer.audio.setup is Setup.ACTIVE
    assert (offer.audio.mid, offer.audio_index, [m.port for m in offer.others]) == ("a1", 1, [0, 0])


def test_a_number_in_use_for_something_else_is_not_taken_again() -> None:
    previous = change(
        OFFER,
        payload_types=(
            PayloadType(number=111, name="isac", clock_rate=16000),
            PayloadType(number=110, name="pcmu", clock_rate=8000),
        ),
    )
    offer = sdp.make_offer(local("opus", "pcmu"), OURS, previous=previous)
    numbers = [p.number for p in offer.audio.payload_types]
    assert len(set(numbers)) == len(numbers)
    assert not {110, 111} & {p.number for p in offer.audio.payload_types if p.name != "pcmu"}


def test_what_counts_as_a_change() -> None:
    assert not sdp.changed(OFFER, replace(OFFER, origin=Origin(session_id=10, version=2)))
    assert sdp.changed(OFFER, change(OFFER, direction=Direction.SENDONLY))
    assert sdp.ice_restarted(OFFER, change(OFFER, ufrag="new1"))
    assert sdp.ice_restarted(OFFER, change(OFFER, pwd="q" * 22))
    assert not sdp.ice_restarted(OFFER, change(OFFER, candidates=()))


def test_what_asks_for_a_new_dtls_association() -> None:
    other = sdp.Fingerprint(algorithm="sha-256", value="BB:" * 31 + "BB")
    assert not sdp.dtls_changed(OFFER, OFFER)
    assert sdp.dtls_changed(OFFER, change(OFFER, fingerprints=(other,)))
    assert sdp.dtls_changed(OFFER, change(OFFER, tls_id="u" * 24))
    assert not sdp.dtls_changed(OFFER, change(OFFER, tls_id=None))
    assert not sdp.dtls_changed(OFFER, change(OFFER, setup=Setup.ACTIVE))
    active, passive = change(OFFER, setup=Setup.ACTIVE), change(OFFER, setup=Setup.PASSIVE)
    assert not sdp.dtls_changed(active, passive)
    assert sdp.dtls_changed(active, passive, compare_setup=True)
    assert not sdp.dtls_changed(active, active, compare_setup=True)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("192.0.2.1", None),
        ("10.0.0.1", None),
        ("2001:db8::1", None),
        ("fd12::1", None),
        ("x.local", "hostname"),
        ("127.0.0.1", "loopback"),
        ("127.9.9.9", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("2001:db8::1%eth0", "link-local"),
        ("169.254.169.254", "metadata"),
        ("::ffff:169.254.169.254", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("255.255.255.255", "reserved"),
    ],
)
def test_addresses_that_are_never_contacted(address: str, reason: str | None) -> None:
    assert sdp.forbidden_address(address) == reason


def test_loopback_is_contacted_when_allowed_and_nothing_else_changes() -> None:
    assert sdp.forbidden_address("127.0.0.1", allow_loopback=True) is None
    assert sdp.forbidden_address("::ffff:127.0.0.1", allow_loopback=True) is None
    assert sdp.forbidden_address("169.254.169.254", allow_loopback=True) == "metadata"


def test_usable_candidates_leave_out_what_we_cannot_or_must_not_use() -> None:
    candidates = (
        candidate("192.0.2.1"),
        candidate("192.0.2.1"),
        candidate("192.0.2.2", transport="tcp"),
        candidate("192.0.2.3", component=2),
        candidate("x.local"),
        candidate("127.0.0.1"),
    )
    description = audio(candidates=candidates)
    assert [c.address for c in sdp.usable_candidates(description)] == ["192.0.2.1"]
    assert [c.address for c in sdp.usable_candidates(description, allow_loopback=True)] == ["192.0.2.1", "127.0.0.1"]


def test_the_default_candidate_is_the_one_that_works_without_ice() -> None:
    host, six = candidate("192.0.2.1"), candidate("2001:db8::1")
    reflexive, relay = candidate("198.51.100.1", kind="srflx"), candidate("203.0.113.1", kind="relay")
    assert sdp.default_candidate(()) is None
    assert sdp.default_candidate((six, host)) == host
    assert sdp.default_candidate((host, reflexive)) == reflexive
    assert sdp.default_candidate((host, reflexive, relay)) == relay


@pytest.mark.parametrize(
    "description",
    [
        change(OFFER, mid="0\r\na=evil:1"),
        change(OFFER, candidates=(candidate("x.local"),)),
        change(OFFER, address="host.example"),
    ],
)
def test_the_writer_refuses_what_must_never_be_written(description: sdp.SessionDescription) -> None:
    with pytest.raises(InvalidValue):
        sdp.write(description)


def test_the_writer_knows_what_our_offers_do_not_use() -> None:
    lite = change(
        OFFER,
        ice_lite=True,
        maxptime_ms=60,
        candidates=(),
        end_of_candidates=False,
        ufrag="",
        pwd="",
        tls_id=None,
        setup=None,
        ssrc=None,
        ptime_ms=None,
        address="2001:db8::1",
    )
    text = sdp.write(lite).decode()
    assert "a=ice-lite\r\n" in text
    assert "a=maxptime:60\r\n" in text
    assert "c=IN IP6 2001:db8::1\r\n" in text
    for absent in ("ice-ufrag", "setup", "tls-id", "ssrc", "ptime:20", "end-of"):
        assert f"a={absent}" not in text
