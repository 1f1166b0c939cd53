"""Flows: how SIP messages reach a proxy and come back. `flow` holds the protocols, the other modules are adapters."""
