"""Stands for fal's hosts towards one program, unmodified: what `telecine exec` is made of.

the program -- HTTPS_PROXY --> proxy.py -- fal's hosts --> TLS end -> gateway.py -> Telecine
                                        -- all others ---> passed on, or refused
Node, whose fetch knows no proxy -- preload.cjs ---------> TLS end
"""
