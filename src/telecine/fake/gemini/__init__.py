"""Gemini's own API: generateContent, streamed or not, its models, and the Files API beside it.

server.py     the routes, and what a question is answered with
rules.py      what Google refuses, so does this
answers.py    how an answer is made, what it counts, and the switches
files.py      uploads, and files that need a while
errors.py     Google's words for what is wrong
"""

from telecine.fake.gemini.server import Gemini

__all__ = ["Gemini"]
