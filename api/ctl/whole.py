"""All commands of `phonectl` together: importing this registers each."""

from __future__ import annotations

from api.ctl import commands, configure, repair, webhooks
from api.ctl.session import app

__all__ = ["app", "commands", "configure", "repair", "webhooks"]
