"""The strict writer of session descriptions.

Owns `SessionDescription` -> bytes: the one order of lines, CRLF, no line that the RFCs do not ask for. What could
break a line out of its place, or would tell a peer a name that only this machine knows, is refused.
"""

from __future__ import annotations

import ipaddress
import re

from phoned.errors import InvalidValue
from phoned.media.sdp.model import AudioDescription, OtherMedia, PayloadType, SessionDescription

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def write(description: SessionDescription) -> bytes:
    """The description as it goes on the wire. Raises `InvalidValue` for a value that must never be written."""
    origin, audio = description.origin, description.audio
    lines = [
        "v=0",
        f"o={origin.username} {origin.session_id} {origin.version} IN {_family(origin.address)} {origin.address}",
        "s=-",
        "t=0 0",
    ]
    if audio.ice_lite:
        lines.append("a=ice-lite")
    if description.bundle:
        lines.append(f"a=group:BUNDLE {' '.join(description.bundle)}")
    media = [_other(other) for other in description.others]
    media.insert(description.audio_index, _audio(audio))
    for section in media:
        lines += section
    if _CONTROL.search("".join(lines)):
        raise InvalidValue("a control character in a session description")
    return "".join(line + "\r\n" for line in lines).encode()


def _family(address: str) -> str:
    try:
        return f"IP{ipaddress.ip_address(address).version}"
    except ValueError:
        raise InvalidValue("only addresses are written into a session description, no names") from None


def _other(media: OtherMedia) -> list[str]:
    """A refused m-line: port 0, otherwise in the words of the offer (RFC 3264 section 6)."""
    lines = [f"m={media.kind} 0 {media.protocol} {' '.join(media.formats) or '0'}", "c=IN IP4 0.0.0.0"]
    if media.mid is not None:
        lines.append(f"a=mid:{media.mid}")
    return lines


def _audio(audio: AudioDescription) -> list[str]:
    formats = " ".join(str(payload_type.number) for payload_type in audio.payload_types)
    lines = [
        f"m=audio {audio.port} {audio.protocol} {formats}",
        f"c=IN {_family(audio.address)} {audio.address}",
    ]
    if audio.mid is not None:
        lines.append(f"a=mid:{audio.mid}")
    lines.append(f"a={audio.direction.value}")
    if audio.rtcp_mux:
        lines.append("a=rtcp-mux")
    for payload_type in audio.payload_types:
        lines += _format(payload_type)
    if audio.ptime_ms is not None:
        lines.append(f"a=ptime:{audio.ptime_ms}")
    if audio.maxptime_ms is not None:
        lines.append(f"a=maxptime:{audio.maxptime_ms}")
    if audio.setup is not None:
        lines.append(f"a=setup:{audio.setup.value}")
    lines += [f"a=fingerprint:{each.algorithm} {each.value}" for each in audio.fingerprints]
    if audio.tls_id is not None:
        lines.append(f"a=tls-id:{audio.tls_id}")
    if audio.ufrag:
        lines += [f"a=ice-ufrag:{audio.ufrag}", f"a=ice-pwd:{audio.pwd}"]
    for candidate in audio.candidates:
        _family(candidate.address)
        lines.append(f"a=candidate:{candidate}")
    if audio.end_of_candidates:
        lines.append("a=end-of-candidates")
    if audio.ssrc is not None and audio.cname is not None:
        lines.append(f"a=ssrc:{audio.ssrc} cname:{audio.cname}")
    return lines


def _format(payload_type: PayloadType) -> list[str]:
    name = payload_type.name if payload_type.name in ("opus", "telephone-event") else payload_type.name.upper()
    rtpmap = f"a=rtpmap:{payload_type.number} {name}/{payload_type.clock_rate}"
    if payload_type.channels > 1:
        rtpmap += f"/{payload_type.channels}"
    return [rtpmap, f"a=fmtp:{payload_type.number} {payload_type.fmtp}"] if payload_type.fmtp else [rtpmap]
