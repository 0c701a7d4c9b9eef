#!/bin/sh
# At once, the video inside the request as a data URI: FAL_KEY=... sh run.sh clip.mp4
set -eu
server=${TELECINE_URL:-http://127.0.0.1:8484}

(printf '{"prompt":"What is said?","model":"local/report","video_urls":["data:video/mp4;base64,'
 base64 < "$1" | tr -d '\n'
 printf '"]}') |
curl -sS --fail-with-body "$server/openrouter/router/video" \
    -H "Authorization: Key $FAL_KEY" -H "Content-Type: application/json" --data-binary @-
