# SPDX-License-Identifier: Apache-2.0
"""The Python runtime: imports the handler, then event after event.

Imports are few and late on purpose: everything here is paid for by every cold start.
"""

import json
import os
import sys

import thaw_client
import thaw_logging
from thaw_context import LambdaContext


def _set_path(environ):
    task = environ.get("LAMBDA_TASK_ROOT", "/var/task")
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    layers = [f"/opt/python/lib/{version}/site-packages", "/opt/python"]
    # sys.path[0] is where this file lies: it stays, behind the user's own.
    sys.path[0:1] = [task, *layers, sys.path[0]]
    # What `site` would have brought, and people use.
    import builtins
    from _sitebuiltins import Quitter

    builtins.exit = Quitter("exit", "Ctrl-D (i.e. EOF)")
    builtins.quit = Quitter("quit", "Ctrl-D (i.e. EOF)")


def _find_handler(name):
    module_name, dot, function_name = name.rpartition(".")
    if not dot:
        from thaw_failures import Fault

        raise Fault("Runtime.MalformedHandlerName",
                    f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)")
    if module_name.split(".")[0] in sys.builtin_module_names:
        from thaw_failures import Fault

        raise Fault("Runtime.BuiltInModuleConflict",
                    f"Cannot use built-in module {module_name} as a handler module")
    from importlib import import_module

    try:
        module = import_module(module_name.replace("/", "."))
    except (ImportError, SyntaxError) as error:
        from thaw_failures import import_fault

        raise import_fault(module_name, error) from None
    try:
        return getattr(module, function_name)
    except AttributeError:
        from thaw_failures import Fault

        raise Fault("Runtime.HandlerNotFound",
                    f"Handler '{function_name}' missing on module '{module_name}'") from None


def _reseed():
    """Makes every source of randomness in this process differ from its clones'. The kernel's has
    been seeded anew before we were let go on; these are the states kept in user space."""
    modules = sys.modules
    if "random" in modules:
        # 256 bits: without an argument it would draw its whole state, 2.5 KB, from the kernel.
        modules["random"].seed(os.urandom(32))
    if "ssl" in modules:
        modules["ssl"].RAND_add(os.urandom(64), 64.0)
    if "uuid" in modules:
        # libuuid keeps the node and the clock sequence of uuid1() where nothing can reach them: Python's own
        # way from now on, with a random node, marked as RFC 4122 (4.5) has it.
        modules["uuid"]._generate_time_safe = None
        modules["uuid"]._last_timestamp = None
        modules["uuid"]._node = int.from_bytes(os.urandom(6), "big") | 1 << 40
    if "tempfile" in modules:
        modules["tempfile"]._name_sequence = None
    if "numpy.random" in modules:
        modules["numpy.random"].seed()


def _give_up(post, error, error_type=None):
    """Reports an error that leaves nothing to run, and ends."""
    import thaw_failures

    document, header = thaw_failures.describe(error)
    thaw_failures.log(document)
    post(thaw_failures.encode(document), error_type or header)
    sys.stdout.flush()
    sys.exit(1)


_REHEARSAL = (
    b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 00000000-0000-0000-0000-000000000000\r\n"
    b"Lambda-Runtime-Deadline-Ms: 0\r\nLambda-Runtime-Invoked-Function-Arn: arn\r\n"
    b'Content-Length: 33\r\n\r\n{"a": [1, 2.5, true, null, "\xc3\xa9"]}'
)


def _rehearse(client, environ):
    """Once, without the handler, what every event goes through: its code and data are then in the
    snapshot, and no clone has to fault them in."""
    headers, body = client.rehearse(_REHEARSAL)
    context = LambdaContext(headers, environ)
    context.get_remaining_time_in_millis()
    _run_handler(lambda event, _: event, headers, body, context)
    _reseed()


def _restored(headers, environ):
    """What a copy must forget of the original, before any code of the function runs."""
    _reseed()
    if "thaw-log-stream" in headers:
        environ["AWS_LAMBDA_LOG_STREAM_NAME"] = headers["thaw-log-stream"]


def _pass_snapshot(client, environ):
    """Before-snapshot hooks, the wait in which the snapshot is taken, after-restore hooks."""
    hooks = sys.modules.get("snapshot_restore_py")
    if hooks is None:
        return
    try:
        for function, args, kwargs in reversed(hooks.get_before_snapshot()):
            function(*args, **kwargs)
    except BaseException as error:
        _give_up(client.init_error, error, "Runtime.BeforeSnapshotError")
    sys.stdout.flush()
    if not hooks.get_after_restore():
        # The first event will say that this is a copy: one round trip less in every restore.
        return
    headers = client.restore_next()
    # First of all, for a hook may well draw a random number.
    _restored(headers, environ)
    try:
        for function, args, kwargs in hooks.get_after_restore():
            function(*args, **kwargs)
    except BaseException as error:
        _give_up(client.restore_error, error, "Runtime.AfterRestoreError")


def _run_handler(handler, headers, body, context):
    """The response's bytes. Raises what the handler raises, or a Fault."""
    try:
        event = json.loads(body)
    except ValueError as error:
        from thaw_failures import Fault

        raise Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from None
    result = handler(event, context)
    try:
        return json.dumps(result, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        from thaw_failures import Fault

        raise Fault("Runtime.MarshalError", f"Unable to marshal response: {error}") from None


def _serve(client, handler, environ):
    headers, body = client.next()
    while True:
        request_id = headers["lambda-runtime-aws-request-id"]
        thaw_logging.current_request_id = request_id
        if "thaw-restored" in headers:
            _restored(headers, environ)
        trace_id = headers.get("lambda-runtime-trace-id")
        if trace_id:
            environ["_X_AMZN_TRACE_ID"] = trace_id
        elif "_X_AMZN_TRACE_ID" in environ:
            del environ["_X_AMZN_TRACE_ID"]
        failure = None
        try:
            answer = _run_handler(handler, headers, body, LambdaContext(headers, environ))
        except Exception as error:
            import thaw_failures

            document, failure = thaw_failures.describe(error, request_id)
            thaw_failures.log(document)
            answer = thaw_failures.encode(document)
        # A line without its end must not wait for the next invocation.
        sys.stdout.flush()
        sys.stderr.flush()
        if failure is None:
            headers, body = client.respond_and_next(request_id, answer)
        else:
            headers, body = client.fail_and_next(request_id, answer, failure)


def main():
    environ = os.environ
    client = thaw_client.Client(environ)
    # A line is written when it is whole: one call each, and none is lost when we are killed.
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    sys.stderr.reconfigure(errors="backslashreplace")
    thaw_logging.install()
    _set_path(environ)
    try:
        handler = _find_handler(environ.get("_HANDLER", ""))
    except SystemExit:
        raise
    except BaseException as error:
        _give_up(client.init_error, error)
    if environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        _pass_snapshot(client, environ)
    _serve(client, handler, environ)
