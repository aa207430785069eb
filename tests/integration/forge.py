# SPDX-License-Identifier: Apache-2.0
"""Snapshots as an attacker would make them (docs/snapshot-format.md): files whose checksums are
right and whose contents are not."""

import ctypes
import hashlib
import hmac
import json
import os
import struct
import subprocess

_xxhash = ctypes.CDLL("libxxhash.so.0")
_xxhash.XXH3_64bits.restype = ctypes.c_uint64
_xxhash.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
_zstd = ctypes.CDLL("libzstd.so.1")
for _name in ("ZSTD_compress", "ZSTD_compressBound"):
    getattr(_zstd, _name).restype = ctypes.c_size_t
_zstd.ZSTD_compressBound.argtypes = [ctypes.c_size_t]
_zstd.ZSTD_compress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t,
                                ctypes.c_int]


def xxh3(data):
    return struct.pack("<Q", _xxhash.XXH3_64bits(bytes(data), len(data)))


def zstd(data, level=3):
    bound = _zstd.ZSTD_compressBound(len(data))
    out = ctypes.create_string_buffer(bound)
    return out.raw[:_zstd.ZSTD_compress(out, bound, data, len(data), level)]


def read(path):
    with open(path, "rb") as file:
        return bytearray(file.read())


def write(path, data):
    """As a new file: the old one may have other names, under which it is to stay as it was."""
    os.remove(path)
    with open(path, "wb") as file:
        file.write(data)


def truncate(path, size):
    write(path, read(path)[:size])


def flip_sparse(path, at, bit=0):
    """As flip, for a large file that is mostly holes."""
    copy = path + ".copy"
    subprocess.run(["cp", "--sparse=always", path, copy], check=True)
    os.rename(copy, path)
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0] ^ 1 << bit
        file.seek(at)
        file.write(bytes([byte]))


def flip(path, at, bit=0):
    data = read(path)
    data[at] ^= 1 << bit
    write(path, data)


# --- protobuf, as little as State needs ----------------------------------------------------------------

def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _encode_varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(data):
    """[(field number, wire type, value, where the value begins)]"""
    fields, at = [], 0
    while at < len(data):
        key, at = _varint(data, at)
        begin = at
        if key & 7 == 0:
            value, at = _varint(data, at)
        elif key & 7 == 1:
            value, at = bytes(data[at:at + 8]), at + 8
        elif key & 7 == 2:
            size, begin = _varint(data, at)
            value, at = bytes(data[begin:begin + size]), begin + size
        else:
            raise ValueError(f"wire type {key & 7}")
        fields.append((key >> 3, key & 7, value, begin))
    return fields


def encode(fields):
    out = b""
    for number, kind, value, *_ in fields:
        out += _encode_varint(number << 3 | kind)
        if kind == 0:
            out += _encode_varint(value)
        elif kind == 1:
            out += value
        else:
            out += _encode_varint(len(value)) + value
    return out


# --- a snapshot's files --------------------------------------------------------------------------------

STATE_HEADER = 24
STATE_VCPUS, STATE_MEMORY, STATE_TEMPLATE, STATE_CPU = 1, 2, 3, 4
STATE_DEVICES, STATE_INDEX = 9, 10
INDEX_RUNS_AT = 40


def seal_state(data):
    """The checksum and the size of a state, made right again."""
    data[12:16] = struct.pack("<I", len(data) - STATE_HEADER)
    data[16:24] = xxh3(data[STATE_HEADER:])
    return data


def state_fields(path):
    return decode(read(path)[STATE_HEADER:])


def write_state(path, fields):
    data = read(path)[:STATE_HEADER] + encode(fields)
    write(path, seal_state(data))


def change_state(folder, change):
    """change(fields) gives the new ones. The manifest is told of the new size."""
    path = os.path.join(folder, "state")
    write_state(path, change(state_fields(path)))
    change_manifest(folder, lambda manifest: manifest["files"].update(state=os.path.getsize(path)))


def replace_field(number, value):
    """For change_state: a field with another value."""
    return lambda fields: [(n, kind, value if n == number else old) for n, kind, old, _ in fields]


def write_index(folder, data):
    """An index with its checksum, and a state that belongs to it."""
    data[-8:] = xxh3(data[:-8])
    write(os.path.join(folder, "index"), data)
    change_state(folder, replace_field(STATE_INDEX, bytes(data[-8:])))
    change_manifest(folder, lambda manifest: manifest["files"].update(index=len(data)))


def frame_table(index):
    """(where the table is, [(offset, stored size, pages, checksum)])"""
    runs, count = struct.unpack_from("<II", index, 24)
    at = INDEX_RUNS_AT + 16 * runs
    return at, [struct.unpack_from("<QII8s", index, at + 24 * number) for number in range(count)]


def bomb(folder, size=256 << 20):
    """Puts into the place of the largest frame one that unpacks to far more than its pages."""
    frames_path = os.path.join(folder, "frames")
    frames, index = read(frames_path), read(os.path.join(folder, "index"))
    at, table = frame_table(index)
    number = max(range(len(table)), key=lambda n: table[n][1])
    offset, stored, pages, _ = table[number]
    packed = zstd(bytes(size))
    if len(packed) + 8 > stored:
        raise ValueError(f"the bomb has {len(packed)} bytes, the largest frame {stored}")
    # A skippable frame (RFC 8878, 3.1.2) fills the rest.
    packed += struct.pack("<II", 0x184d2a50, stored - len(packed) - 8)
    packed += bytes(stored - len(packed))
    frames[offset:offset + stored] = packed
    write(frames_path, frames)
    struct.pack_into("<QII8s", index, at + 24 * number, offset, stored, pages, xxh3(packed))
    write_index(folder, index)


def change_manifest(folder, change):
    """change(manifest) edits it; its checksum is made right again."""
    path = os.path.join(folder, "manifest.json")
    manifest = json.loads(read(path))
    manifest.pop("sha256")
    change(manifest)
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    manifest["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    write(path, json.dumps(manifest, indent=2).encode() + b"\n")


# --- seals ---------------------------------------------------------------------------------------------

SEALED = ("manifest.json", "state", "index", "frames", "working_set", "event.json")


def mac(state, purpose, data):
    """As thaw_keyring_mac: what only who can read the host's key can compute."""
    with open(os.path.join(state, "host.key"), "rb") as file:
        key = hmac.digest(file.read(), purpose + b"\1", "sha256")
    return hmac.new(key, data, "sha256").hexdigest()


def seal_text(state, subject, files):
    """`files`: (name, contents)."""
    text = f"thaw-seal 1\nof {subject}\n"
    for name, data in files:
        text += f"file {name} {len(data)} {hashlib.sha256(data).hexdigest()}\n"
    return text + f"hmac {mac(state, b'thaw seal 1', text.encode())}\n"


def seal(state, name):
    """Makes whatever lies in a snapshot's folder the host's own: what lies behind the seal is tested then."""
    folder = os.path.join(state, "snapshots", name)
    files = [(file, bytes(read(os.path.join(folder, file)))) for file in SEALED
             if os.path.exists(os.path.join(folder, file))]
    path = os.path.join(folder, "seal")
    if os.path.exists(path):
        os.remove(path)
    with open(path, "w", encoding="ascii") as file:
        file.write(seal_text(state, "snapshot " + name, files))
    os.chmod(path, 0o600)
