"""The decoder process, `python -m telecine.media.child`: the only code that imports PyAV.

It opens strangers' bytes, so it runs limited and can be killed at any moment; the parent's side is
`telecine.media.pool`. Nothing in here is imported by the parent.
"""
