"""Requests as jobs: submitted, admitted, run, finished, and what can be asked about them meanwhile.

queued -> running -> succeeded | failed | cancelled

queue.py     what callers do: submit, status, result, cancel, watch
gate.py      who may run next, and how much may run or wait at once
executor.py  the port to whatever delivers admitted jobs to a handler, and the in-process one
worker.py    the handler: runs a request through the pipeline and finishes its row
states.py    every arrow of the state machine, as guarded statements
webhooks.py  what a webhook says, when it is tried, what an answer means
deliverer.py sends webhooks; signing.py signs them, deliveries.py is their ledger
bells.py     tells waiting coroutines of this process that a row has changed
"""
