#!/bin/sh
# Record a run of your system, then play it against a new build: does it answer the same? What you
# will see is "as expected"; with differences they are listed, and the exit code is 1.
# Both builds are CTGKit's own here. Everything is written into the current folder.
set -eu

start() { # start NAME COMMAND…: run it until the end of the script; NAME.url says where it listens
  name=$1
  shift
  "$@" --ready-file "$name.url" > /dev/null 2> "$name.log" &
  running="${running:-} $!"
  while [ ! -s "$name.url" ]; do
    kill -0 $! 2> /dev/null || { cat "$name.log"; exit 1; }
    sleep 0.1
  done
}
start_backend() { # start_backend NAME: with the ML service, and its answers from the first sample on
  start "$1" ctgkit serve --port 0 --ml "$(cat ml.url)" --store "sqlite:///$1.db"
  until grep -q "ML service connected" "$1.log"; do sleep 0.1; done
}
trap 'kill $running 2> /dev/null || true' EXIT

ctgkit init --sensors 1
start ml ctgkit ml --port 0

# The build of today: its sensors talk to the recorder, which passes everything on.
start_backend today
start recorder ctgkit record --listen 127.0.0.1:0 --to "$(sed s/http/ws/ today.url)" \
  --url "$(cat today.url)" --out run.jsonl
recorder=$!
ctgkit sensor --url "$(cat recorder.url)ws/sensor" --duration 400 --speed max
kill $recorder
wait $recorder || true # it writes the rest

# The build of tomorrow.
start_backend tomorrow
ctgkit replay run.jsonl --url "$(cat tomorrow.url)" --speed max --expect run.jsonl
