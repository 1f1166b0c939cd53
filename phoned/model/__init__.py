"""The values that `Phone` speaks: frozen views of accounts, calls and what hangs on them.

A view is a copy of a moment. Nothing here has behaviour beyond small derived properties; the objects that change live
in `accounts`, `calls` and `media`. Field names are those of the control API (durations ``_s`` floats, ``_ms`` integers,
moments aware UTC datetimes).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from phoned.findings import CheckView as CheckView
from phoned.findings import DoctorView as DoctorView
from phoned.model.accounts import AccountChanges as AccountChanges
from phoned.model.accounts import AccountView as AccountView
from phoned.model.accounts import LastError as LastError
from phoned.model.accounts import MailboxView as MailboxView
from phoned.model.accounts import OutboundProxyView as OutboundProxyView
from phoned.model.accounts import RegistrationView as RegistrationView
from phoned.model.accounts import ReloadView as ReloadView
from phoned.model.bridges import BridgeView as BridgeView
from phoned.model.calls import BOT_TAG as BOT_TAG
from phoned.model.calls import HEADER_NAME as HEADER_NAME
from phoned.model.calls import MAX_HEADERS as MAX_HEADERS
from phoned.model.calls import CallRequest as CallRequest
from phoned.model.calls import CallView as CallView
from phoned.model.calls import EndView as EndView
from phoned.model.calls import HoldView as HoldView
from phoned.model.calls import MediaView as MediaView
from phoned.model.calls import Peer as Peer
from phoned.model.calls import QualitySample as QualitySample
from phoned.model.calls import Recovering as Recovering
from phoned.model.calls import RecoveryRecord as RecoveryRecord
from phoned.model.calls import StatsView as StatsView
from phoned.model.devices import DeviceKind as DeviceKind
from phoned.model.devices import DeviceRole as DeviceRole
from phoned.model.devices import DevicesChange as DevicesChange
from phoned.model.devices import DeviceState as DeviceState
from phoned.model.devices import DevicesView as DevicesView
from phoned.model.devices import DeviceTestView as DeviceTestView
from phoned.model.devices import DeviceView as DeviceView
from phoned.model.devices import RoleChange as RoleChange
from phoned.model.devices import RoleView as RoleView
from phoned.model.messages import MessageRequest as MessageRequest
from phoned.model.messages import MessageView as MessageView
from phoned.model.messages import SipMessageView as SipMessageView
from phoned.model.messages import TraceView as TraceView
from phoned.model.network import InterfaceView as InterfaceView
from phoned.model.network import NetworkChangeView as NetworkChangeView
from phoned.model.network import NetworkView as NetworkView
from phoned.model.network import RouteView as RouteView
from phoned.model.phone import PhoneStatus as PhoneStatus
from phoned.model.sound import CollectReason as CollectReason
from phoned.model.sound import CollectRequest as CollectRequest
from phoned.model.sound import CollectView as CollectView
from phoned.model.sound import DtmfRequest as DtmfRequest
from phoned.model.sound import Frame as Frame
from phoned.model.sound import OnClose as OnClose
from phoned.model.sound import PlaybackView as PlaybackView
from phoned.model.sound import PlayRequest as PlayRequest
from phoned.model.sound import RecordingView as RecordingView
from phoned.model.sound import RecordRequest as RecordRequest
from phoned.model.sound import SoundDirection as SoundDirection
from phoned.model.sound import Step as Step
from phoned.model.sound import StreamProtocolName as StreamProtocolName
from phoned.model.sound import StreamRequest as StreamRequest
from phoned.model.sound import StreamState as StreamState
from phoned.model.sound import StreamTracks as StreamTracks
from phoned.model.sound import StreamView as StreamView
from phoned.model.sound import WhileAway as WhileAway
from phoned.model.states import AccountState as AccountState
from phoned.model.states import CallState as CallState
from phoned.model.states import Cause as Cause
from phoned.model.states import Direction as Direction
from phoned.model.states import DtmfMethod as DtmfMethod
from phoned.model.states import EndCause as EndCause
from phoned.model.states import MediaState as MediaState
from phoned.model.states import Party as Party
from phoned.model.states import Wait as Wait

EMPTY: Mapping[str, Any] = MappingProxyType({})
