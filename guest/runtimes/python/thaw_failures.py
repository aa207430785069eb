# SPDX-License-Identifier: Apache-2.0
"""What goes wrong, in Lambda's words: error documents and the lines in the log.

Imported when something does.
"""

import json
import re
import sys
import traceback


class Fault(Exception):
    """An error that is not the handler's own exception. `trace`: lines, or None."""

    def __init__(self, error_type, message, trace=None):
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.trace = trace


_OURS = ("thaw_runtime.py", "thaw_client.py", "snapshot_restore_py.py", "importlib")


def _lines_of(error):
    """The stack of the user's code: ours, and the import machinery's, are of no interest."""
    frames = traceback.extract_tb(error.__traceback__)
    start = 0
    while start < len(frames) and (
            frames[start].filename.endswith(_OURS) or "importlib" in frames[start].filename
            or frames[start].filename.endswith("/bootstrap")):
        start += 1
    # As tuples: without the markers under the line, which Lambda does not show either.
    return traceback.format_list([(f.filename, f.lineno, f.name, f.line) for f in frames[start:]])


def describe(error, request_id=None):
    """(document, type for the header) of an exception."""
    if isinstance(error, Fault):
        name, message, lines = error.error_type, error.message, error.trace or []
        header = name
    else:
        name, message, lines = type(error).__name__, _text_of(error), _lines_of(error)
        header = f"Function.{name}" if re.fullmatch("[A-Z][a-zA-Z0-9]*", name) else "Unhandled"
    document = {"errorMessage": message, "errorType": name}
    document["requestId"] = request_id or ""
    document["stackTrace"] = lines
    return document, header


def _text_of(error):
    try:
        return str(error)
    except Exception:  # an exception whose own __str__ raises
        return "<no message>"


def encode(document):
    return json.dumps(document).encode()


def log(document):
    """[ERROR] Type: message, then the trace, as the log of a function shows it."""
    text = f"[ERROR] {document['errorType']}: {document['errorMessage']}\n"
    if document["stackTrace"]:
        text += "Traceback (most recent call last):\n"
        for line in document["stackTrace"]:
            text += line if line.endswith("\n") else line + "\n"
    # Text that no encoding takes must not hide the error it belongs to.
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode())
    sys.stdout.flush()


def import_fault(module_name, error):
    if isinstance(error, SyntaxError):
        return Fault("Runtime.UserCodeSyntaxError",
                     f"Syntax error in module '{module_name}': {error}",
                     [f'  File "{error.filename}" Line {error.lineno}\n    {error.text or ""}'])
    return Fault("Runtime.ImportModuleError",
                 f"Unable to import module '{module_name}': {error}")
