"""All commands of `phonectl` together: importing this registers each."""

from __future__ import annotations

from api.ctl import care, commands, configure, repair, top, webhooks
from api.ctl.session import app

__all__ = ["app", "care", "commands", "configure", "repair", "top", "webhooks"]
