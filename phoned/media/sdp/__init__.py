"""Audio session descriptions: values, a tolerant reader, a strict writer, and offer/answer as pure functions."""

from phoned.media.sdp.candidates import default_candidate, forbidden_address, usable_candidates
from phoned.media.sdp.model import (
    AudioDescription,
    Candidate,
    Direction,
    Fingerprint,
    Origin,
    OtherMedia,
    PayloadType,
    SessionDescription,
    Setup,
)
from phoned.media.sdp.negotiate import (
    AgreedCodec,
    Agreement,
    LocalMedia,
    agree,
    answer_direction,
    changed,
    check_usable,
    choose_codecs,
    dtls_changed,
    dtls_role,
    ice_restarted,
    make_answer,
    make_offer,
    remote_hold,
)
from phoned.media.sdp.opus import OpusFormat
from phoned.media.sdp.read import read
from phoned.media.sdp.write import write

__all__ = [
    "AgreedCodec",
    "Agreement",
    "AudioDescription",
    "Candidate",
    "Direction",
    "Fingerprint",
    "LocalMedia",
    "OpusFormat",
    "Origin",
    "OtherMedia",
    "PayloadType",
    "SessionDescription",
    "Setup",
    "agree",
    "answer_direction",
    "changed",
    "check_usable",
    "choose_codecs",
    "default_candidate",
    "dtls_changed",
    "dtls_role",
    "forbidden_address",
    "ice_restarted",
    "make_answer",
    "make_offer",
    "read",
    "remote_hold",
    "usable_candidates",
    "write",
]
