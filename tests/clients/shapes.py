# SPDX-License-Identifier: Apache-2.0
"""Responses, held against the model that botocore has of the API: every member known, of its type,
not null, and none missing that must be there. And: which operations have been seen.
"""

import json
import os
import re

import botocore.validate

import daemon  # noqa: F401 (it finds support)
import support

SEEN = set()  # operations that were answered well
FAULTS = []

# Members of the API that are newer than Debian's botocore.
NEWER = {"LoggingConfig", "RuntimeVersionConfig"}


def _check_raw(value, shape, path, faults):
    if value is None:
        faults.append(f"{path} is null")
        return
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            faults.append(f"{path} is no object")
            return
        names = {member.serialization.get("name", name): member
                 for name, member in shape.members.items()}
        for name, one in value.items():
            if name in names:
                _check_raw(one, names[name], f"{path}.{name}", faults)
            elif name not in NEWER:
                faults.append(f"{path}.{name} is not in the model")
    elif kind == "list":
        if not isinstance(value, list):
            faults.append(f"{path} is no list")
            return
        for index, one in enumerate(value):
            _check_raw(one, shape.member, f"{path}[{index}]", faults)
    elif kind == "map":
        if not isinstance(value, dict):
            faults.append(f"{path} is no map")
            return
        for name, one in value.items():
            _check_raw(one, shape.value, f"{path}.{name}", faults)
    elif kind in ("integer", "long"):
        if not isinstance(value, int) or isinstance(value, bool):
            faults.append(f"{path} is no integer: {value!r}")
    elif kind in ("double", "float", "timestamp"):
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            # Times of this API are texts in some shapes and numbers in others.
            faults.append(f"{path} is no number: {value!r}")
    elif kind == "boolean":
        if not isinstance(value, bool):
            faults.append(f"{path} is no boolean: {value!r}")
    elif kind == "string":
        if not isinstance(value, str):
            faults.append(f"{path} is no text: {value!r}")
        elif shape.enum and value not in shape.enum and value != "python3.11":
            faults.append(f"{path}: {value!r} is not among {shape.enum}")


def _after(http_response, parsed, model, **_):
    status = http_response.status_code
    if status >= 300:
        return
    faults = []
    shape = model.output_shape
    expected = model.http.get("responseCode")
    if expected and status != expected and model.name != "Invoke":
        faults.append(f"status {status}, not {expected}")
    if model.has_event_stream_output:
        pass  # its shapes are looked at while it is read
    elif shape is not None and not shape.serialization.get("payload"):
        if http_response.content:
            members = {name for name, member in shape.members.items()
                       if member.serialization.get("location")}
            raw = json.loads(http_response.content)
            _check_raw({name: one for name, one in raw.items() if name not in members}, shape,
                       model.name, faults)
        elif set(shape.members) - {"Status", "StatusCode"}:
            faults.append("the body is empty")
        report = botocore.validate.ParamValidator().validate(
            {name: value for name, value in parsed.items() if name != "ResponseMetadata"}, shape)
        if report.has_errors():
            faults.append(report.generate_report())
    elif shape is None and http_response.content:
        faults.append(f"a body where none is: {http_response.content[:200]}")
    if "x-amzn-requestid" not in http_response.headers:
        faults.append("no x-amzn-RequestId")
    if faults:
        FAULTS.append((model.name, faults))
    SEEN.add(model.name)


def watch(client):
    client.meta.events.register("after-call.lambda", _after)


def missing():
    """Operations of the daemon that nobody has called, when all themes are through."""
    with open(os.path.join(support.SOURCE, "host", "operations", "table.c"), encoding="utf-8") as file:
        # Paths are strings too.
        table = re.sub(r'"[/?][^"]*"', "", file.read())
    names = set(re.findall(r'\{"(?:GET|PUT|POST|DELETE)",[^{}]*?"([A-Z]\w+)"', table))
    if len(names) < 40:
        raise AssertionError(f"not all operations were found in table.c: {names}")
    return names - SEEN - {"GetMetrics"}  # which no client has
