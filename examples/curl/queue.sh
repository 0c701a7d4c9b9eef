#!/bin/sh
# Upload, submit, status, result: FAL_KEY=... sh queue.sh clip.mp4 (needs jq)
set -eu
server=${TELECINE_URL:-http://127.0.0.1:8484}

call() {
    curl -sS --fail-with-body -H "Authorization: Key $FAL_KEY" \
        -H "Content-Type: application/json" "$@"
}

places=$(call "$server/rest/storage/upload/initiate?storage_type=fal-cdn-v3" \
    -d '{"file_name":"clip.mp4","content_type":"video/mp4"}')
# The upload URL carries a secret of its own and takes no key.
curl -sS --fail-with-body -T "$1" -H "Content-Type: video/mp4" \
    "$(echo "$places" | jq -r .upload_url)"

question=$(echo "$places" |
    jq '{prompt: "What is said?", model: "local/report", video_urls: [.file_url]}')
job=$(call "$server/queue/openrouter/router/video" -d "$question")

status_url=$(echo "$job" | jq -r .status_url)
while [ "$(call "$status_url?logs=1" | jq -r .status)" != COMPLETED ]; do
    sleep 0.5
done
call "$(echo "$job" | jq -r .response_url)"
