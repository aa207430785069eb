# SPDX-License-Identifier: Apache-2.0
"""What a handler with a network sees and may do: echo servers at the gateway, ports in $PORTS."""

import fcntl
import hashlib
import os
import socket
import struct

GATEWAY = "198.18.0.1"
TCP, UDP = (int(port) for port in os.environ["PORTS"].split(","))
SIOCGIFADDR, SIOCSIFADDR, SIOCGIFMTU, SIOCGIFHWADDR = 0x8915, 0x8916, 0x8921, 0x8927


def tcp(size):
    """Sends so much and reads it back: the digest of what came."""
    data, got = bytes(i * 7 % 251 for i in range(4096)) * (size // 4096 + 1), hashlib.sha256()
    with socket.create_connection((GATEWAY, TCP), timeout=60) as stream:
        sent = 0
        while sent < size:
            part = data[sent:min(size, sent + 32768)]
            stream.sendall(part)
            sent += len(part)
            left = len(part)
            while left:
                back = stream.recv(left)
                if not back:
                    raise EOFError
                got.update(back)
                left -= len(back)
        assert got.digest() == hashlib.sha256(data[:size]).digest()
        return [size, stream.getsockname()[0]]


def udp(size):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets:
        packets.settimeout(60)
        packets.sendto(b"u" * size, (GATEWAY, UDP))
        return len(packets.recv(65536))


def refusal(what):
    try:
        what()
        return "allowed"
    except OSError as error:
        return type(error).__name__


def ask(request):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        return fcntl.ioctl(any_socket, request, struct.pack("16s24x", b"eth0"))


def change_address():
    address = struct.pack("16sHH4s", b"eth0", socket.AF_INET, 0, socket.inet_aton("198.18.0.1"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFADDR, address.ljust(40, b"\0"))


def send_as_another():
    """IP_FREEBIND lets anybody bind to an address that is not here; it lets nobody send from it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.IPPROTO_IP, 15, 1)
        other.bind(("203.0.113.7", 5555))
        other.sendto(b"spoof", (GATEWAY, UDP))


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def facts():
    status = dict(line.split(":\t", 1) for line in read("/proc/self/status").splitlines())
    return {
        "address": socket.inet_ntoa(ask(SIOCGIFADDR)[20:24]),
        "mtu": struct.unpack_from("i", ask(SIOCGIFMTU), 16)[0],
        "mac": ask(SIOCGIFHWADDR)[18:24].hex(":"),
        "devices": [line.split(":")[0].strip() for line in read("/proc/net/dev").splitlines()[2:]],
        "ipv6": [line.split()[-1] for line in read("/proc/net/if_inet6").splitlines()],
        "neighbours": [line.split()[:4] for line in read("/proc/net/arp").splitlines()[1:]],
        "routes": [line.split()[:3] for line in read("/proc/net/route").splitlines()[1:]],
        "capabilities": [status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")],
        "raw": refusal(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)),
        "packet": refusal(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)),
        "change": refusal(change_address),
        "another": refusal(send_as_another),
        "resolver": refusal(lambda: open("/etc/resolv.conf", "w", encoding="ascii")),
    }


# In the init: what a cold start has.
AT_INIT = tcp(1000)


def handler(event, _context):
    answer = {"init": AT_INIT, "tcp": tcp(event.get("size", 1000)), "udp": udp(event.get("packet", 100))}
    if event.get("facts"):
        answer["facts"] = facts()
    return answer
