"""A process for a stranger's model has no network, and what happens in it becomes a sentence."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import isolation

_PROBE = """
import json, socket
from medsearch_desktop.engine.encoders import isolation

def tried(work):
    try:
        work()
    except OSError as error:
        return str(error)
    return "done"

server = socket.create_server(("127.0.0.1", 0))
address = server.getsockname()
found = {"before": tried(lambda: socket.create_connection(address).close())}
asked = isolation.cut_off()
found["connect"] = tried(lambda: socket.socket().connect(address))
found["name"] = tried(lambda: socket.getaddrinfo("huggingface.co", 443))
found["send"] = tried(lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("8.8.8.8", 53)))
found["asked"], found["address"] = asked, "127.0.0.1:%d" % address[1]
try:
    found["devices"] = [line.split(":")[0].strip() for line in open("/proc/self/net/dev")][2:]
except OSError:
    found["devices"] = None
print(json.dumps(found))
"""


def test_that_a_process_that_was_cut_off_reaches_no_address_and_says_which_it_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PROBE], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["before"] == "done"
    for what in ("connect", "name", "send"):
        assert "the network is cut off" in found[what]
    assert found["asked"] == [found["address"], "huggingface.co", "8.8.8.8:53"]
    # Where the system lends a network of its own, native code has no way out either.
    assert found["devices"] is None or sys.platform != "linux" or found["devices"]


@pytest.mark.parametrize(
    ("module", "words"),
    [("no_such_module", "ended without an answer"), ("json.tool", "ended without an answer")],
)
def test_that_a_child_without_an_answer_becomes_a_sentence(module: str, words: str) -> None:
    with pytest.raises(errors.EncoderError, match=words) as raised:
        isolation.run(module, [], "given", cap_bytes=1 << 30, deadline_s=60)
    assert raised.value.name == "given"
