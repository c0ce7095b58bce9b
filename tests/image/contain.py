"""Usage: contain.py start ROOT VOLUME USER [NAME=VALUE...] -- COMMAND...
        contain.py exec ROOT USER [NAME=VALUE...] -- COMMAND...
What a container engine does, as compose.yaml asks for it: the image's files read-only, a volume for its data, a new file system
in memory for /run/tsg-server, no capability, no new privileges, no environment but the image's. `start` in a new mount and PID
namespace, where the command is process 1; `exec` beside it, with /proc/PID/root of process 1 as ROOT."""

import ctypes
import os
import sys

VOLUME, RUN = "/var/lib/tsg-server", "/run/tsg-server"
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, LAST_CAPABILITY = 24, 38, 40
libc = ctypes.CDLL(None, use_errno=True)


def checked(result, what):
    if result != 0:
        error = ctypes.get_errno()
        sys.exit(f"contain.py: {what}: {os.strerror(error)}")


def mount(source, target, kind, flags, data=None):
    checked(libc.mount(source.encode(), target.encode(), kind and kind.encode(), flags, data and data.encode()),
            f"mount {target}")


def set_up(root, volume):
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount(root, root, None, MS_BIND)
    os.makedirs(f"{root}/proc", exist_ok=True)
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV)
    mount(volume, root + VOLUME, None, MS_BIND)
    mount("tmpfs", root + RUN, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m")
    mount("none", root, None, MS_REMOUNT | MS_BIND | MS_RDONLY)


def main(arguments):
    split = arguments.index("--")
    options, command = arguments[:split], arguments[split + 1:]
    kind, root, *options = options
    if kind == "start":
        set_up(root, options.pop(0))
    user, *environment = options
    for capability in range(LAST_CAPABILITY + 1):
        checked(libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "drop a capability")
    checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    os.chroot(root)
    os.chdir("/")
    number, group = map(int, user.split(":"))
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(number, number, number)
    os.umask(0o022)
    os.execve(command[0], command, dict(pair.split("=", 1) for pair in environment))


main(sys.argv[1:])
