"""What a phone costs that does nothing: start to ready, memory with one account, and 500 accounts in one process.

`phoned run` as a process of its own, seen from outside; the exchange in a box is another one, on another core. Nobody
calls: what is spent is keep-alives and refreshes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.end import End, cpu_s, pin, rss_mb
from tests.bench.end_sandbox import user
from tests.bench.report import Report, arguments, progress, row
from tests.support.child import until
from tests.support.daemon import PhonedProcess

MANY = 500
SETTLE_S = 3.0


@contextmanager
def exchange(users: int) -> Iterator[tuple[str, str, End]]:
    """The exchange's URL and domain, and its process."""
    with End("tests.bench.end_sandbox", str(users), core=1) as sandbox:
        where = sandbox.ask(do="start")
        try:
            yield where["url"], where["domain"], sandbox
        finally:
            sandbox.ask(do="stop")


def phone(url: str, domain: str, accounts: int) -> PhonedProcess:
    """A daemon that will have so many accounts; not started."""
    tables = [
        {
            "id": user(number),
            "aor": f"sip:{user(number)}@{domain}",
            "password_file": user(number),
            "outbound_proxy": url,
        }
        for number in range(accounts)
    ]
    secrets = {user(number): user(number) for number in range(accounts)}
    return PhonedProcess({"accounts": tables}, secrets=secrets)


def one_account(report: Report, *, rounds: int) -> None:
    """``ready_ms`` and ``idle_1_rss_mb``."""
    ready: list[float] = []
    memory: list[float] = []
    with exchange(1) as (url, domain, _):
        for number in range(rounds):
            with phone(url, domain, 1) as process:
                began = time.monotonic()
                process.start()
                process.wait_ready()
                ready.append((time.monotonic() - began) * 1000)
                time.sleep(SETTLE_S)
                memory.append(rss_mb(process.process.pid))
            progress(f"start {number + 1} of {rounds}: ready after {ready[-1]:.0f} ms, {memory[-1]:.0f} MB")
    report.add(row("ready_ms", ready, unit="ms", note="from the start of `phoned run` to /readyz, seen every 20 ms"))
    report.add(row("idle_1_rss_mb", memory, unit="MB", note="with the control API"))


def many_accounts(report: Report, *, accounts: int, seconds: float) -> None:
    """``idle_500_cpu_pct`` and ``idle_500_rss_mb``."""
    with exchange(accounts) as (url, domain, _), phone(url, domain, accounts) as process:
        began = time.monotonic()
        process.start(timeout_s=60.0)
        pid = process.process.pid
        pin(pid, 0)

        def online() -> bool:
            listed = process.get("/v1/accounts")
            return [account["state"] for account in listed["data"]] == ["online"] * accounts

        until(online, f"{accounts} accounts are online", 120.0, 0.5)
        progress(f"{accounts} accounts online after {time.monotonic() - began:.1f} s")
        time.sleep(SETTLE_S)
        cpu: list[float] = []
        memory: list[float] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            before, start = cpu_s(pid), time.monotonic()
            time.sleep(5.0)
            cpu.append((cpu_s(pid) - before) / (time.monotonic() - start) * 100)
            memory.append(rss_mb(pid))
            progress(f"  {cpu[-1]:.2f} % of a core, {memory[-1]:.0f} MB")
    report.add(row(f"idle_{accounts}_cpu_pct", cpu, unit="%", note="of one core, in windows of 5 s"))
    report.add(row(f"idle_{accounts}_rss_mb", memory, unit="MB"))


def main() -> None:
    """Print the table, write ``build/bench/idle.json``."""
    parser = arguments("what an idle phone costs")
    parser.add_argument("--accounts", type=int, default=MANY, help=f"in one process ({MANY})")
    options = parser.parse_args()
    report = Report(name="idle")
    one_account(report, rounds=2 if options.quick else 5)
    many_accounts(report, accounts=options.accounts, seconds=15.0 if options.quick else 60.0)
    report.publish(as_json=options.json)


if __name__ == "__main__":
    main()
