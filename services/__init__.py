"""The application, the daemons and the command line; `wiring` names the adapters."""
