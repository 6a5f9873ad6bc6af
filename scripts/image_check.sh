#!/usr/bin/env bash
# Builds the image and uses it as a person would: enroll, query, adapt, restart, query, roll back. Needs curl, Python 3 and
# coreutils' timeout: nothing but the build may take as long as it likes.
#   scripts/image_check.sh [TARGET]      cpu (as is), serve or gpu (which is only built); docs/docker.md
# ENGINE     what runs containers, with its own options: docker (as is), podman
# BUILD      what builds: "$ENGINE build" (as is), "buildah bud --isolation chroot --format docker"
# RUN_ARGS   more options of "run"; PORT (8000) the port of this machine
# JOB_S      how long one adaptation may take, in seconds (1200)
# Prints sizes; ends in ACCEPTED, or REJECTED with the reason. Its container and volume are removed, the image stays.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:-cpu} engine=${ENGINE:-docker} port=${PORT:-8000} job_s=${JOB_S:-1200}
build=${BUILD:-$engine build}
image=resight-check:$target name=resight-check-$$ url=http://127.0.0.1:$port
step="starting"

within() { timeout --kill-after=10 "$@"; }  # SECONDS COMMAND...

finish() {
  status=$?
  if [ "$status" -ne 0 ]; then
    within 60 $engine logs "$name" 2>&1 | tail -20 || true
    echo "REJECTED: $step"
  fi
  within 60 $engine rm --force "$name" >/dev/null 2>&1 || true
  within 60 $engine volume rm "$name" >/dev/null 2>&1 || true
}
trap finish EXIT

field() { python3 -c 'import json, sys; print(eval("json.load(sys.stdin)" + sys.argv[1]))' "$1"; }

await_ready() {
  for _ in $(seq 120); do
    if curl --silent --fail --max-time 10 --output /dev/null "$url/ready"; then return 0; fi
    sleep 1
  done
  return 1
}

inside() { within 120 $engine exec "$name" "$@"; }

ask() { curl --silent --show-error --max-time 120 --header "X-API-Key: $key" "$@"; }

query() {
  ask --fail -F images=@deploy/demo/crops/query/0109_c1_1780329887.jpg -F site=demo -F top_k=1 "$url/query" |
    field '["matches"][0]["identity"]'
}

follow() {  # the state in which the job ends that a request begins, and the last answer; options of curl
  local job answer state=queued until=$((SECONDS + job_s))
  job=$(ask "$@")
  if [[ $job != *'"job"'* ]]; then echo "$job"; return; fi
  job=$(field '["job"]' <<<"$job")
  while [ "$state" = queued ] || [ "$state" = running ]; do
    if [ "$SECONDS" -gt "$until" ]; then echo "still $state after $job_s s: $answer"; return; fi
    sleep 1
    answer=$(ask "$url/adapt/$job")
    state=$(field '["state"]' <<<"$answer")
  done
  echo "$state $answer"
}

adapt() {  # without the gate: whether a tier helps is not what is checked here
  follow -H 'Content-Type: application/json' -d "{\"site\": \"demo\", \"tier\": \"$1\", \"gate\": false}" "$url/adapt"
}

profile() { ask --fail "$url/sites/demo" | field '["profile"]'; }

step="the image was not built"
$build --target "$target" --tag "$image" .
echo "size: $($engine image inspect --format '{{.Size}}' "$image") bytes"
if [ "$target" = gpu ]; then echo "ACCEPTED: built; scripts/gpu_check.sh is for a machine with a GPU"; exit; fi

step="the container does not run"
began=$SECONDS
# shellcheck disable=SC2086
within 600 $engine run --detach --name "$name" --read-only --publish "$port:8000" --volume "$name:/data" ${RUN_ARGS:-} \
  "$image" >/dev/null
step="the container did not become ready"
await_ready
echo "ready after $((SECONDS - began)) s"
step="the server runs as root"
[ "$(inside id -u)" != 0 ]
step="something but the volume can be written"
if inside touch /home/resight/written 2>/dev/null; then exit 1; fi
step="the health check fails"
if [[ $engine == podman* ]]; then within 60 $engine healthcheck run "$name"; else inside scripts/healthcheck.sh; fi
step="no API key could be made"
key=$(inside resight key add admin | grep -o 'rs_[A-Za-z0-9_-]*')
step="enrolling failed"
within 300 $engine exec --env RESIGHT_API_KEY="$key" "$name" resight enroll deploy/demo/crops/gallery --site demo \
  --server http://127.0.0.1:8000 --pattern '(?P<identity>\d+)_(?P<camera>c\d)'
step="the query did not find its person"
[ "$(query)" = 0109 ]
step="adapting with tier 0 failed"
answer=$(adapt 0)
echo "tier 0: ${answer:0:200}"
[[ $answer == succeeded* ]]
step="tier 2 neither worked nor said what to install"
answer=$(adapt 2)
echo "tier 2: ${answer:0:200}"
if [ "$target" = serve ]; then [[ $answer == *"needs torch; install it with"* ]]; else [[ $answer == succeeded* ]]; fi
step="the server did not come back after a restart"
live=$(profile)
within 300 $engine restart "$name" >/dev/null
await_ready
step="what was adapted is lost after a restart"
[ "$(profile)" = "$live" ]
step="the query after a restart did not find its person"
[ "$(query)" = 0109 ]
step="rolling back failed"
answer=$(follow --request POST "$url/sites/demo/rollback")
[[ $answer == succeeded* ]]
[ "$(profile)" != "$live" ]
step="the query after rolling back did not find its person"
[ "$(query)" = 0109 ]
step=
echo ACCEPTED
