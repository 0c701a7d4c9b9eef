"""Google's Gemini models through their own API (AI Studio).

adapter.py       what the rest of Telecine sees
generations.py   what a model takes, by its name
request.py       a Call as the document that asks it
answer.py        the pieces of an answer, added up
google.py        every connection to Google
files.py         what is too large for a request: uploaded once, used again, deleted
"""

from telecine.providers.gemini.adapter import Gemini

__all__ = ["Gemini"]
