"""An upstream that speaks as the real ones do, misbehaves on demand, and bills play money.

    server.py      every part on one address; the one place that knows them all
    record.py      what was received, what is to go wrong next, what was billed
    intake.py      bodies of any size, taken apart while they arrive
    script.py      how one request is answered, and the sending of it
    conversations.py   OpenAI's protocol: chat.py and its switches, responses.py; openrouter.py and
                   dialects.py say who speaks it how
    anthropic/  gemini/    those with a language of their own
    media.py       a media server with good and bad videos
    admin.py       what a test asks it afterwards

A part is a class that is made with the Record and has `routes()`. The answer names what arrived
(`I saw 1 video(s): sha256=...`), so that a test can prove it. Nothing here makes a connection.
"""
