"""Accounts at run time: what is wished for, what is, and the flow between."""
