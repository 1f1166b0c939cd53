"""Webhooks: events told over HTTP, at least once, in order for each call, signed (Standard Webhooks 1.0)."""
