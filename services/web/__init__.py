"""The HTTP service: REST, server-sent events and the dashboard; see ops/decisions/0025."""
