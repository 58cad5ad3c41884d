#!/bin/sh
# Makes the namespace of the runs: how long closed runs are kept, and the search attributes that runs set.
# Needs the `temporal` command line. Safe to run again, and the way to change the retention later.
#
#   TEMPORAL_ADDRESS    host:port of the server            (127.0.0.1:7233)
#   TEMPORAL_NAMESPACE  name of the namespace              (omium)
#   RETENTION           how long closed runs are kept      (720h; our own records stay in PostgreSQL)
#   WAIT_SECONDS        how long to wait for the server    (120)
set -eu

TEMPORAL_ADDRESS=${TEMPORAL_ADDRESS:-127.0.0.1:7233}
export TEMPORAL_ADDRESS
# the operator's commands do not look for a namespace in the environment, so each is told
namespace=${TEMPORAL_NAMESPACE:-omium}
retention=${RETENTION:-720h}
deadline=$(($(date +%s) + ${WAIT_SECONDS:-120}))

# retries until the deadline: a server that has just started knows a new namespace only after some seconds
eventually() {
    until message=$("$@" 2>&1); do
        if [ "$(date +%s)" -ge "$deadline" ]; then
            echo "gave up: $*: $message" >&2
            exit 1
        fi
        sleep 1
    done
}

ensure_namespace() {
    if temporal operator namespace describe --namespace "$namespace" >/dev/null 2>&1; then
        temporal operator namespace update --namespace "$namespace" --retention "$retention"
    else
        temporal operator namespace create --namespace "$namespace" --retention "$retention"
    fi
}

ensure_attribute() {
    # creating one that exists with the same type is no error; with another type it is
    temporal operator search-attribute create --namespace "$namespace" --name "$1" --type "$2"
}

eventually temporal operator cluster health
eventually ensure_namespace
# A run that sets an attribute which is not registered hangs for ever, so these come before any worker.
for name in Tenant Definition Framework RunState; do
    eventually ensure_attribute "$name" Keyword
done
echo "namespace $namespace is ready: closed runs are kept for $retention"
