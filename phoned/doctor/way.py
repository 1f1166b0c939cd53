"""The way to an outbound proxy: DNS, TCP, an HTTP proxy, TLS, the WebSocket. One dial of the phone's own dialler."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from phoned.doctor import certificate, remedies
from phoned.doctor.chain import Chain
from phoned.doctor.clock import Evidence
from phoned.model import Cause
from phoned.transport.dialer import WebSocketDialer
from phoned.transport.flow import Address, DialStep, FlowError, FlowListener, FlowTarget, TlsPolicy
from phoned.transport.resolver import Endpoint, Lookup, Resolver
from phoned.transport.websocket import WebSocketFlow

DIAL_S = 10.0
"""All steps together; each has its own, shorter limit in the dialler."""
NAMES = {
    DialStep.DNS: "dns",
    DialStep.TCP: "tcp",
    DialStep.PROXY: "http_proxy",
    DialStep.TLS: "tls",
    DialStep.UPGRADE: "websocket",
}


def steps_of(target: FlowTarget) -> list[str]:
    """The checks on this way, in order."""
    absent = set() if server_of(target)[1] else {DialStep.TLS}
    if target.http_proxy is None:
        absent.add(DialStep.PROXY)
    return [name for step, name in NAMES.items() if step not in absent]


def server_of(target: FlowTarget) -> tuple[Address, bool]:
    """Where the URL points to, and whether with TLS."""
    parts = urlsplit(target.url)
    secure = parts.scheme.lower() == "wss"
    return Address(parts.hostname or "", parts.port or (443 if secure else 80)), secure


class Way:
    """One way. `walk` dials and tells the chain what it met; hears its dialler (`DialWatch`)."""

    def __init__(self, target: FlowTarget, *, lookup: Lookup, evidence: Evidence) -> None:
        self._target = target
        self._evidence = evidence
        self._addresses: list[str] = []
        self._resolver = Resolver(self._noting(lookup))
        self._server = server_of(target)[0]
        proxy = target.http_proxy
        self._first = self._server if proxy is None else Address(proxy.host, proxy.port)
        self._begun: list[tuple[DialStep, float]] = []
        self._flow: WebSocketFlow | None = None

    def _noting(self, lookup: Lookup) -> Lookup:
        def work(host: str, port: int) -> Sequence[Endpoint]:
            found = lookup(host, port)
            self._addresses = list(dict.fromkeys(str(endpoint.address[0]) for endpoint in found))
            return found

        return work

    def on_step(self, step: DialStep) -> None:
        """A step of the dial begins."""
        self._begun.append((step, asyncio.get_running_loop().time()))

    def on_flow(self, flow: WebSocketFlow) -> None:
        """TCP is connected."""
        self._flow = flow

    async def walk(self, chain: Chain, listener: FlowListener) -> WebSocketFlow | None:
        """The open flow, which the caller ends; None when a check failed."""
        flow: WebSocketFlow | None = None
        failure: FlowError | None = None
        try:
            flow = await self._dial(self._target, listener)
        except FlowError as error:
            failure = error
            if error.cause is Cause.TLS and self._begun[-1][0] is DialStep.UPGRADE:
                self._begun.pop()  # a pin is looked at right after the handshake
        self._begun.append((DialStep.UPGRADE, asyncio.get_running_loop().time()))
        done = self._begun[:-1] if failure is None else self._begun[:-2]
        for (step, began), (_, ended) in zip(done, self._begun[1:], strict=False):
            chain.passed(f"{self._passed(step)} ({(ended - began) * 1000:.0f} ms)")
        if self._flow is not None:
            self._evidence.hear(self._server.host, self._flow.server_date)
            self._weigh(certificate.read(self._flow.certificate))
        if failure is not None:
            await self._failed(chain, self._begun[-2][0], failure, listener)
        return flow

    async def _dial(self, target: FlowTarget, listener: FlowListener) -> WebSocketFlow:
        dialer = WebSocketDialer(generations=itertools.count(1), resolver=self._resolver, watch=self)
        return await dialer.dial(target, listener, deadline_s=DIAL_S)

    def _passed(self, step: DialStep) -> str:
        flow = self._flow
        match step:
            case DialStep.DNS:
                name = self._first.host
                return f"{name}: {', '.join(self._addresses)}" if self._addresses else f"{name} is an address"
            case DialStep.TCP:
                return f"connected to {flow.remote if flow is not None and flow.remote.host else self._first}"
            case DialStep.PROXY:
                return f"the proxy connects to {self._server}"
            case DialStep.TLS:
                facts = certificate.read(flow.certificate if flow is not None else None)
                until = f", certificate until {certificate.day(facts.until)}" if facts else ""
                verified = ", not verified (insecure_skip_verify)" if self._target.tls.insecure_skip_verify else ""
                return f"{(flow and flow.tls_version) or 'TLS'}{until}{verified}"
            case DialStep.UPGRADE:
                return "upgraded, subprotocol sip"

    def _weigh(self, facts: certificate.Facts | None) -> None:
        now = self._evidence.clock()
        if facts is not None and facts.since <= now <= facts.until:
            until = certificate.day(facts.until)
            self._evidence.valid.append(f"the certificate of {self._server.host} is valid until {until}")

    async def _failed(self, chain: Chain, step: DialStep, error: FlowError, listener: FlowListener) -> None:
        if error.certificate_error is None:
            chain.failed(error.detail, remedies.of_dial(step, error, self._target, self._first, self._server))
            return
        facts = certificate.read(await self._shown(listener))
        if error.certificate_error == certificate.NOT_YET_VALID:
            since = f" (from {certificate.day(facts.since)})" if facts else ""
            self._evidence.too_early.append(f"the certificate of {self._server.host} is not valid yet{since}")
            chain.stop("by this machine's clock the certificate is not valid yet, see clock")
            return
        now = self._evidence.clock()
        chain.failed(error.detail, certificate.remedy(error.certificate_error, self._server.host, facts, now))

    async def _shown(self, listener: FlowListener) -> bytes | None:
        """The certificate that was not believed. The handshake is made again for it; the pin, which no key has, ends
        the dial before anything of ours is sent."""
        curious = TlsPolicy(insecure_skip_verify=True, pin_sha256=(certificate.NO_PIN,))
        try:
            (await self._dial(replace(self._target, tls=curious), listener)).abort()
        except FlowError:
            pass  # as it should
        return self._flow.certificate if self._flow is not None else None
