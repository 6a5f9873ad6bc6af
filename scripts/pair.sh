#!/usr/bin/env bash
# What deploy/compose/compose.yaml starts, without Docker: PostgreSQL, two servers of which one waits, and haproxy in
# front of them. Everything is kept in FOLDER; Ctrl-C ends it, and the same command goes on.
#
#   scripts/pair.sh FOLDER [BUNDLE]      # needs PostgreSQL and haproxy (Debian: apt install postgresql haproxy)
#
# HTTP_PORT and GRPC_PORT (8000, 8001) are where callers go; the parts listen on loopback, on ports from PARTS_PORT
# (8100) on.
set -euo pipefail
folder=$(mkdir -p "${1:?scripts/pair.sh FOLDER [BUNDLE]}" && cd "$1" && pwd)
root=$(cd "$(dirname "$0")/.." && pwd)
export RESIGHT_BUNDLE=$(realpath "${2:-$root/deploy/demo/demo.resight}")
export HTTP_PORT=${HTTP_PORT:-8000} GRPC_PORT=${GRPC_PORT:-8001}
port=${PARTS_PORT:-8100}
programs=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
for needed in "${programs:-/usr/lib/postgresql}/initdb" "$(command -v haproxy || echo haproxy)"; do
  [ -x "$needed" ] || { echo "$needed is missing (Debian: apt install postgresql haproxy)" >&2; exit 1; }
done
unprivileged=()
if [ "$(id -u)" = 0 ]; then # PostgreSQL refuses to run as root
  mkdir -p "$folder/database"
  chown postgres "$folder/database"
  unprivileged=(runuser -u postgres --)
fi
parts=()
trap 'kill "${parts[@]}" 2>/dev/null; wait' EXIT
trap 'exit 0' INT TERM
if [ ! -e "$folder/database/PG_VERSION" ]; then
  "${unprivileged[@]}" "$programs/initdb" -U resight --auth=trust -E UTF8 --locale=C "$folder/database" >"$folder/initdb.log"
fi
(cd / && exec "${unprivileged[@]}" "$programs/postgres" -D "$folder/database" -k '' -p "$port" -c listen_addresses=127.0.0.1) \
  >>"$folder/database.log" 2>&1 &
parts+=($!)
until "$programs/pg_isready" -q -h 127.0.0.1 -p "$port"; do
  kill -0 "${parts[0]}" 2>/dev/null || { tail -3 "$folder/database.log" >&2; exit 1; }
  sleep 0.1
done
export RESIGHT_STORE=postgresql://resight@127.0.0.1:$port/postgres
serve() { # name, HTTP port: started again when it ends, like a container
  while sleep 0.5; do
    (cd "$root" && exec resight serve --standby --data "$folder/$1" --port "$2" --grpc-port $(($2 + 1))) >>"$folder/$1.log" 2>&1 &
    trap "kill $! 2>/dev/null; wait; exit" TERM
    wait $! || true
  done
}
serve first $((port + 10)) & parts+=($!)
serve second $((port + 20)) & parts+=($!)
FIRST=127.0.0.1:$((port + 10)) FIRST_GRPC=127.0.0.1:$((port + 11)) \
  SECOND=127.0.0.1:$((port + 20)) SECOND_GRPC=127.0.0.1:$((port + 21)) \
  haproxy -db -f "$root/deploy/compose/haproxy.cfg" >>"$folder/entrance.log" 2>&1 &
parts+=($!)
until [ "$(curl -so /dev/null -w '%{http_code}' "http://127.0.0.1:$HTTP_PORT/ready")" = 200 ]; do
  kill -0 "${parts[3]}" 2>/dev/null || { tail -3 "$folder/entrance.log" >&2; exit 1; }
  sleep 0.2
done
echo "http://127.0.0.1:$HTTP_PORT answers, gRPC on $GRPC_PORT; logs in $folder"
wait
