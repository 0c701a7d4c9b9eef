"""With OpenAI's SDK, any model: FAL_KEY=... python chat.py"""

import os

import openai

server = os.environ.get("TELECINE_URL", "http://127.0.0.1:8484")
client = openai.OpenAI(
    base_url=f"{server}/openrouter/router/openai/v1",
    api_key="any",
    default_headers={"Authorization": f"Key {os.environ['FAL_KEY']}"},
)
completion = client.chat.completions.create(
    model="google/gemini-2.5-flash-lite",
    messages=[{"role": "user", "content": "Write a haiku about rivers."}],
)
print(completion.choices[0].message.content)
