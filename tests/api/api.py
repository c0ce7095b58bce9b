"""Starts a key server with something in it, and lets schemathesis at its API: as an administrator."""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

PROGRAM, SECONDS, SEED = sys.argv[1:]
HERE = Path(__file__).resolve().parent
# What the description promises of every answer. Not positive_data_acceptance: that a group is there, or a rule makes sense, no
# description can say.
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
          "negative_data_rejection", "unsupported_method", "ignored_auth", "use_after_free")


REVOKE = "/api/v1/api-tokens/{token}"


class Server:
    def __init__(self, folder):
        self.socket = folder / "socket"
        command = [PROGRAM, "--socket", self.socket, "run", "--data", folder / "data", "--listen", "127.0.0.1",
                   "--port", "0", "--pub-port", "0", "--log", "stderr", "--web", "127.0.0.1", "--web-port", "0", "--web-plain"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.lines, self.base = [], None
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(r"pages on (http://\S+?)/?$", line):
                self.base = found[1]
            if "listens on" in line:
                break
        threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True).start()

    def ask(self, *words, typed=None):
        done = subprocess.run([PROGRAM, "--socket", self.socket, "--json", *words], input=typed, text=True,
                              capture_output=True, check=True)
        return json.loads(done.stdout or "null")

    def token(self, role):
        return self.ask("api-token", "create", role, "--role", role)["token"]


def check(server, token, seconds, *more):
    """Gives how many requests failed to be answered as they should."""
    command = [Path(sys.executable).parent / "schemathesis", "run", f"{server.base}/api/v1/openapi.json", "--url", server.base,
               "--checks", ",".join(CHECKS), "--workers", "2", "--max-time", seconds, "--request-timeout", "20",
               *([] if SEED == "random" else ["--seed", SEED]), "--header", f"Authorization: Bearer {token}", *more]
    return subprocess.run(command, cwd=os.environ["TMPDIR"], check=False).returncode


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TMPDIR"] = name
        server = Server(folder)
        try:
            server.ask("user", "add", "ann", "--role", "admin", typed="correct horse battery\n")
            server.ask("group", "add", "plant")
            server.ask("token", "create", "--group", "plant")
            # It would revoke its own token before long, and the rest be refused.
            failed = check(server, server.token("admin"), SECONDS, "--exclude-path", REVOKE)
            failed |= check(server, server.token("admin"), "5", "--include-path", REVOKE)
            verdict = server.ask("audit", "--verify")
            assert verdict["broken"] == "" and verdict["lines"] > 4, verdict
            panics = [line for line in server.lines if "panicked" in line or "error:" in line]
            assert not panics and server.process.poll() is None, panics
        finally:
            server.process.terminate()
            ended = server.process.wait(20)
        assert ended == 0, ended
        print(f"{verdict['lines']} lines in the audit trail, as they were written")
        sys.exit(failed)


main()
