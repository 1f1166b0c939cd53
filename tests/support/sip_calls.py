"""Calls that scenarios start from."""

from __future__ import annotations

from tests.support.sip_network import Phone, SipNetwork


def ringing(network: SipNetwork, **options: object) -> tuple[Phone, Phone]:
    """Alice calls, Bob rings."""
    alice, bob = network.pair(**options)  # type: ignore[arg-type]  # passed through
    alice.call()
    network.run()
    bob.ring()
    network.run()
    return alice, bob


def established(network: SipNetwork, **options: object) -> tuple[Phone, Phone]:
    """Alice called, Bob answered."""
    alice, bob = ringing(network, **options)
    bob.answer()
    network.run()
    return alice, bob
