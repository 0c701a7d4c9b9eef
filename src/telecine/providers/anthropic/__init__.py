"""Anthropic's Messages API: models that see pictures and documents, and videos as stills."""

from telecine.providers.anthropic.adapter import Anthropic

__all__ = ["Anthropic"]
