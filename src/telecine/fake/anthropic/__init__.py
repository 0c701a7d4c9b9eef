"""Anthropic: messages as named events, and models listed page by page.

server.py     the routes
rules.py      models, prices, and what is refused
answers.py    how an answer is made, and the switches
"""

from telecine.fake.anthropic.server import Anthropic

__all__ = ["Anthropic"]
