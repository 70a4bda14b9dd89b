"""A page in headless Chromium, by its DevTools protocol over pipes."""

import base64
import json
import os
import shutil
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)

# What a browser reports when something on a page is wrong.
_COMPLAINTS = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")


class Page:
    """An open page.

    Attributes:
        complaints: texts of the console, and errors, of the page last opened.
        requests: addresses that it asked for.
    """

    def __init__(self, read, write):
        self._read, self._write, self._session, self._count = read, write, None, 0
        self.complaints, self.requests, self._waiting = [], [], []

    def call(self, method, **params):
        """Call a method of the protocol, and return its result."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self._note(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, path: Path, width: int, dark: bool = False):
        """Show a file, in a window of so many CSS pixels, and wait until it is loaded."""
        if self._session is None:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Log", "Runtime", "Network"):
                self.call(f"{domain}.enable")
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._waiting.clear()
        self.complaints.clear()
        self.requests.clear()
        answer = self.call("Page.navigate", url=path.resolve().as_uri())
        assert "errorText" not in answer, answer
        while "Page.loadEventFired" not in self._waiting:
            self._note(self._next())

    def value(self, expression: str):
        """Return the value of an expression in JavaScript."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def picture(self, path: Path):
        """Write the whole page as a PNG."""
        whole = self.call("Page.getLayoutMetrics")["cssContentSize"]
        shown = self.call(
            "Page.captureScreenshot", captureBeyondViewport=True, clip={**whole, "scale": 1}
        )
        path.write_bytes(base64.b64decode(shown["data"]))

    def _note(self, event):
        method = event.get("method")
        self._waiting.append(method)
        if method in _COMPLAINTS:
            self.complaints.append(json.dumps(event["params"]))
        if method == "Network.requestWillBeSent":
            self.requests.append(event["params"]["request"]["url"])

    def _next(self):
        while b"\0" not in self._rest:
            part = os.read(self._read, 1 << 16)
            assert part, "Chromium ended"
            self._rest += part
        line, self._rest = self._rest.split(b"\0", 1)
        return json.loads(line)

    _rest = b""


@contextmanager
def open_browser(profile: Path):
    """Yield a `Page` of a new Chromium, whose files are in `profile`."""
    to_browser, write = os.pipe()
    read, from_browser = os.pipe()
    options = "--headless --no-sandbox --disable-gpu --remote-debugging-pipe --no-first-run"
    # Chromium reads from the file 3, and writes to the file 4.
    shell = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
    command = ["bash", "-c", shell, CHROMIUM, *options.split(), f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        command, pass_fds=(to_browser, from_browser), stderr=subprocess.DEVNULL
    )
    os.close(to_browser)
    os.close(from_browser)
    page = Page(read, write)
    try:
        yield page
    finally:
        with suppress(OSError, AssertionError):
            page._session = None
            page.call("Browser.close")
        process.wait(timeout=300)
        os.close(read)
        os.close(write)
