"""One INVITE usage each: calls as SIP sees them, both ways, from the first INVITE to the last BYE (RFC 3261 13 - 15).

`session` holds the state and deals events out; the verbs live in files of their own: `connect` (we call), `accept` (we
are called), `provisional` (RFC 3262), `modify` (re-INVITE, UPDATE), `close`, and `messages` (INFO, MESSAGE, OPTIONS).
"""
