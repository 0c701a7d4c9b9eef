#!/bin/sh
# `make run`: a real clip answered on this machine, then a server, its key, and two calls to paste.
set -eu
umask 077

here=$(pwd)
telecine=$here/.venv/bin/telecine
data=$here/.telecine
port=${TELECINE_SERVER_PORT:-8484}
url=http://127.0.0.1:$port

"$here/.venv/bin/python" -c "import socket; socket.create_server(('127.0.0.1', $port)).close()" \
    2> /dev/null || {
    echo "Port $port is taken; take another: TELECINE_SERVER_PORT=8485 make run" >&2
    exit 1
}

echo "What happens in examples/clips/nasa_webb.mp4? Answered here, without a key or a network:"
echo
"$telecine" run examples/clips/nasa_webb.mp4 -p "What happens in this video?"
echo

if [ ! -s "$data/key" ] || [ ! -e "$data/telecine.db" ]; then
    mkdir -p "$data"
    "$telecine" keys create --data "$data" --alias "make run" > "$data/key"
fi
key=$(cat "$data/key")

cat <<END
Now a server: $url, with this key, which is kept in .telecine/key:

export FAL_KEY=$key

Two calls to paste into another terminal. With curl:

(printf '{"model":"local/report","prompt":"What is said?","video_urls":["data:video/mp4;base64,'
 base64 < "$here/examples/clips/jfk_slides.mp4" | tr -d '\n'; printf '"]}') |
curl -sS $url/openrouter/router/video -H "Authorization: Key $key" \\
  -H "Content-Type: application/json" --data-binary @-

With fal's Python client, through the queue, with progress:

FAL_KEY=$key TELECINE_URL=$url "$here/.venv/bin/python" \\
  "$here/examples/python/subscribe.py" "$here/examples/clips/jfk_slides.mp4"

END
exec "$telecine" serve --data "$data" --host 127.0.0.1 --port "$port"
