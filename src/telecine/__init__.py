"""Telecine: fal's video router on your own machine. Importing it starts nothing."""

__version__ = "0.1.0"


def connect(url: str, key: str | None = None) -> None:
    """Have `fal_client` call the Telecine at `url` from here on, in this process.

    See `telecine.clients.connect`, which this is.
    """
    from telecine.clients import connect

    connect(url, key)
