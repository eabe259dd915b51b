"""Endpoints that log as users do."""

from __future__ import annotations

import logging
import sys

import structlog

from warrener import StepFilter, endpoint


@endpoint("logging.say")
def say(text: str) -> str:
    structlog.contextvars.bind_contextvars(mine=text)
    structlog.get_logger().info("said", text=text)
    return text


@endpoint("logging.say_plainly")
def say_plainly(text: str) -> str:
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(StepFilter())
    handler.setFormatter(logging.Formatter("plain %(job)s %(path)s #%(attempt)s %(message)s"))
    logger = logging.getLogger("users.own")
    logger.addHandler(handler)
    logger.warning(text)
    logger.removeHandler(handler)
    return text
