"""Stands in for procd: starts what an init script describes, as tests/router/README.md has the contract. It hears what
`ubus call service` says on a router through two pipes."""

import json
import os
import signal
import threading
from dataclasses import dataclass

# What `ubus` is on the router: the services are asked for here, and all else of the real ubusd.
UBUS = """#!/bin/sh
case "$1 $2" in
"call service")
    exec 9>/router/lock
    flock 9
    echo "$3 $4" >/router/ask
    cat /router/answer
    ;;
*) exec ubus-client "$@" ;;
esac
"""

# A change of one of these is a new start.
DECIDES = ("command", "env", "respawn", "jail", "capabilities", "no_new_privs", "user")
TERM_TIMEOUT = 5


@dataclass
class Instance:
    """One process that is kept alive."""

    config: dict
    process: object
    starts: int = 1
    wanted: bool = True


class Procd:
    """`start(config)` starts a process for an instance."""

    def __init__(self, router, start):
        self._router, self._start = router, start
        self._services, self._change = {}, threading.RLock()
        for name in ("ask", "answer"):
            os.mkfifo(router.path(f"/router/{name}"))
        self._serving = threading.Thread(target=self._serve, daemon=True)
        self._serving.start()

    def instance(self, service="tsg", name="tsg"):
        return self._services.get(service, {}).get(name)

    def close(self):
        with self._change:
            for instances in self._services.values():
                for instance in instances.values():
                    self._stop(instance)
            self._services.clear()
        self._router.path("/router/ask").write_text("end\n")
        self._serving.join()

    def _serve(self):
        while True:
            method, _, rest = self._router.path("/router/ask").read_text().partition(" ")
            if method == "end\n":
                return
            with self._change:
                answer = getattr(self, f"_{method}")(json.loads(rest))
            self._router.path("/router/answer").write_text(json.dumps(answer, indent=1) if answer else "")

    def _set(self, message):
        have, new = self._services.setdefault(message["name"], {}), message["instances"]
        for name in [name for name in have if name not in new]:
            self._stop(have.pop(name))
        for name, config in new.items():
            old = have.get(name)
            if old and any(old.config.get(key) != config.get(key) for key in DECIDES):
                self._stop(old)
            if not old or not old.wanted:
                have[name] = Instance(config, self._start(config))
                self._watch(have[name])

    def _delete(self, message):
        for instance in self._services.pop(message["name"], {}).values():
            self._stop(instance)

    def _signal(self, message):
        instance = self._services[message["name"]][message["instance"]]
        instance.process.send(signal.Signals(message["signal"]))

    def _list(self, message):
        instances = self._services.get(message["name"])
        return instances and {message["name"]: {"instances": {
            name: {"running": instance.process.running, "pid": instance.process.popen.pid,
                   "env": instance.config.get("env", {})}
            for name, instance in instances.items()}}}

    def _stop(self, instance):
        instance.wanted = False
        if instance.process.running:
            instance.process.stop(signal.SIGTERM, seconds=TERM_TIMEOUT)

    def _watch(self, instance):
        threading.Thread(target=self._respawn, args=(instance,), daemon=True).start()

    def _respawn(self, instance):
        """Starts it again for as long as it is wanted."""
        wait = threading.Event()
        _, seconds, most = map(int, instance.config["respawn"])
        while True:
            instance.process.popen.wait()
            wait.wait(seconds)
            with self._change:
                if not instance.wanted or most and instance.starts > most:
                    return
                instance.process = self._start(instance.config)
                instance.starts += 1
