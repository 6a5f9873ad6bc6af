#!/usr/bin/env bash
# Serves the demo bundle on 127.0.0.1:8000, enrolls a site of people who do not exist, half of whom have a name,
# calibrates it by these and prints what to try. Ctrl-C ends it.
#   scripts/demo.sh RESIGHT [PORT]
set -euo pipefail
cd "$(dirname "$0")/.."
resight=$1 port=${2:-8000}
url=http://127.0.0.1:$port
demo=deploy/demo bundle=${RESIGHT_BUNDLE:-deploy/demo/demo.resight}
gallery=${RESIGHT_GALLERY:-demo-data/$(basename "$bundle" .resight)}  # one a model: embeddings of two do not mix

RESIGHT_GALLERY=$gallery "$resight" serve --bundle "$bundle" --port "$port" --grpc-port 0 &
server=$!
trap 'kill $server 2>/dev/null || true; wait $server 2>/dev/null || true' EXIT
trap 'exit 0' INT TERM

for _ in $(seq 240); do
  curl --silent --fail --output /dev/null "$url/ready" && break
  kill -0 $server 2>/dev/null || { echo "The server did not start; its reason stands above." >&2; exit 1; }
  sleep 0.25
done

if ! curl --silent --fail --output /dev/null "$url/sites/demo"; then
  "$resight" enroll $demo/crops/gallery --site demo --server "$url" \
    --pattern '(?P<identity>\d+)_(?P<camera>c\d)_(?P<captured_at>\d{10})'
  "$resight" enroll $demo/crops/unnamed --site demo --server "$url" --pattern '(?P<camera>c\d)_(?P<captured_at>\d{10})'
  "$resight" calibrate --site demo --server "$url"
  curl --silent --fail --output /dev/null "$url/clusters?site=demo"  # people without a name, together from now on
fi

cat <<END

$url  is Resight: open it in a browser, and drop a crop of $demo/crops/query on it.
Five minutes from page to page: docs/tour.md. The API's documentation: $url/docs

Query: who is this? Who is somebody whom the site has never seen? And somebody whom it knows without a name?
  curl -F images=@$demo/crops/query/0109_c1_1780329887.jpg -F site=demo -F group_by=identity -F top_k=2 $url/query
  curl -F images=@$demo/crops/strangers/0075_c1_1780334046.jpg -F site=demo -F group_by=identity -F top_k=2 $url/query
  curl -F images=@$demo/crops/again/c1_1780306800.jpg -F site=demo -F group_by=identity -F top_k=2 $url/query

Who came, of those whom nobody has named?
  curl '$url/clusters?site=demo'

Adapt the site to its own crops, and look at the job:
  curl -H 'Content-Type: application/json' -d '{"site": "demo"}' $url/adapt
  curl -N $url/adapt/JOB/events

Undo it:
  curl -X POST $url/sites/demo/rollback

Ctrl-C ends the demo; its gallery stays in $gallery/.
END
wait $server
