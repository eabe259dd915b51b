"""Hands the first job to a fleet, and waits for what it gives."""

from __future__ import annotations

from warrener import Client

with Client("amqp://localhost") as client:
    job = client.submit("ops/examples/hello.yaml", {"names": ["you"]})
    print(client.wait(job).result)
