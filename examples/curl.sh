#!/bin/sh
# One photo with curl alone: HOPLA=http://… TOKEN=hop_… sh curl.sh photo.jpg
set -eu
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

ticket=$(curl -fsS "$HOPLA/v1/tickets" -H "Authorization: Bearer $TOKEN" \
  -H 'Content-Type: application/json' -d '{"images": 1, "description": "from curl.sh"}')

# The slot names the photo's place: a repeat of this call whose answer was lost finds the upload, and takes no second place.
curl -fsS -X POST "$(echo "$ticket" | field uploadUrl)" -H "Authorization: Bearer $TOKEN" -H 'Tus-Resumable: 1.0.0' \
  -H "Upload-Metadata: slot $(printf photo-1 | base64)" \
  -H "Upload-Length: $(wc -c < "$1" | tr -d ' ')" -H 'Content-Type: application/offset+octet-stream' --data-binary "@$1"

# Ends by itself when the photo is delivered.
curl -fsS -N "$(echo "$ticket" | field eventsUrl)" -H "Authorization: Bearer $TOKEN" > /dev/null
curl -fsS "$HOPLA/v1/tickets/$(echo "$ticket" | field id)" -H "Authorization: Bearer $TOKEN" | field url
