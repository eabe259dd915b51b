"""Makes definitions.json for RabbitMQ from the topology that the program uses.

python ops/rabbitmq/make_definitions.py            writes the file
python ops/rabbitmq/make_definitions.py --check    says whether it is current
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from warrener.adapters.rabbitmq_topology import exchange_arguments, queue_arguments
from warrener.domain.topology import EXCHANGES, topology

FILE = Path(__file__).with_name("definitions.json")
VHOST = "/"
# What each role may configure, write and read; see README.md for what it does with it.
ROLES = {
    "controller": (r"^warrener\..*", r"^(warrener\..*|amq\.default)$", r"^warrener\..*"),
    "worker": (
        r"^warrener\.worker\..*",
        r"^warrener\.(results|fleet|quarantine|worker\..*)$",
        r"^warrener\.(orders\..*|control|worker\..*)$",
    ),
    "submitter": (
        r"^warrener\.reply\..*",
        r"^warrener\.(inbox|reply\..*)$",
        r"^warrener\.reply\..*",
    ),
    "web": (
        r"^warrener\.reply\..*",
        r"^warrener\.(inbox|control|reply\..*)$",
        r"^warrener\.(events|fleet|reply\..*)$",
    ),
    "observer": (
        r"^warrener\.reply\..*",
        r"^warrener\.reply\..*",
        r"^warrener\.(events|fleet|reply\..*)$",
    ),
}


def definitions() -> dict[str, Any]:
    """Return the document that `rabbitmqctl import_definitions` takes."""
    queues = topology()
    return {
        "vhosts": [{"name": VHOST}],
        "users": [{"name": role, "password_hash": "", "tags": ""} for role in ROLES],
        "permissions": [
            {"user": role, "vhost": VHOST, "configure": configure, "write": write, "read": read}
            for role, (configure, write, read) in ROLES.items()
        ],
        "exchanges": [
            {
                "name": exchange.name,
                "vhost": VHOST,
                "type": exchange.kind,
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": exchange_arguments(exchange),
            }
            for exchange in EXCHANGES
        ],
        "queues": [
            {
                "name": queue.name,
                "vhost": VHOST,
                "durable": True,
                "auto_delete": False,
                "arguments": queue_arguments(queue, "quorum"),
            }
            for queue in queues
        ],
        "bindings": [
            {
                "source": queue.exchange,
                "vhost": VHOST,
                "destination": queue.name,
                "destination_type": "queue",
                "routing_key": queue.name,
                "arguments": {},
            }
            for queue in queues
        ],
    }


def text() -> str:
    """Return the file's text."""
    return json.dumps(definitions(), indent=2) + "\n"


def main() -> None:
    if "--check" not in sys.argv:
        FILE.write_text(text())
    elif FILE.read_text() != text():
        sys.exit(f"{FILE} is out of date: run {Path(__file__).name}")


if __name__ == "__main__":
    main()
