"""The pure SIP core: up is returned, down is queued, time is passed in. No socket or clock inside."""
