"""The figures of an account that nobody configures. Seconds where named so."""

from __future__ import annotations

UNREGISTER_BUDGET_S = 2.0
USER_TIMEOUT_S = 5.0
"""TCP_USER_TIMEOUT with a call up."""
STABLE_S = 10.0
"""How long a registration must hold before the back-off starts over."""
LEAST_REGISTER_S = 0.5
"""What is left for the REGISTER when the dial took nearly the whole attempt."""
MAX_ROUNDS = 16
"""Plans in a row without anything coming from outside; more is a bug, and is logged."""
