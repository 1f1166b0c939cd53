"""Generated input: what is written is read back; what is broken raises MalformedMessage and nothing else."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phoned.errors import MalformedMessage
from phoned.sip import accessors
from phoned.sip.challenge import Challenge, challenges, parse_challenges
from phoned.sip.extension_fields import FieldToken, RAck, Reason, Replaces
from phoned.sip.fields import ContentType, CSeq, NameAddr, SessionExpires, Via, check_address
from phoned.sip.grammar import quote, unquote
from phoned.sip.message import Headers, Message, Request, Response, parse, response_to, salvaged, serialise
from phoned.sip.uri import Uri

_DATA = Path(__file__).parents[2] / "data" / "sip"
_SAMPLES = sorted(path.read_bytes() for path in _DATA.glob("*.sip"))

# deterministic and bounded: a gate, not a search. Long searches are run apart
_GATE = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])

_TOKENS = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=12)
_TEXT = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=30)
_VALUES = _TEXT.map(str.strip).map(lambda text: text.strip(" \t"))
_USERS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
_HOSTS = st.sampled_from(["example.com", "192.0.2.1", "[2001:db8::1]", "a.invalid"])
_URIS = st.builds(
    lambda host, user, port, parameters: Uri.sip(host, user=user, port=port, **parameters),
    _HOSTS, st.none() | _USERS, st.none() | st.integers(1, 65535),
    st.dictionaries(st.sampled_from(["transport", "lr", "gr", "maddr"]), _USERS, max_size=3),
)  # fmt: skip
_ADDRESSES = st.builds(
    lambda uri, name, tag: NameAddr(uri=uri, display_name=name).with_parameter("tag", tag), _URIS, _TEXT, _TEXT
)


@_GATE
@given(_URIS)
def test_built_uri_is_read_back(uri: Uri) -> None:
    again = Uri.parse(str(uri))
    assert again == uri
    assert again.user == uri.user
    assert again.equivalent(uri)


@_GATE
@given(_ADDRESSES)
def test_built_address_is_read_back(address: NameAddr) -> None:
    again = NameAddr.parse(str(address))
    assert again == address
    assert again.tag == address.tag


@_GATE
@given(_TEXT | st.text('\\"\0a', max_size=20))
def test_quoted_text_is_read_back(text: str) -> None:
    assert unquote(quote(text)) == text


@_GATE
@given(_ADDRESSES, _ADDRESSES, st.lists(st.tuples(_TOKENS, _VALUES), max_size=5), st.binary(max_size=60), st.booleans())
def test_written_message_is_read_back(
    from_: NameAddr, to: NameAddr, extra: list[tuple[str, str]], body: bytes, request: bool
) -> None:
    headers = Headers(
        [
            ("Via", "SIP/2.0/WSS a.invalid;branch=z9hG4bKa"),
            ("From", str(from_)),
            ("To", str(to)),
            ("Call-ID", "c1"),
            ("CSeq", "1 OPTIONS"),
            *((f"X-{name}", value) for name, value in extra),
        ]
    )
    message: Message = (
        Request("OPTIONS", str(from_.uri), headers, body) if request else Response(200, "Żółć", headers, body)
    )
    data = serialise(message)
    again = parse(data)
    headers.add("Content-Length", str(len(body)))
    assert again == message
    assert serialise(again) == data
    assert accessors.from_(again) == from_


@_GATE
@given(st.data())
def test_mutated_message_raises_nothing_but_malformed(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(_SAMPLES)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        piece = data.draw(st.sampled_from(_PIECES) | st.binary(max_size=4))
        raw[at : at + data.draw(st.sampled_from([0, 0, 1, 2, 8, 40]))] = piece
    try:
        message = parse(bytes(raw))
    except MalformedMessage as error:
        request = salvaged(error)
        if request is not None:
            serialise(response_to(request, error.status, to_tag="t1"))
        return
    for read in (accessors.via_top, accessors.from_, accessors.to, accessors.call_id, accessors.cseq):
        read(message)
    if isinstance(message, Request):
        accessors.contacts(message)
        accessors.routes(message)
        accessors.record_routes(message)
        assert parse(serialise(response_to(message, 200, to_tag="t1")))
    for name, read_any in vars(accessors).items():
        if getattr(read_any, "__module__", "") == accessors.__name__ and not name.startswith("_"):
            try:
                read_any(message)
            except MalformedMessage:
                pass  # the one error that is allowed
    challenges(message, "WWW-Authenticate")


_PIECES = [
    b"\r\n", b"\n", b"\r", b"\0", b'"', b"\\", b"<", b">", b";", b",", b":", b"@", b"=", b" ", b"\t", b"%", b"%00",
    b"[", b"]", b"SIP/2.0", b"\xff", "ü".encode(), b"-1", b"99999999999999999999", b"\r\nVia: ", b"\r\n ", b"*",
    b"sip:", b";tag=", b"?",
]  # fmt: skip
_WORDS = [
    '"', "\\", "<", ">", ";", ",", "=", " ", "sip:", "a", "@", "Digest ", "1", "[::1]", "SIP/2.0/",
]  # fmt: skip

_GRAMMARS = (
    Uri.parse, NameAddr.parse, Via.parse, CSeq.parse, RAck.parse, SessionExpires.parse, Reason.parse, Replaces.parse,
    ContentType.parse, FieldToken.parse, Challenge.parse, parse_challenges,
)  # fmt: skip


@_GATE
@given(
    st.text('abS1/.:;,=@<>"\\ \t%[]?*\0é-_', max_size=40) | st.lists(st.sampled_from(_WORDS), max_size=20).map("".join)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in _GRAMMARS:
        try:
            read(text)
        except MalformedMessage:
            pass  # the one error that is allowed


_ADDRESS_PIECES = [
    "<", ">", "sip:", "sips:", "a", "@", "b.c", ":", "5060", "99999", ";", "x", "=", '"', "\\", " ", "\t", "%41", "[",
    "]", "<sip:a@b>", "<sip:b", ";tag=1", '"n" ', "n ", "?", ",", "`", "^", "|", "\0", "\x0b", "é",
]  # fmt: skip


@settings(_GATE, max_examples=600)
@given(st.lists(st.sampled_from(_ADDRESS_PIECES), max_size=12).map("".join))
def test_quick_look_at_an_address_agrees_with_reading_it(text: str) -> None:
    readable = True
    try:
        NameAddr.parse(text)
    except MalformedMessage:
        readable = False
    try:
        check_address(text)
    except MalformedMessage:
        assert not readable
    else:
        assert readable
