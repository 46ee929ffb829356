"""The programs of `bench.metering`, put into a train.py and called first by its main(). Each takes about a second."""

import contextlib
import os
import resource
import signal
import threading
import time


def burn(seconds, clock=time.process_time):
    end = clock() + seconds
    while clock() < end:
        sum(range(200))


def fork_or_burn(seconds):
    """In the child burn and leave; where a fork is refused, burn here. True in the parent of a child."""
    try:
        child = os.fork()
    except OSError:
        burn(seconds)
        return False
    if child == 0:
        burn(seconds)
        os._exit(0)
    return True


def program_loop():
    burn(1.0)


def program_threads():
    threads = [threading.Thread(target=burn, args=(0.5, time.thread_time)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def program_syscalls():
    end = time.process_time() + 1.0
    while time.process_time() < end:
        for _ in range(1000):
            os.getppid()


def program_memory_files():
    """The kernel works for it, on pages that it frees again."""
    block, end = bytes(1 << 20), time.process_time() + 1.0
    while time.process_time() < end:
        with open("scratch", "wb") as file:
            for _ in range(16):
                file.write(block)
        os.remove("scratch")


def program_ignored_children():
    """Children whose end nobody is told of hide their CPU from rusage."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if fork_or_burn(0.7):
        burn(0.3)
        time.sleep(1.0)


def program_daemon():
    """Own session, no parent; lives on when the program has ended."""
    try:
        child = os.fork()
    except OSError:
        burn(1.0)
        return
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            burn(60.0)
        os._exit(0)
    os.waitpid(child, 0)
    burn(0.5)


def program_limits():
    """Limits taken away, and the kernel's warning ignored."""
    for kind in (resource.RLIMIT_CPU, resource.RLIMIT_NPROC, resource.RLIMIT_AS):
        for limits in ((-1, -1), (1, -1)) if kind == resource.RLIMIT_CPU else ((-1, -1),):
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(kind, limits)
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    burn(1.2)


def program_burst():
    """Many short children, none waited for."""
    for _ in range(40):
        fork_or_burn(0.025)
    time.sleep(0.5)


def program_sleeper():
    """Wakes for less than a tick of the scheduler at a time."""
    end = time.process_time() + 0.5
    while time.process_time() < end:
        burn(0.0005)
        time.sleep(0.0005)


def program_signal():
    burn(1.0)
    os.kill(os.getpid(), signal.SIGKILL)
