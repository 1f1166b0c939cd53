"""Runs a program the way the unit would, where no systemd is booted: what of the sandbox can be had with plain calls.

The settings are read from the unit itself: system calls (`systemd-analyze` tells what the groups hold) and address
families by a seccomp filter, no capability, no new privilege, a root that is read-only but for the given directory, and
a /proc with processes only. Left out: another user and ProtectHome (the tests' interpreter may live in root's home),
PrivateDevices, and what only systemd does. Needs root, x86-64, and the numbers of the system calls (linux-libc-dev).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

from tests.support.child import missing

NUMBERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_X86_64 = 0xC000003E
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000


def require() -> None:
    """Skip the test where this cannot work, saying why."""
    if os.geteuid() != 0 or platform.machine() != "x86_64":
        missing("the unit's sandbox is rebuilt by root on x86-64 only")
    for name, package in (("systemd-analyze", "systemd"), ("setpriv", "util-linux"), ("unshare", "util-linux")):
        if shutil.which(name) is None:
            missing(f"{name} is not installed: apt-get install --no-install-recommends {package}")
    if not NUMBERS.exists():
        missing(f"{NUMBERS} is not there: apt-get install --no-install-recommends linux-libc-dev")
    if subprocess.run(["unshare", "--mount", "--ipc", "true"], capture_output=True, check=False).returncode:
        missing("no mount namespaces here")


def command(unit: Path, writable: Path, *argv: str) -> list[str]:
    """What to start instead of ``argv``. Below ``writable`` it may write."""
    place = shlex.quote(str(writable))
    mounts = (
        f"mount --bind {place} {place}; mount -o remount,bind,ro /; "
        'mount -t proc -o hidepid=invisible,subset=pid proc /proc; exec "$@"'
    )
    enter = ["unshare", "--mount", "--ipc", "--propagation", "private", "--", "sh", "-ec", mounts, "sh"]
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs", "--"]
    return [*enter, *drop, sys.executable, "-m", "tests.support.hardened", filter_of(unit).hex(), *argv]


def filter_of(unit: Path) -> bytes:
    """The seccomp filter (struct sock_filter[]) of the unit's SystemCallFilter= and RestrictAddressFamilies=."""
    numbers = {name: int(number) for name, number in re.findall(r"__NR_(\w+) (\d+)", NUMBERS.read_text())}
    allowed: set[str] = set()
    families: list[int] = []
    for key, value in re.findall(r"^(SystemCallFilter|RestrictAddressFamilies)=(.*)$", unit.read_text(), flags=re.M):
        if key == "RestrictAddressFamilies":
            families = [int(getattr(socket, name)) for name in value.split()]
        elif value.startswith("~"):
            allowed -= {call for group in value[1:].split() for call in _members(group)}
        else:
            allowed |= {call for group in value.split() for call in _members(group)}
    program = [_step(_LOAD, _ARCHITECTURE), _step(_EQUAL, _X86_64, 1, 0), _step(_RETURN, _KILL), _step(_LOAD, _NUMBER)]
    for call in sorted(allowed - {"socket"}):
        if call in numbers:
            program += [_step(_EQUAL, numbers[call], 0, 1), _step(_RETURN, _ALLOW)]
    program += [_step(_EQUAL, numbers["socket"], 1, 0), _step(_RETURN, _ERRNO | errno.EPERM)]
    program += [_step(_LOAD, _FIRST_ARGUMENT)]
    for family in families:
        program += [_step(_EQUAL, family, 0, 1), _step(_RETURN, _ALLOW)]
    return b"".join([*program, _step(_RETURN, _ERRNO | errno.EAFNOSUPPORT)])


def _members(group: str) -> set[str]:
    """The system calls of a group like ``@system-service``."""
    if not group.startswith("@"):
        return {group}
    listing = ["systemd-analyze", "--no-pager", "syscall-filter", group]
    output = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
    names = [line.strip() for line in output.splitlines()[1:]]
    return {call for name in names if name and not name.startswith("#") for call in _members(name)}


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("HBBI", code, yes, no, value)


def install(program: bytes) -> None:
    """Put the filter on this process and all that comes from it."""
    buffer = ctypes.create_string_buffer(program, len(program))
    described = ctypes.create_string_buffer(struct.pack("HP", len(program) // 8, ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(22, 2, described, 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), "PR_SET_SECCOMP")


if __name__ == "__main__":
    install(bytes.fromhex(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
