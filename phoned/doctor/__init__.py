"""The doctor: looks at everything that a call needs, and names what is broken and how to mend it.

One module for each kind of check; `examination` runs them in order, each with a deadline. It uses the phone's own parts
(dialler, SIP core, media engine) on sockets of its own, and changes nothing: neither the state directory nor the
registration of a phone that runs.
"""
