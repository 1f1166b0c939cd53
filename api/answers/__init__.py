"""What answers look like, for OpenAPI and for the tests that compare them with what is really sent.

Answers are rendered by `phoned.plain` from the phone's views; these models only describe them.
"""

from __future__ import annotations

from api.answers.accounts import Account as Account
from api.answers.accounts import LastError as LastError
from api.answers.accounts import Mailbox as Mailbox
from api.answers.accounts import OutboundProxy as OutboundProxy
from api.answers.accounts import Registration as Registration
from api.answers.base import Answer as Answer
from api.answers.base import Event as Event
from api.answers.base import FieldError as FieldError
from api.answers.base import Health as Health
from api.answers.base import Identity as Identity
from api.answers.base import Login as Login
from api.answers.base import Moment as Moment
from api.answers.base import Page as Page
from api.answers.base import ProblemDocument as ProblemDocument
from api.answers.base import Root as Root
from api.answers.base import Sip as Sip
from api.answers.base import Ticket as Ticket
from api.answers.calls import Call as Call
from api.answers.calls import End as End
from api.answers.calls import Hold as Hold
from api.answers.calls import Media as Media
from api.answers.calls import Message as Message
from api.answers.calls import Peer as Peer
from api.answers.calls import QualitySample as QualitySample
from api.answers.calls import Recovering as Recovering
from api.answers.calls import Recovery as Recovery
from api.answers.calls import SipMessage as SipMessage
from api.answers.calls import Stats as Stats
from api.answers.calls import Trace as Trace
from api.answers.machine import AccountChanges as AccountChanges
from api.answers.machine import Check as Check
from api.answers.machine import Doctor as Doctor
from api.answers.machine import DoNotDisturb as DoNotDisturb
from api.answers.machine import Interface as Interface
from api.answers.machine import Lines as Lines
from api.answers.machine import Network as Network
from api.answers.machine import NetworkChange as NetworkChange
from api.answers.machine import NetworkRoute as NetworkRoute
from api.answers.machine import Reload as Reload
from api.answers.machine import Status as Status
from api.answers.sound import Bridge as Bridge
from api.answers.sound import Collected as Collected
from api.answers.sound import Device as Device
from api.answers.sound import Devices as Devices
from api.answers.sound import DeviceTest as DeviceTest
from api.answers.sound import DeviceUse as DeviceUse
from api.answers.sound import Playback as Playback
from api.answers.sound import Recording as Recording
from api.answers.sound import Stream as Stream
