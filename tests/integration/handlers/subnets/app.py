# SPDX-License-Identifier: Apache-2.0
"""A handler that tries the network as the event says: {"tries": [[host, port], ...]} connects to
each, says hello, and tells what came back, or the error's name."""

import errno
import select
import socket
import time

def attempt(host, port, kind, patience):
    try:
        with socket.socket(socket.AF_INET, getattr(socket, kind)) as link:
            link.settimeout(patience)
            link.connect((host, port))
            link.sendall(b"hello\n")
            return link.recv(200).decode()
    except socket.timeout:
        return "timeout"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def interfaces():
    with open("/proc/net/route", encoding="ascii") as file:
        routes = [line.split()[:3] for line in file.readlines()[1:]]
    with open("/etc/resolv.conf", encoding="ascii") as file:
        names = [line.split()[1] for line in file if line.startswith("nameserver")]
    return {"interfaces": [name for _, name in socket.if_nameindex()], "routes": routes, "names": names}


def forbidden():
    """What takes a capability that handlers have not, or a kernel that has it."""
    errors = []
    for family, protocol in ((socket.AF_PACKET, 0), (socket.AF_INET, socket.IPPROTO_RAW)):
        try:
            socket.socket(family, socket.SOCK_RAW, protocol).close()
            errors.append(None)
        except OSError as error:
            errors.append(errno.errorcode[error.errno])
    return errors


def listen(port, seconds):
    """Whether anybody connects, or sends a packet, from outside."""
    with socket.create_server(("0.0.0.0", port)) as tcp, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("0.0.0.0", port))
        return bool(select.select([tcp, udp], [], [], seconds)[0])


def handler(event, context):
    result = {}
    if "resolve" in event:
        try:
            result["resolved"] = socket.gethostbyname(event["resolve"])
        except OSError as error:
            result["resolved"] = str(error)
    result["tries"] = [attempt(host, port, event.get("kind", "SOCK_STREAM"), event.get("patience", 10))
                       for host, port in event.get("tries", [])]
    if "listen" in event:
        result["heard"] = listen(event["listen"], event["seconds"])
    if event.get("look"):
        result["look"] = interfaces()
        result["raw"] = forbidden()
    time.sleep(event.get("sleep", 0))
    return result
