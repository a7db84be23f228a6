"""An upgrade that has to copy the guest's memory, disturbed while it does."""
import os
import signal
import time

from test_switch_over import Follower

# Enough that the copy lasts a while, even at once.
PRIVATE = "-m 256M -object memory-backend-ram,id=r,size=256M -machine memory-backend=r"


def begun(w, name):
    """An upgrade whose new process stands still from the moment the guest was paused on."""
    w.start(name, dirty=20, fill=192,
            extra=f"{PRIVATE} -qmp unix:{w.dir}/{name}.qmp,server=on,wait=off")
    [old] = w.processes()
    follower = Follower(w.dir / f"{name}.qmp")
    upgrade = w.background(w.a, "upgrade", name)
    follower.wait("STOP")
    [new] = [pid for pid in w.processes() if pid != old]
    os.kill(new, signal.SIGSTOP)
    follower.close()
    time.sleep(0.3)
    assert upgrade.poll() is None, upgrade.communicate()
    return upgrade, old, new


def goes_on(w, name, old):
    w.wait_counts(name, 5)
    assert w.processes() == [old]
    text = w.run(w.a, "upgrade", name)
    assert "memory copied" in text, text
    w.wait_counts(name, 5)


def test_ctrl_c_while_an_upgrade_copies(w):
    upgrade, old, _ = begun(w, "u1")
    upgrade.send_signal(signal.SIGINT)
    text = upgrade.communicate(timeout=20)[0]
    assert upgrade.returncode == 5, (upgrade.returncode, text)
    goes_on(w, "u1", old)


def test_new_process_killed_while_an_upgrade_copies(w):
    upgrade, old, new = begun(w, "u2")
    os.kill(new, signal.SIGKILL)
    text = upgrade.communicate(timeout=20)[0]
    assert upgrade.returncode == 1, (upgrade.returncode, text)
    goes_on(w, "u2", old)


def test_client_killed_while_an_upgrade_copies(w):
    upgrade, old, _ = begun(w, "u3")
    upgrade.kill()
    upgrade.communicate(timeout=20)
    w.run(w.a, "cleanup")
    goes_on(w, "u3", old)
