"""The endpoint of `hello.yaml`."""

from warrener import endpoint


@endpoint("hello.greet")
def greet(name: str) -> str:
    """Return a greeting."""
    return f"Hello, {name}!"
