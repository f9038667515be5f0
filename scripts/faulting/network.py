"""Network namespaces, so that packets are lost between programs; for root on Linux."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Final

from clustering.programs import ProgramFailed, executable

from faulting.proxy import CUT, HANG, PASS, Proxy

CLONE_NEWNET: Final = 0x40000000
LOSE, LOSE_THERE, LOSE_BACK = "packets are lost", "packets there are lost", "packets back are lost"
PATIENCE: Final = 20.0  # seconds
NOBODY: Final = "02:00:00:00:00:01"  # no interface has this Ethernet address, so packets to it are dropped


def enter() -> bool:
    """Moves the process to a network of its own, which has loopback and nothing else.

    Call it on the main thread, before there are others. The network ends with the last process in it. Returns
    False where that is not allowed, or `ip` or `nsenter` is missing.
    """
    try:
        for name in ("ip", "nsenter"):
            executable(name)
        _unshare()
    except (ProgramFailed, OSError):
        return False
    _run("ip", "link", "set", "lo", "up")
    return True


class Namespace:
    """The network of one machine. Used on one thread."""

    def __init__(self, number: int) -> None:
        """`number` is from 0 to 255, and no other namespace has it."""
        self.number = number
        self._fd = -1
        thread = threading.Thread(target=self._make)
        thread.start()
        thread.join()
        self.prefix: Final = [executable("nsenter"), f"--net=/proc/{os.getpid()}/fd/{self._fd}"]
        """In front of a command, it makes it run there."""
        _run(*self.prefix, "ip", "link", "set", "lo", "up")

    def close(self) -> None:
        """Lets go of it. It ends with the last process that runs there."""
        os.close(self._fd)

    def _make(self) -> None:
        _unshare()  # moves this thread alone
        self._fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Link:
    """A cable to a namespace. `here` and `there` are the addresses of its ends. Used on one thread."""

    modes: tuple[str, ...] = (LOSE, LOSE_THERE, LOSE_BACK)

    def __init__(self, namespace: Namespace, number: int) -> None:
        """`number` is from 0 to 63, and no other cable of the namespace has it."""
        self.here = f"198.18.{namespace.number}.{4 * number + 1}"  # RFC 2544: for tests of devices
        self.there = f"198.18.{namespace.number}.{4 * number + 2}"
        here, there = f"link{namespace.number}-{number}", f"link{number}"
        peer = ["peer", "name", here, "netns", str(os.getpid())]
        _run(*namespace.prefix, "ip", "link", "add", there, "type", "veth", *peer)
        near, far = _End([], here, self.here), _End(namespace.prefix, there, self.there)
        self._namespace = namespace
        near.wait_until_up()
        far.wait_until_up()
        self._ways = ((near, far, (LOSE, LOSE_THERE)), (far, near, (LOSE, LOSE_BACK)))
        self.set(PASS)

    def carry_all(self) -> None:
        """From now on, everything that leaves the namespace for elsewhere comes through here."""
        _run(*self._namespace.prefix, "ip", "route", "add", "default", "via", self.here)

    def set(self, mode: str) -> None:
        """LOSE, LOSE_THERE or LOSE_BACK; with any other mode, no packet is lost."""
        for end, other, losing in self._ways:
            end.send_to(other.address, NOBODY if mode in losing else other.hardware)


class _End:
    def __init__(self, prefix: Sequence[str], device: str, address: str) -> None:
        self.address = address
        self._ip = [*prefix, "ip"]
        self._device = device
        _run(*self._ip, "address", "add", f"{address}/30", "dev", device)
        _run(*self._ip, "link", "set", device, "up")
        self.hardware = self._shown()[2]

    def wait_until_up(self) -> None:
        """Waits until packets get through. The kernel, which drops them before, sees to that on its own."""
        deadline = time.monotonic() + PATIENCE
        while self._shown()[1] != "UP":
            if time.monotonic() > deadline:
                raise ProgramFailed(f"{self._device} is not up after {PATIENCE:g} s")
            time.sleep(0.01)

    def _shown(self) -> list[str]:
        """The name, state and Ethernet address of the device, then others."""
        return _run(*self._ip, "-brief", "link", "show", self._device).split()

    def send_to(self, address: str, hardware: str) -> None:
        entry = [address, "lladdr", hardware, "dev", self._device, "nud", "permanent"]
        _run(*self._ip, "neighbour", "replace", *entry)


class LinkedProxy(Proxy):
    """A proxy at this end of a cable, which can lose packets, too."""

    modes = (HANG, CUT, *Link.modes)

    def __init__(self, target: int, link: Link, *, inward: bool) -> None:
        """`inward`: it leads to a program in the namespace; otherwise from one."""
        ends = {"to": link.there} if inward else {"host": link.here}
        super().__init__(target, **ends)
        self._link = link

    def set(self, mode: str) -> None:
        """As for a proxy, or LOSE, LOSE_THERE or LOSE_BACK, as seen from this end."""
        self._link.set(mode)
        super().set(PASS if mode in Link.modes else mode)


def add_address(address: str) -> None:
    """Gives this machine another address, for programs that are reached from all namespaces."""
    _run("ip", "address", "add", f"{address}/32", "dev", "lo")


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "unshare") or libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "a network namespace cannot be made")


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProgramFailed(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
