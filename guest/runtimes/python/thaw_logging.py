# SPDX-License-Identifier: Apache-2.0
"""Lambda's format for the `logging` module, in place when somebody imports that, and not before.

    [INFO]\t2026-01-31T12:00:00.123Z\t<request id>\tmessage
"""

import sys

current_request_id = ""


class _Loader:
    """Runs the module's own loader, then sets it up."""

    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        module.__loader__ = module.__spec__.loader = self._loader
        _set_up(module)

    def __getattr__(self, name):
        return getattr(self._loader, name)


class _Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "logging":
            return None
        sys.meta_path.remove(cls)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                spec.loader = _Loader(spec.loader)
                return spec
        return None


def install():
    if "logging" in sys.modules:
        _set_up(sys.modules["logging"])
    else:
        sys.meta_path.insert(0, _Finder)


def _set_up(logging):
    import time

    class Formatter(logging.Formatter):
        converter = time.gmtime

        def format(self, record):
            record.aws_request_id = current_request_id
            return super().format(record)

    class Handler(logging.StreamHandler):
        """Writes to whatever sys.stdout is when it writes."""

        def __init__(self):
            logging.Handler.__init__(self)

        @property
        def stream(self):
            return sys.stdout

    handler = Handler()
    handler.setFormatter(Formatter(
        "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s",
        "%Y-%m-%dT%H:%M:%S"))
    logging.root.addHandler(handler)
