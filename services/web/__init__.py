"""The HTTP service: REST, server-sent events and the dashboard. See ops/decisions for the API."""
