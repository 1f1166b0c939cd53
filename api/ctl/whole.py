"""All commands of `phonectl` together: importing this registers each."""

from __future__ import annotations

from api.ctl import bridges, care, commands, configure, devices, repair, streams, top, webhooks
from api.ctl.session import app

__all__ = ["app", "bridges", "care", "commands", "configure", "devices", "repair", "streams", "top", "webhooks"]
