"""A headless Chromium, driven over a pipe with the Chrome DevTools Protocol; needs no package."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """The program of a browser that can be driven, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """A browser with one page."""

    def __init__(self, program: str, folder: Path):
        reads, self._out = os.pipe()
        self._in, writes = os.pipe()
        command = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--remote-debugging-pipe", f"--user-data-dir={folder}",
        ]  # fmt: skip

        def connect() -> None:  # the protocol is read from descriptor 3 and written to 4
            first, second = (fcntl.fcntl(one, fcntl.F_DUPFD, 5) for one in (reads, writes))
            os.dup2(first, 3)
            os.dup2(second, 4)

        self._process = subprocess.Popen(
            command, pass_fds=(3, 4, reads, writes), preexec_fn=connect, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(reads)
        os.close(writes)
        self._held, self._number, self._session = b"", 0, None
        target = self.call("Target.createTarget", url="data:,")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters):
        """The result of a method of the protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            found = self._read()
            if found.get("id") == self._number:
                if "error" in found:
                    raise RuntimeError(found["error"])
                return found["result"]
            self._note(found)

    def _read(self):
        while b"\0" not in self._held:
            part = os.read(self._in, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self._held += part
        message, _, self._held = self._held.partition(b"\0")
        return json.loads(message)

    def _note(self, event) -> None:
        """Keep what a page reports as an error, such as a violation of its security policy."""
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(event["params"]["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded":
            entry = event["params"]["entry"]
            if entry["level"] == "error" and entry["source"] != "network":  # an answer other than 200 is no error here
                self.errors.append(entry["text"])

    def open(self, url: str, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Show a page at a size."""
        self.resize(width, height)
        value = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])
        self.call("Page.navigate", url=url)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the window; one below 600 is a phone."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def run(self, code: str):
        """The value of an expression of JavaScript."""
        found = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def wait(self, condition: str, seconds: float = 10) -> None:
        """Return once an expression is true."""
        code = f"""new Promise((done) => {{
            const end = Date.now() + {seconds * 1000};
            (function look() {{
                if ({condition}) done(true);
                else if (Date.now() > end) done(false);
                else setTimeout(look, 20);
            }})();
        }})"""
        assert self.run(code), condition

    def press(self, key: str, modifiers: int = 0) -> None:
        """Press a key; 2 is Ctrl among the modifiers."""
        code = {"Enter": 13, "Tab": 9, "ArrowRight": 39, "End": 35, "Home": 36}[key]
        for kind in ("rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, modifiers=modifiers
            )

    def write(self, text: str) -> None:
        """Write a text into the field that has the focus."""
        self.call("Input.insertText", text=text)

    def capture(self, path: Path) -> None:
        """Save a picture of the whole page."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        """End the browser."""
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
